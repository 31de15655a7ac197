"""Simulated data brokers as real servers, and months with them on a clock of our own."""
