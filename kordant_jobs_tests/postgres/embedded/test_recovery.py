"""What a crash leaves behind, and that no committed row is lost to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2
import pytest

from kordant_jobs.errors import DatabaseUnavailable, PermanentError
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.postgres.embedded.locks import exclusive
from kordant_jobs.postgres.embedded.process import find_postmaster
from kordant_jobs_tests.postgres.embedded.conftest import (
    FAST,
    Actor,
    base_of,
    dispose,
    eventually,
    new_place,
    new_state,
    processes_of,
)

Actors = Callable[..., Actor]
SAFE = {**FAST, "fsync": "on"}


def kill_server(state: Path) -> psutil.Process:
    """Kill -9 of the postmaster; its process, once the kernel has let go of it."""
    server = find_postmaster(base_of(state) / "data")
    assert server is not None
    server.process.kill()
    server.process.wait(10)
    return server.process


def test_a_server_killed_by_9_comes_back_with_every_committed_row(state: Path, actors: Actors) -> None:
    actor = actors(state, SAFE)
    pid = actor.ask("start")
    assert actor.ask("sql show fsync") == ["on"]
    actor.ask("sql create table kept as select generate_series(1, 1000) as n")
    kill_server(state)
    assert actor.ask("start") != pid
    assert actor.ask("sql select count(*) from kept") == [1000]
    assert actor.ask("release") is True


def test_a_start_right_after_a_kill_never_attaches_to_the_dying_server(state: Path) -> None:
    with EmbeddedPostgres(state, settings=FAST) as server:
        for _ in range(8):
            pid = server.status().pid
            assert pid
            os.kill(pid, 9)
            server.start()
            assert server.status().pid != pid
            psycopg2.connect(server.url().replace("+psycopg2", "")).close()


def test_server_guard_and_client_killed_together_come_back(state: Path, actors: Actors) -> None:
    first = actors(state, SAFE)
    first.ask("start")
    first.ask("sql create table kept as select 1 as n")
    for process in processes_of(base_of(state)):
        with suppress(psutil.NoSuchProcess):  # a backend ends by itself when its server does
            process.kill()
    first.kill()
    second = actors(state, SAFE)
    second.ask("start")
    assert second.ask("sql select n from kept") == [1]


def test_a_backend_that_outlives_its_server_is_ended_before_the_next_one_starts(state: Path, actors: Actors) -> None:
    busy, other = actors(state), actors(state)
    busy.ask("start")
    # A loop that never looks up, so it doesn't notice that its postmaster died.
    busy.send("sql select count(*) from generate_series(1, 2000000000)")
    base = base_of(state)
    assert eventually(lambda: bool(backends(base)))
    (backend,) = backends(base)
    kill_server(state)
    assert backend in processes_of(base)
    other.ask("start")
    assert backend not in processes_of(base)
    assert other.ask("sql select 1") == [1]


def backends(base: Path) -> list[psutil.Process]:
    busy = "[local] SELECT"
    return [one for one in processes_of(base) if any(busy in part for part in one.cmdline())]


@contextmanager
def a_dead_process() -> Iterator[int]:
    process = subprocess.Popen(["true"])
    process.wait()
    yield process.pid


@contextmanager
def another_program() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    assert process.poll() is None, "the program that has the number now must be left alone"
    process.kill()
    process.wait()


@contextmanager
def a_zombie() -> Iterator[int]:
    process = subprocess.Popen(["true"])
    assert eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    yield process.pid
    process.wait()


@contextmanager
def a_server_of_another_state() -> Iterator[int]:
    with new_place() as folder:
        other = new_state(folder)
        with EmbeddedPostgres(other, settings=FAST) as server:
            pid = server.status().pid
            assert pid
            yield pid
            assert server.status().pid == pid
        dispose(other)


@pytest.mark.parametrize("holder", [a_dead_process, another_program, a_zombie, a_server_of_another_state])
def test_a_stale_pid_does_not_block_a_start(state: Path, actors: Actors, holder: Callable[[], Iterator[int]]) -> None:
    first, second = actors(state), actors(state)
    first.ask("start")
    first.ask("sql create table kept as select 1 as n")
    data, socket = base_of(state) / "data", base_of(state) / "run"
    left = {path: path.read_text() for path in (data / "postmaster.pid", socket / ".s.PGSQL.5432.lock")}
    old = kill_server(state)
    first.kill()
    assert eventually(lambda: not processes_of(base_of(state)))
    with holder() as pid:  # type: ignore[attr-defined]
        for path, text in left.items():
            path.write_text(text.replace(str(old.pid), str(pid), 1))
        assert EmbeddedPostgres(state).status().running is False
        assert second.ask("start") != pid
        assert second.ask("sql select n from kept") == [1]


def test_a_zombie_server_counts_as_dead(state: Path) -> None:
    with EmbeddedPostgres(state, settings=FAST) as server:
        postmaster = find_postmaster(base_of(state) / "data")
        assert postmaster is not None
        guard = postmaster.process.parent()
        assert guard is not None
        guard.suspend()  # so that nobody reaps the server
        postmaster.process.kill()
        assert eventually(lambda: postmaster.process.status() == psutil.STATUS_ZOMBIE)
        assert server.status().running is False
        guard.resume()


def test_an_initdb_killed_in_the_middle_is_done_again(empty_state: Path, actors: Actors) -> None:
    first = actors(empty_state)
    first.send("start")
    base = empty_state / "postgres"
    assert eventually(lambda: bool(list(base.glob("initdb-*/PG_VERSION"))))
    first.kill()
    for process in processes_of(base):
        process.kill()
    assert list(base.glob("initdb-*/PG_VERSION"))
    assert not (base / "data").exists()
    second = actors(empty_state)
    second.ask("start")
    assert second.ask("sql select 1") == [1]
    assert list(base.glob("initdb-*")) == []


def test_data_of_another_major_version_is_refused_and_left_as_it_was(state: Path) -> None:
    data = base_of(state) / "data"
    (data / "PG_VERSION").write_text("9\n")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    with pytest.raises(
        PermanentError, match=r"made by Postgres 9, .* are Postgres \d\d.*Nothing was changed"
    ) as refusal:
        EmbeddedPostgres(state).start()
    assert "\n" not in str(refusal.value)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert processes_of(base_of(state)) == []


def test_data_that_is_no_database_is_refused(state: Path) -> None:
    (base_of(state) / "data" / "PG_VERSION").unlink()
    with pytest.raises(PermanentError, match="is no database of Postgres"):
        EmbeddedPostgres(state).start()


def test_a_lock_that_is_never_let_go_ends_in_one_clear_line(place: Path) -> None:
    with (
        exclusive(place / "lock"),
        pytest.raises(DatabaseUnavailable, match="another process has held"),
        exclusive(place / "lock", timeout_s=0.05),
    ):
        pass


def test_a_shutdown_that_waits_for_clients_does_not_block_a_start(state: Path, actors: Actors) -> None:
    actor = actors(state)
    pid = actor.ask("start")
    connection = psycopg2.connect(actor.ask("dsn"))
    os.kill(pid, 15)  # a smart shutdown: it waits for the connection to end
    assert eventually(lambda: EmbeddedPostgres(state).status().running is False)
    assert actor.ask("start") != pid
    connection.close()


def test_an_absent_server_is_neither_made_nor_waited_for(place: Path) -> None:
    server = EmbeddedPostgres(place / "nothing")
    assert server.status().running is False
    with pytest.raises(DatabaseUnavailable, match="start it"):
        server.url()
    assert not (place / "nothing").exists()
