"""bank_sync: bank connections that are due, read within the limits of their providers."""
