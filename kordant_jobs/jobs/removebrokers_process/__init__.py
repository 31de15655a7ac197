"""Removal requests carried through to their end, and verified."""
