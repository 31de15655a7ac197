"""Dagster's daemons with short loops, woken by Postgres: a process of a system (`python -m <app> daemon WORKSPACE`).

loops     the daemons, and the event that ends their waits early
wake      LISTEN: which notification wakes which daemon
leader    of several processes exactly one acts; another takes over
dispatch  where the queue's loop runs
"""
