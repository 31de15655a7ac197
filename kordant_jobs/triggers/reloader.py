"""Brings a changed price list into the running system: LISTEN, write the checked rows to the file, reload the code.

It imports no Dagster: the reload is requested from Dagster's webserver, which also reports whether the code could be
loaded.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from kordant_jobs.domain.schedules.rows import StoredScheduleRow
from kordant_jobs.engine.control import Listener
from kordant_jobs.errors import KordantError, TransientError
from kordant_jobs.postgres import database
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import copy, price_list

POLL_S = 20.0
"""Seconds between checks; only a fallback, since changes are notified."""
SETTLE_S = 0.2
"""Seconds in which further edits join the same reload."""
RETRY_S = (1.0, 2.0, 5.0, 15.0)
RELOAD_S = 120.0

_RELOAD = """mutation($location: String!) { reloadRepositoryLocation(repositoryLocationName: $location) {
  __typename
  ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
  ... on PythonError { message }
} }"""
LOCATION = "kordant_jobs"


def good_rows(db: Engine, folder: Path, say: Callable[[str], None]) -> tuple[StoredScheduleRow, ...]:
    """The rows of the table; an invalid row is replaced by the one in the last valid copy."""
    with db.connect() as connection:
        loaded = scheduler_config.load(connection)
    for problem in loaded.problems:
        say(f"a schedule is left as it was, since its row is invalid: {problem}")
    there = {one.row.key for one in loaded.rows}
    kept = [one for one in copy.read(folder) if loaded.problems and one.row.key not in there]
    return tuple(sorted([*loaded.rows, *kept], key=lambda one: one.row.name))


def prepare(url: str, folder: Path, say: Callable[[str], None]) -> None:
    """Prepare the first load of the code: the table gets its rows, and the file the table's content. Without the table
    (the database is not migrated yet) the last valid copy stays."""
    db = database.create_engine(url)
    try:
        with database.saying_what_failed(), db.begin() as connection:
            price_list.ensure(connection)
        copy.write(folder, good_rows(db, folder, say))
    except ProgrammingError:
        say("there is no price list in this database; schedules are as they were last: `kordant-jobs db upgrade`")
    finally:
        db.dispose()


@dataclass(frozen=True, kw_only=True)
class Dagster:
    """The address of Dagster's webserver, and the headers for requests to it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def graphql_url(self) -> str:
        """The address of its GraphQL endpoint."""
        return f"{self.url}/graphql"


class ScheduleReloader:
    """A thread that reloads until `close`. Errors are reported and retried."""

    def __init__(self, url: str, folder: Path, dagster: Dagster, say: Callable[[str], None]) -> None:
        self._url = url
        self._folder = folder
        self._dagster = dagster
        self._say = say
        self._stop = threading.Event()
        self._listener = Listener(url, [scheduler_config.CHANNEL])
        self._thread = threading.Thread(target=self._run, name="kordant-schedules", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop, after a current reload has ended."""
        self._stop.set()
        self._listener.wake()
        self._thread.join(RELOAD_S)
        self._listener.close()

    def _run(self) -> None:
        failures = 0
        db = database.create_engine(self._url, pool_size=1)
        while not self._stop.is_set():
            try:
                self._listener.open()
                while not self._stop.is_set():
                    self._sync(db)
                    failures = 0
                    if self._listener.wait(POLL_S):
                        self._stop.wait(SETTLE_S)
            except (SQLAlchemyError, httpx.HTTPError, KordantError, OSError, ValueError) as error:
                words = str(error) if isinstance(error, KordantError) else type(error).__name__
                self._say(f"the changed schedules are not live yet ({words}); trying again")
                self._stop.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
        db.dispose()

    def _sync(self, db: Engine) -> None:
        before = copy.read(self._folder)
        if not copy.write(self._folder, good_rows(db, self._folder, self._say)):
            return
        try:
            self._reload()
        except BaseException:
            copy.write(self._folder, before)  # so that the next try sees the change again
            raise

    def _reload(self) -> None:
        body = {"query": _RELOAD, "variables": {"location": LOCATION}}
        answered = httpx.post(
            self._dagster.graphql_url, json=body, headers=self._dagster.headers, timeout=RELOAD_S, trust_env=False
        ).json()
        entry = (answered.get("data") or {}).get("reloadRepositoryLocation") or {}
        found = entry.get("locationOrLoadError") or entry
        if found.get("__typename") != "RepositoryLocation":
            first = str(found.get("message", "no answer")).strip().partition("\n")[0]
            raise TransientError(f"the code cannot be loaded: {first[:200]}; see code-server.log")
