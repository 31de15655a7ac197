"""Invented voices for demo and tests, and measurements on recordings of real ones."""
