"""When a job runs: sensors on new data. (Tier schedules are built from the catalogue here as they come.)"""
