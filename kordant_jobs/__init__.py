"""Kordant jobs: everything an identity-protection service does in the background, as one Dagster project.

The map, from the outside in; imports point down (import-linter holds it)::

    __main__      python3 -m kordant_jobs …: standard library only; builds .venv, hands over to cli
    cli           kordant-jobs up | demo | test | db | dumps | …
    demo          the invented world of `demo`
    definitions   the join that Dagster loads: jobs + triggers + resources
    triggers      schedules, sensors                 resources  one adapter a port
    jobs/<job>/   job.py (Dagster) → service.py (load, decide, save) → rules.py (decide; pure)
    engine        from a request to a run and its end: the queue, the warm launcher, the daemon, the body of an op
    adapters      the outside world: dumps, corpus, catalogue, mail      store  Postgres
    observability logs with redaction
    catalog       the jobs, a row each               ports      outside parties as Protocols
    settings      the only reader of the environment wording    texts for people, in their language
    domain        pure nouns                         errors     errors, each with what to do next
    bootstrap     standard library only: the state folder, the virtual environment, Pango

One flow: catalogue row or new data → trigger → run → job.py → service → rows → next trigger.
"""
