"""Launching runs through Dagster's own GraphQL, and following them with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from kordant_jobs.cli.output import err
from kordant_jobs.engine import read_progress
from kordant_jobs.errors import KordantError

POLL_S = 0.2
FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that ended well."""

    run_id: str
    seconds: float


def progress_bar() -> Progress:
    """A bar on standard error; lines of text where that is no terminal."""
    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
    )


def run_job(
    job: str, *, graphql_url: str, db: Engine, bar: Progress, title: str, config: Mapping[str, Any] | None = None
) -> Finished:
    """Launch a job and wait for its end, showing how far it is.

    Raises:
        KordantError: Dagster did not take it, or the run failed; says where to look.
    """
    where = urlsplit(graphql_url)
    client = DagsterGraphQLClient(where.hostname or "127.0.0.1", port_number=where.port)
    started = time.monotonic()
    task = bar.add_task(title, total=None, note="")
    try:
        run_id = client.submit_job_execution(job, run_config=dict(config or {}))
    except DagsterGraphQLClientError as error:
        raise KordantError(f"Dagster did not take {job} ({error}). See the code server's log.") from None
    while True:
        status = client.get_run_status(run_id).value
        reading = read_progress(db, run_id)
        if reading is not None:
            bar.update(task, completed=reading.done, total=reading.total or None, note=reading.message)
        else:
            bar.update(task, note=status.lower().replace("_", " "))
        if status in FINAL:
            break
        time.sleep(POLL_S)
    if status != "SUCCESS":
        ui = f"http://{where.netloc}/runs/{run_id}"
        raise KordantError(f"the run of {job} ended as {status}. Its log: {ui}, or `kordant-jobs up` and look there.")
    bar.update(task, total=1, completed=1, note="done")
    return Finished(run_id=run_id, seconds=time.monotonic() - started)
