"""Rules from recorded instruments to findings on watched parcels and names. Pure: no clock, no database."""
