"""The queue: from a request in Postgres to a run that a worker starts, and from the run's end back to the request.

enqueue      put requests in, inside the caller's transaction
given        the same for runs that Dagster made               clock       the database's time
claim_rules  decides which requests become runs (pure)        claim       claims them, under leases
recorded     from a claim to a run: config, tags, limits; and the configuration of Dagster's runs, back to a payload
dispatch     the loop: listen, claim, start, collect ends, keep and reap leases
outcomes     the end of a run: next states of its requests    retry_rules the rules for them (pure)
work         a run's side: adopt the lease, read the requests, report, complete
operate      operators' actions: inspect, cancel, replay, pause  retention   terms of history
"""
