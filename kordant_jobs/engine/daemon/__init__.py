"""Dagster's daemons with short loops, woken by Postgres: a process of a system (`python -m <app> daemon WORKSPACE`).

loops     the daemons, and the event that ends their waits early
wake      LISTEN, and a watch on dropped files: what wakes which daemon
leader    of several processes exactly one acts; the others stand by
dispatch  the queue's loop as a daemon
"""
