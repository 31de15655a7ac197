"""A healthy system for the doctor, and the proof that a test's fault was found by the check that it is meant for."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.app import SYSTEM
from kordant_jobs.catalog import CATALOG
from kordant_jobs.domain.access.audit import Entry
from kordant_jobs.engine.control import operate, socket_path
from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.engine.launcher.code import fingerprint
from kordant_jobs.engine.launcher.front import Ends, Front
from kordant_jobs.engine.launcher.protocol import listen
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.observability.doctor import ExaminedSystem, State, examine
from kordant_jobs.settings import Settings
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import copy, price_list, reloader
from kordant_jobs_tests.jobs.people import subscribe

OF_THE_TESTS = {"database", "disk"}
"""Found on every system of the tests: their server has fsync off, and the machine's disk is its own."""
_FOUND: set[str] = set()


def wrong(system: ExaminedSystem) -> dict[str, str]:
    """The checks that found something, with the first fact."""
    found = {one.id: one.findings[0].fact for one in examine(system, CHECKS) if one.state in {State.WARN, State.FAIL}}
    _FOUND.update(found)
    return found


def facts(system: ExaminedSystem, check: str) -> list[str]:
    """All that one check finds."""
    (result,) = examine(system, {check: CHECKS[check]})
    if result.findings:
        _FOUND.add(check)
    return [one.fact for one in result.findings]


def only(system: ExaminedSystem, check: str) -> str:
    """The first fact of the one check that finds something, but for what the tests' own system has."""
    found = wrong(system)
    assert set(found) - (OF_THE_TESTS - {check}) == {check}, found
    return found[check]


def changed(system: ExaminedSystem, **settings: object) -> ExaminedSystem:
    return replace(system, settings=system.settings.model_copy(update=settings))


def run(db: Engine, *statements: str) -> None:
    with db.begin() as connection:
        for one in statements:
            connection.execute(sa.text(one))


@pytest.fixture(autouse=True)
def _injected(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that claims to inject a check's fault fails unless that check found something in it."""
    _FOUND.clear()
    yield
    named = {name for mark in request.node.iter_markers("injects") for name in mark.args}
    assert named <= _FOUND, f"never found: {named - _FOUND}"


@dataclass
class Warm:
    """What answers in place of a warm process: its code, and no runs."""

    code: str
    stopping: bool = False
    pool: Any = field(default_factory=lambda: SimpleNamespace(children={}, busy=0, started=0))


@contextmanager
def warm_process(state_dir: Path) -> Iterator[Warm]:
    """A warm process's socket with its own front behind it, in a thread."""
    host, selector, (wake, woken) = (
        Warm(fingerprint(SYSTEM.definitions)),
        selectors.DefaultSelector(),
        socket.socketpair(),
    )
    front = Front(selector, listen(socket_path(state_dir)), Ends(), host)
    selector.register(woken, selectors.EVENT_READ)

    def serve() -> None:
        while woken not in (ready := [key.fileobj for key, _ in selector.select()]):
            for one in ready:
                assert isinstance(one, socket.socket)
                front.serve(one)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield host
    finally:
        wake.send(b".")
        thread.join()
        front.close()
        for one in (wake, woken, selector):
            one.close()


@pytest.fixture
def warm(settings: Settings) -> Iterator[Warm]:
    """The warm process of the healthy system."""
    with warm_process(settings.state_dir) as host:
        yield host


@pytest.fixture
def healthy(
    settings: Settings, db: Engine, database_url: str, keyring: Keyring, warm: Warm
) -> Iterator[ExaminedSystem]:
    """A migrated system with a subscriber, its price list, an entry in the audit log, a daemon that leads, another that
    stands by, and a warm process."""
    person = subscribe(db, keyring, "ann@example.com")
    with db.begin() as connection:
        keyring.check(connection)
        operate.sync_catalogue(connection, CATALOG)
        price_list.ensure(connection)
        entry = Entry(actor="user:a", role="admin", source="cli", action="x", target_kind="s", target_id="1")
        log.record(connection, keyring, entry)
    with db.connect() as connection:
        log.write_anchor(connection, keyring, settings.anchors)
    copy.write(settings.state_dir, reloader.good_rows(db, settings.state_dir, pytest.fail))
    assert person
    leader, standby = Leader(database_url), Leader(database_url)
    assert leader.still()
    assert not standby.still()
    yield ExaminedSystem(settings=settings, db=db, stack={"pid": os.getpid()})
    leader.release()
    standby.release()
