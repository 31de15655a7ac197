"""Operators' view of the system: metrics, and a doctor that finds faults. All of it is read from Postgres."""
