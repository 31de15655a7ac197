"""The demo from the outside: found is planted, a second run finds nothing new, nobody is readable in what it leaves.

The canary: every identifier of every subscriber, and every stolen password, in the forms in which data leaks (as
typed, URL-encoded, base64, SHA-1), is looked for in a dump of the whole database, in Postgres' own files, in the state
folder and in every log. Only the maildir and the reports may hold an identifier.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs_tests.browser.conftest import environ
from kordant_jobs_tests.leaks import dumped, files, forms_of, leaks

SEED, SUBSCRIBERS, LINES = 11, 60, 3_000
ARGUMENTS = ("--seed", str(SEED), "--subscribers", str(SUBSCRIBERS), "--lines", str(LINES), "--reports", "6", "--json")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Demo:
    """What one demo printed and left."""

    summary: dict[str, Any]
    words: str
    state: Path


def _run(state: Path, *more: str) -> Demo:
    done = subprocess.run(
        [sys.executable, "-m", "kordant_jobs.cli", "demo", *ARGUMENTS, *more],
        cwd=CHECKOUT,
        env=environ(state),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Demo(summary=json.loads(done.stdout), words=done.stdout + done.stderr, state=state / "demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo, and its Postgres running again to look into."""
    state = tmp_path_factory.mktemp("demo") / "state"
    ran = _run(state)
    yield ran
    EmbeddedPostgres(ran.state).delete()


def _database(state: Path) -> Iterator[tuple[str, bytes]]:
    """A dump of everything in the database, and the files that Postgres keeps it in."""
    with EmbeddedPostgres(state) as postgres:
        facts = postgres.status()
        yield "pg_dump", dumped(postgres)
    assert facts.data_dir is not None
    yield from files(facts.data_dir)


def test_found_is_planted_and_everybody_concerned_is_alerted(demo: Demo) -> None:
    summary = demo.summary
    assert (summary["missed"], summary["false_hits"]) == (0, 0)
    assert summary["found"] == summary["planted"] > 0
    assert 0 < summary["mails"] <= summary["alerts"], "one message a person and breach"
    assert summary["reports"] > 0
    assert len(list((demo.state / "reports").rglob("*.pdf"))) == summary["reports"]


def test_no_identifier_and_no_stolen_password_can_be_read_in_what_it_leaves(demo: Demo, tmp_path: Path) -> None:
    population = make_population(SEED, SUBSCRIBERS)
    stolen = write_dumps(population, tmp_path, seed=SEED, lines=LINES).passwords
    people = population.subscribers
    identifiers = {form for person in people for item in person.items for form in (item.raw, item.canonical)}
    identifiers |= {person.contact for person in people} | {person.name for person in people}
    mails, reports = demo.state / "maildir", demo.state / "reports"
    places = [
        ("the demo's words", demo.words.encode()),
        *files(demo.state, but=(mails, reports)),
        *_database(demo.state),
    ]
    assert not leaks(places, forms_of(identifiers))
    assert not leaks([*places, *files(mails), *files(reports)], forms_of(stolen))

    addressed = leaks(files(mails), forms_of(person.contact for person in people))
    assert addressed, "this look would not even find the recipients of the mails"
    assert len(places) > 100


def test_a_second_run_finds_nothing_new(demo: Demo) -> None:
    again = _run(demo.state.parent, "--keep").summary
    assert (again["new_alerts"], again["new_reports"]) == (0, 0)
    same = ("subscribers", "items", "lines", "bad_lines", "found", "planted", "alerts", "mails", "reports")
    assert {name: again[name] for name in same} == {name: demo.summary[name] for name in same}
