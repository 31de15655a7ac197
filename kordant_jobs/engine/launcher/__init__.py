"""Runs that start in milliseconds: a warm process, which forks children ahead, and what hands them work.

warm          the program: `python -m kordant_jobs.engine.launcher.warm`
pool          its loop: idle and running children, orders, ends, limits, drain
child         what one forked child does: connect, wait, run one run
code          what the code on disk is, and whether the warm process runs it
journal       the runs under way, on disk, for whoever comes after a crash
protocol      the socket between the warm process and everybody else
run_launcher  Dagster's run launcher (UI, schedules, backfills)
starter       our own way in for the queue: RunStarter and RunWatcher
compute_logs  a step's stdout and stderr, captured without a process each
"""
