"""The queue: from a request in Postgres to a run that somebody starts, and from the run's end back to the request.

enqueue      put requests in, inside the caller's transaction
claim_rules  which due requests become which runs (pure)      claim       takes them, under leases
dispatch     the loop: listen, claim, start, collect ends, keep and reap leases
outcomes     a run ended: what becomes of its requests        retry_rules by which rule (pure)
work         a run's side: adopt the lease, read the requests, report, complete
dead         dead letters: list, replay, acknowledge, expire  retention   how long what is kept
"""
