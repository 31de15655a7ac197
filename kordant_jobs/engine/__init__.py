"""How a request becomes a Dagster run, and how the run ends. The engine knows jobs by name only.

runs             what queue and launcher tell each other: order, end, starter, watcher
launcher         the warm process, its children, and Dagster's run launcher in front of it
daemon           Dagster's daemons with short loops, woken by Postgres; exactly one process of them acts
dagster_private  the one package that touches Dagster's private classes
"""
