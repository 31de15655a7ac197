"""Runs on several hosts: Celery on Redis carries each run to a host, whose warm process forks it; or a pod a run.

The lease in Postgres is the only truth about a run. The broker may lose what it carries, and may deliver it twice.

broker       the Celery application, of those who send and of those who take
starter      the dispatcher's side: sends runs, sends again what was lost, stops
host         a host's side: takes runs of its own code, hands them to the warm process, reports outcomes
run_launcher Dagster's run launcher: stop and health of a run that some host has
k8s          a pod a run, by Dagster's own launcher
"""
