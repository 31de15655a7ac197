"""Deletes data whose retention time is over, with guards that stop a deletion."""
