"""`kordant-jobs chaos`: faults on a system of its own, judged by a ledger that no fault reaches.

catalogue    the job under test     definitions  what Dagster loads of it
sink         the outside party      site         the system, and what its three books say
faults       what goes wrong        campaign     strike, recover, compare; the table at the end
"""
