"""Invented voices for the demo and tests, and error rates on recordings of real voices."""
