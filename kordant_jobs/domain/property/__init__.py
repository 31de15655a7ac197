"""Parcels, recorded instruments, and the names of the parties in them. Pure."""
