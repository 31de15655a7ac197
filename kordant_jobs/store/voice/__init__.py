"""Clips and their analyses; the family's enrolled voices and the consents to them."""
