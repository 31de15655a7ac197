"""Creates runs as Dagster's own daemons do, from snapshots that are fetched once and kept as templates, also
in a file: a daemon that starts while the code server is away can start the jobs that ran before."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterUserCodeProcessError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import (
    DagsterEvent,
    DagsterEventType,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_representation.code_location import CodeLocation
from dagster._core.storage.tags import (
    PARENT_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    ROOT_RUN_ID_TAG,
)
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._serdes import deserialize_value, serialize_value

from kordant_jobs.engine.dagster_private.event_log import PooledEventLogStorage
from kordant_jobs.engine.dagster_private.version import DAGSTER_VERSION
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.errors import PermanentError, TransientError

TRY_AGAIN_S, LATER_S = 0.5, 5.0
"""Seconds between attempts to reach the code server: at first, and after it has been away for a while."""
A_WHILE_S = 30.0


class RunFactory:
    """Creates runs as Dagster's own daemons do, with the snapshots, origins and tags that its UI needs.

    The first run of a job fetches its snapshots from the code server, which also checks the config. Later runs of the
    same shape (the same keys, with any values) need only a row and its tags. While the code server is away, jobs that
    ran before with the same code still start. Not thread-safe: use one thread at a time.
    """

    def __init__(self, instance: DagsterInstance, workspace: WorkspaceProcessContext, templates: RunTemplates) -> None:
        self._instance = instance
        self._workspace = workspace
        self._away_since: float | None = None
        self._next_try_at = 0.0
        self._templates = templates

    def create(self, order: RunOrder) -> DagsterRun:
        """A new run in the state STARTING, not yet handed to a process.

        Raises:
            PermanentError: no such job, or a config that it does not take.
            TransientError: the code server does not answer.
        """
        key = f"{order.job} {_shape(order.run_config)}"
        tags = self._tags(order)
        if self._not_loaded() and (kept := self._templates.kept(key)):
            return self._create_like(kept.run, order, tags)
        location = self._location(self._workspace.create_request_context(), order.job)
        template = self._templates.get(key)
        if template is not None and template.location is location:
            return self._create_like(template.run, order, tags)
        run = self._create_slowly(order, location, tags)
        self._announce(run)
        own = {name: value for name, value in run.tags.items() if name not in tags}
        alike = run._replace(tags=own, run_config={}, run_id="", parent_run_id=None, root_run_id=None)
        self._templates.put(key, Template(run=alike, location=location))
        return run

    def _create_like(self, template: DagsterRun, order: RunOrder, tags: Mapping[str, str]) -> DagsterRun:
        run = template._replace(
            run_id=order.run_id,
            run_config=order.run_config,
            tags={**template.tags, **tags},
            parent_run_id=order.parent_run_id,
            root_run_id=order.root_run_id or order.parent_run_id,
        )
        self._announce(run)  # first: a starting run without its event would be taken for one for ever
        return self._instance.run_storage.add_run(run)

    def ready(self) -> bool:
        """True when runs can be created: the code is loaded, or was when jobs ran before. Otherwise the code server is
        tried again here, since Dagster itself would wait up to ten seconds."""
        broken, now = self._not_loaded(), time.monotonic()
        if not broken:
            self._away_since = None
            return True
        self._away_since = self._away_since or now
        if now < self._next_try_at:
            return self._templates.any_kept()
        self._next_try_at = now + (TRY_AGAIN_S if now - self._away_since < A_WHILE_S else LATER_S)
        for name in broken:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Dagster's, with the whole error; code-server.log has it as well
                self._workspace.refresh_code_location(name)
        return not self._not_loaded() or self._templates.any_kept()

    def _not_loaded(self) -> list[str]:
        entries = self._workspace.create_request_context().get_code_location_entries()
        return [name for name, entry in entries.items() if entry.load_error is not None]

    def _announce(self, run: DagsterRun) -> None:
        """Write the event for the time of its launch; its row has the status already."""
        event = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
        entry = EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's has no types
            user_message="",
            level=logging.INFO,
            job_name=run.job_name,
            run_id=run.run_id,
            error_info=None,
            timestamp=time.time(),
            dagster_event=event,
        )
        log: object = self._instance.event_log_storage
        if isinstance(log, PooledEventLogStorage):
            log.note(entry)

    def _tags(self, order: RunOrder) -> dict[str, str]:
        tags = dict(order.tags)
        if order.parent_run_id:
            tags[PARENT_RUN_ID_TAG] = order.parent_run_id
            tags[ROOT_RUN_ID_TAG] = order.root_run_id or order.parent_run_id
        if order.partition_key:
            tags[PARTITION_NAME_TAG] = order.partition_key
        return tags

    def _location(self, context: BaseWorkspaceRequestContext, job: str) -> CodeLocation:
        try:
            for location in context.code_locations:
                for repository in location.get_repositories().values():
                    if repository.has_job(job):
                        return location
        except (DagsterUserCodeUnreachableError, DagsterCodeLocationLoadError):
            pass
        entries = context.get_code_location_entries().values()
        if not entries or any(entry.load_error for entry in entries):
            raise TransientError("the code server does not answer, or cannot load the code: see code-server.log")
        raise PermanentError(f"there is no job {job[:80]!r}: see `kordant-jobs dagster job list`")

    def _create_slowly(self, order: RunOrder, location: CodeLocation, tags: dict[str, str]) -> DagsterRun:
        repository = next(r for r in location.get_repositories().values() if r.has_job(order.job))
        job = repository.get_full_job(order.job)
        try:
            plan = location.get_execution_plan(
                job, order.run_config, step_keys_to_execute=None, known_state=None, instance=self._instance
            )
        except DagsterUserCodeUnreachableError:
            raise TransientError("the code server does not answer: see code-server.log and try again") from None
        except DagsterUserCodeProcessError:
            raise PermanentError(f"the config is not what {order.job} takes: see the job's launchpad") from None
        return self._instance.create_run(
            job_name=order.job,
            run_id=order.run_id,
            run_config=order.run_config,
            status=DagsterRunStatus.STARTING,
            tags={**(job.run_tags or {}), **tags},
            root_run_id=order.root_run_id or order.parent_run_id,
            parent_run_id=order.parent_run_id,
            step_keys_to_execute=None,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            job_snapshot=job.job_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            asset_selection=None,
            asset_check_selection=None,
            resolved_op_selection=job.resolved_op_selection,
            op_selection=None,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_graph=repository.asset_graph,
        )


def _shape(config: object) -> str:
    """The keys of a config without its values; they decide the plan of the job."""
    if isinstance(config, Mapping):
        return "{" + ",".join(f"{key}:{_shape(config[key])}" for key in sorted(config)) + "}"
    return "*"


MOST = 500
"""The most templates in the file. A job has few shapes of config, so there are about as many as jobs."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A run without its config. Other runs of the same job and shape of config differ in id, config and tags."""

    run: DagsterRun
    location: object | None
    """The code location that it was made from; a reload replaces that object. None: it was made by an earlier
    process."""


@dataclass
class RunTemplates:
    """Templates by job and shape of config. Those in the file are valid for the same code and storage only."""

    path: Path
    code: Callable[[], str]
    """Returns an identifier of the state of the code."""
    storage_url: str = field(repr=False)
    _known: dict[str, Template] = field(default_factory=dict)
    _kept: dict[str, str] = field(default_factory=dict)
    _kept_for: str = ""

    def get(self, key: str) -> Template | None:
        """The template that this process made."""
        return self._known.get(key)

    def put(self, key: str, template: Template) -> None:
        """Store a template, in memory and in the file for later processes."""
        self._known[key] = template
        self._load_kept()
        written = serialize_value(template.run)
        if self._kept.get(key) == written:
            return
        self._kept[key] = written
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(OSError):  # no place to keep it: the next process asks the code server
            kept = dict(list(self._kept.items())[-MOST:])
            fresh.write_text(json.dumps({"for": self._kept_for, "runs": kept}), encoding="utf-8")
            fresh.replace(self.path)

    def kept(self, key: str) -> Template | None:
        """The template that any process made with the current code."""
        self._load_kept()
        written = self._kept.get(key)
        return None if written is None else Template(run=deserialize_value(written, DagsterRun), location=None)

    def any_kept(self) -> bool:
        """True when the file has at least one valid template."""
        self._load_kept()
        return bool(self._kept)

    def _load_kept(self) -> None:
        """Load the templates from the file if they were made with the current code."""
        now = hashlib.sha256(f"{DAGSTER_VERSION} {self.storage_url} {self.code()}".encode()).hexdigest()
        if now == self._kept_for:
            return
        self._kept_for, self._kept = now, {}
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["for"] == now:
                self._kept = dict(found["runs"])
