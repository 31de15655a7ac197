"""Bank accounts as values: connections, accounts, transactions, bills, transfers. Pure."""
