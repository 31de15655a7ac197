"""Nouns of bank accounts: connections, accounts, transactions, bills, transfers. Pure."""
