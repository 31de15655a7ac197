"""Banks in the lab: a small bank for tests, a simulation of weeks with kills, the official test mass."""
