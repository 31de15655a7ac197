"""Runs that Dagster created once, as templates for later runs. Stored in a file, so that a daemon that starts while the
code server is away can start the jobs that ran before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterRun
from dagster._serdes import deserialize_value, serialize_value

from kordant_jobs.engine.dagster_private.version import DAGSTER_VERSION

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
