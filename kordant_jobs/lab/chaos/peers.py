"""The same two jobs for other systems: an effect after some work, and a job that kills its process.

As a program: `python -m kordant_jobs.lab.chaos.peers celery-worker`, `procrastinate-schema`, `procrastinate-worker`.
Each is configured as its documentation advises for work that must not be lost.
"""

import asyncio
import os
import signal
import sys
import time
from typing import Any

from kordant_jobs.lab.chaos.effects import have

AT_ONCE = 4
CELERY_FIRST, CELERY_LATER = 0, 6
"""Priorities of Celery on Redis: the smaller number goes first, and a message without one is as 0."""
STALLED_S = 10
"""procrastinate: how long a worker may be silent until its jobs count as stalled; its default is 30 s."""


def work(number: int, port: int, work_s: float) -> None:
    """Work, have the effect, work."""
    time.sleep(work_s)
    have(number, port=port, run_id=str(os.getpid()))
    time.sleep(work_s)


def die(number: int, port: int) -> None:
    """Say that it began, and kill this process."""
    have(number, port=port, run_id=str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def celery_app(*, late: bool) -> Any:
    """Celery on the Redis of CHAOS_BROKER; `late`: acknowledged after the work, and again when a worker is lost."""
    from celery import Celery

    app = Celery("chaos", broker=os.environ["CHAOS_BROKER"], set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=late,
        task_reject_on_worker_lost=late,
        worker_prefetch_multiplier=1,
        broker_transport_options={"queue_order_strategy": "priority"},
        broker_connection_retry_on_startup=True,
    )
    app.task(work, name="work", acks_late=late, reject_on_worker_lost=late)
    app.task(die, name="die", acks_late=late, reject_on_worker_lost=late)
    return app


def procrastinate_app() -> Any:
    """procrastinate on the Postgres of CHAOS_DATABASE, with the periodic task of its documentation that retries jobs
    of workers that are gone."""
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["CHAOS_DATABASE"]))
    app.task(name="work", retry=3)(work)
    app.task(name="die", retry=3)(die)

    @app.periodic(cron="* * * * * */10")  # the seconds come last
    @app.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
    async def retry_stalled(context: Any, timestamp: int) -> None:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_S):
            await app.job_manager.retry_job(job)

    return app


async def _procrastinate(act: str) -> None:
    app = procrastinate_app()
    async with app.open_async():
        if act == "schema":
            await app.schema_manager.apply_schema_async()
        else:
            await app.run_worker_async(concurrency=AT_ONCE, fetch_job_polling_interval=1)


def main(what: str) -> None:
    """Be one of the processes."""
    kind, _, act = what.partition("-")
    if kind == "celery":
        app = celery_app(late=os.environ["CHAOS_LATE"] == "1")
        app.worker_main(["worker", "--concurrency", str(AT_ONCE), "--loglevel", "ERROR"])
    else:
        asyncio.run(_procrastinate(act))


if __name__ == "__main__":
    main(sys.argv[1])
