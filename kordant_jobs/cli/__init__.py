"""The command line: the commands for a person at a terminal, and the processes that `up` runs."""
