"""Executes workflows that agents planned and a person approved, a step at a time."""
