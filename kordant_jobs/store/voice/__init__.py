"""Clips that wait and what was said of them; the family's enrolled voices and the consents they rest on."""
