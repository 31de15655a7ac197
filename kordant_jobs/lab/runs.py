"""Launches runs through Dagster's own GraphQL, and follows them with a progress bar."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from rich.progress import Progress
from sqlalchemy import Engine

from kordant_jobs.cli.output import LINE_EVERY_S, err
from kordant_jobs.engine.control import read_progress
from kordant_jobs.errors import KordantError
from kordant_jobs.triggers.reloader import Dagster

POLL_S = 0.2
FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that ended successfully."""

    run_id: str
    seconds: float


class ProgressLines:
    """A line of text every few seconds about one run, for logs and pipes; silent on a terminal, which has the bar."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = self._said_at = time.monotonic()

    def update(self, done: int, total: int, note: str) -> None:
        """Print the progress, when the last line is old enough."""
        if err.is_terminal or time.monotonic() - self._said_at < LINE_EVERY_S:
            return
        self._said_at = time.monotonic()
        share = f"{min(done / total, 1.0):4.0%} " if total else ""
        err.print(f"  {self._title}: {share}{note}, {self._said_at - self._began:.0f} s")

    def end(self) -> None:
        """Print that it has ended."""
        if not err.is_terminal:
            err.print(f"  {self._title}: done after {time.monotonic() - self._began:.1f} s")


def run_job(
    job: str,
    *,
    dagster: Dagster,
    db: Engine,
    bar: Progress,
    config: Mapping[str, Any] | None = None,
    each: Callable[[], None] | None = None,
) -> Finished:
    """Launch a job and wait for its end, showing its progress. `each` is called between two checks.

    Raises:
        KordantError: Dagster did not take it, or the run failed; says where to look.
    """
    where = urlsplit(dagster.url)
    client = DagsterGraphQLClient(
        where.hostname or "127.0.0.1", where.port, headers=dict(dagster.headers), path_prefix=where.path
    )
    started = time.monotonic()
    task = bar.add_task(job, total=None, note="")
    lines = ProgressLines(job)
    try:
        run_id = client.submit_job_execution(job, run_config=dict(config or {}))
    except DagsterGraphQLClientError as error:
        raise KordantError(f"Dagster did not take {job} ({error}). See the code server's log.") from None
    while (status := client.get_run_status(run_id).value) not in FINAL:
        reading = read_progress(db, run_id)
        done, total = (reading.done, reading.total) if reading else (0, 0)
        note = reading.message if reading else status.lower().replace("_", " ")
        bar.update(task, completed=done, total=total or None, note=note)
        lines.update(done, total, note)
        if each is not None:
            each()
        time.sleep(POLL_S)
    if status != "SUCCESS":
        raise KordantError(f"the run {run_id} of {job} ended as {status}. Its log: `kordant-jobs up`, Runs.")
    bar.update(task, total=1, completed=1, note="done")
    lines.end()
    return Finished(run_id=run_id, seconds=time.monotonic() - started)
