"""What happens in the background: a package a job, job.py → service.py → rules.py. Jobs meet only in Postgres."""
