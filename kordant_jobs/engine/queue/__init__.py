"""The queue: from a request in Postgres to a run that somebody starts, and from the run's end back to the request.

enqueue      put requests in, inside the caller's transaction
given        the same for runs that Dagster made               clock       the database's time
claim_rules  which due requests become which runs (pure)      claim       takes them, under leases
orders       from a claim to a run: config, tags, limits      recorded    what Dagster was told, and back
dispatch     the loop: listen, claim, start, collect ends, keep and reap leases; pace: its times and numbers
outcomes     a run ended: what becomes of its requests        retry_rules by which rule (pure)
work         a run's side: adopt the lease, read the requests, report, complete
operate      what operators do: look, cancel, replay, pause   retention   how long what is kept
"""
