"""Stored reports and their retention. The documents themselves are in report storage (`adapters`)."""
