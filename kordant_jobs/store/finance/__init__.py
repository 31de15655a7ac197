"""Entities and their bank data: connections, accounts, transactions, bills, sync results."""
