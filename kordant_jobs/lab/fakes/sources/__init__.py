"""Fake services: real HTTP on loopback that obeys each one's contract, and one that breaks it in every known way."""
