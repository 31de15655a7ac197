"""Dagster's daemons with short loops, woken by Postgres: a process of a system (`python -m <app> daemon WORKSPACE`).

loops     the daemons, and the event that ends their waits early
wake      LISTEN: the daemons that each notification wakes
leader    of several processes exactly one acts; the others stand by
dispatch  the queue's loop as a daemon
"""
