"""Entities and what their banks say: connections, accounts, transactions, bills, sync results."""
