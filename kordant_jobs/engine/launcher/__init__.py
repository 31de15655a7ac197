"""Runs that start in milliseconds: a warm process, which forks children ahead, and the parts that hand them work.

warm          the program: `python -m kordant_jobs.engine.launcher.warm`
pool          its loop: idle and running children, orders, ends, limits, drain, and the journal on disk
child         the life of a forked child: connect, wait, run one run
code          the version of the code on disk, and whether the warm process runs it
protocol      the socket between the warm process and all other processes
run_launcher  Dagster's run launcher (UI, schedules, backfills)
starter       our own way in for the queue: RunStarter and RunWatcher
compute_logs  a step's stdout and stderr, captured without a process each
"""
