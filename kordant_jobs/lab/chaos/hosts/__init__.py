"""`kordant-jobs chaos-hosts`: runs of all jobs on two hosts, each a network namespace, amid faults.

network      the namespaces, and their links that are cut
quota        the CPU time that each has
app          the system: every job of ours, and one whose calls the outside ledger times
definitions  its Dagster definitions      instance  the classes that dagster.yaml names
host         the program of one host, as `kordant-jobs host` is for our own system
site         all of it up, a small world, and what its books say
faults       what strikes
campaign     strike, wait, compare
"""
