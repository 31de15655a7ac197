"""The background jobs: one package for each job, job.py → service.py → rules.py. Jobs interact only through
Postgres."""
