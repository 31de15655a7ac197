"""bank_sync: reads bank connections that are due, within the limits of their providers."""
