"""The background jobs: a package a job, job.py → service.py → rules.py. Jobs meet only in Postgres."""
