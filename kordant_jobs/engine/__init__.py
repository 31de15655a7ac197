"""How a request becomes a Dagster run and ends. Imports no job: jobs stand on it."""
