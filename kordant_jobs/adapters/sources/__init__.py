"""Sources that are asked about identifiers: one adapter a service, a fake server of each in `fakes/`.

Who may be asked how often, and when one is left alone, is not here: see `store.source_states` and
`jobs.darkwatch_scan.sources`.
"""
