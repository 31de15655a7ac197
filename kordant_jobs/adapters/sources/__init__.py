"""Sources that are asked about identifiers: one adapter for each service, with a fake server of each in `fakes/`.

Rates and circuit breakers are not here: see `store.source_states` and `jobs.darkwatch_scan.sources`.
"""
