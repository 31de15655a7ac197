"""The doctor's checks that are queries; the file beside this module has them."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.observability.doctor import Check, ExaminedSystem, Finding, Skipped, fail, warn

_FILE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LIMITS: dict[str, Any] = {
    **_FILE.pop("limits"),
    "due_s": BY_NAME["queue_backlog"].fires_at,
    "late_s": BY_NAME["outbox_late"].fires_at,
    "jobs": [name for row in CATALOG for name in row.dagster_jobs],
}
"""The values that the queries are bound to."""


def _by_queries(name: str) -> Check:
    def check(system: ExaminedSystem) -> Iterator[Finding]:
        if needs := _FILE[name].get("needs"):
            [[there]] = system.rows("SELECT to_regclass(:table) IS NOT NULL", table=needs)
            if not there:
                raise Skipped("Dagster has not started yet")
        for one in _FILE[name]["finds"]:
            made, fact = (fail, one["fail"]) if "fail" in one else (warn, one["warn"])
            for row in system.rows(one["query"], **LIMITS):
                yield made(*(text.format(**row._mapping) for text in (fact, one["why"], one["fix"])))

    check.__name__, check.__doc__ = name, _FILE[name]["what"]
    return check


QUERIES: dict[str, Check] = {name: _by_queries(name) for name in _FILE}
"""By id."""
