"""Parcels, recorded instruments, and the names of those who stand in them. Pure."""
