"""The command line: what a person at a terminal can ask for, and the processes that `up` runs."""
