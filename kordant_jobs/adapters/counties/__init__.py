"""County records: drivers by kind of server, counties as YAML files, and the meaning of their rows."""

from kordant_jobs.adapters.counties.registry import Counties, open_counties

__all__ = ["Counties", "open_counties"]
