"""Who keeps the server alive, and that it never outlives them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs_tests.postgres.embedded.conftest import (
    FAST,
    Actor,
    RefusedError,
    base_of,
    eventually,
    guards_of,
    new_state,
    processes_of,
)

Actors = Callable[..., Actor]


def test_the_last_client_out_stops_the_server(state: Path, actors: Actors) -> None:
    first, second = actors(state), actors(state)
    pid = first.ask("start")
    assert second.ask("start") == pid
    assert first.ask("release") is False
    assert second.ask("sql select 1") == [1]
    assert second.ask("release") is True
    assert processes_of(base_of(state)) == []


def test_six_processes_that_race_share_one_server(empty_state: Path, actors: Actors) -> None:
    state = empty_state
    six = [actors(state) for _ in range(6)]
    for actor in six:
        actor.send("start")
    assert len({actor.answer() for actor in six}) == 1
    assert EmbeddedPostgres(state).status().clients == 6
    assert len(guards_of(state)) == 1
    for actor in six:
        actor.send("release")
    assert sorted(actor.answer() for actor in six) == [False] * 5 + [True]
    assert processes_of(base_of(state)) == []


def test_racing_starts_and_leaves_never_lose_the_server_under_a_client(state: Path, actors: Actors) -> None:
    six = [actors(state) for _ in range(6)]
    for _ in range(5):
        for command in ("start", "sql select 1", "release"):
            for actor in six:
                actor.send(command)
            for actor in six:
                actor.answer()
    assert processes_of(base_of(state)) == []


def test_a_client_killed_by_9_leaves_no_server(state: Path, actors: Actors) -> None:
    actor = actors(state)
    actor.ask("start")
    actor.kill()
    assert eventually(lambda: not processes_of(base_of(state)), 5)


def test_a_client_that_ends_without_release_leaves_no_server(state: Path, actors: Actors) -> None:
    actor = actors(state)
    actor.ask("start")
    assert actor.process.stdin
    actor.process.stdin.close()
    assert actor.process.wait(10) == 0
    assert eventually(lambda: not processes_of(base_of(state)), 5)


def test_a_client_killed_by_9_does_not_take_the_server_from_the_others(state: Path, actors: Actors) -> None:
    first, second = actors(state), actors(state)
    pid = first.ask("start")
    second.ask("start")
    first.kill()
    assert second.ask("sql select pg_sleep(1.2)::text") == [""]  # two ticks of the guard
    assert second.ask("start") == pid
    assert EmbeddedPostgres(state).status().clients == 1


def test_a_guard_killed_by_9_is_replaced_by_the_next_client(state: Path, actors: Actors) -> None:
    first, second = actors(state), actors(state)
    pid = first.ask("start")
    (guard,) = guards_of(state)
    guard.kill()
    assert eventually(lambda: not guards_of(state))
    assert second.ask("start") == pid
    (replacement,) = guards_of(state)
    assert replacement.pid != guard.pid
    first.kill()
    second.kill()
    assert eventually(lambda: not processes_of(base_of(state)), 5)


def test_without_its_guard_the_last_client_still_stops_the_server(state: Path, actors: Actors) -> None:
    actor = actors(state)
    actor.ask("start")
    guards_of(state)[0].kill()
    assert actor.ask("sql select 1") == [1]
    assert actor.ask("release") is True
    assert processes_of(base_of(state)) == []


def session_of(pid: int) -> int | None:
    """The session of a process; None: it has ended, as the first client's own server process just now."""
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def test_ctrl_c_in_the_terminal_of_the_first_client_spares_the_server(state: Path, actors: Actors) -> None:
    first, second = actors(state), actors(state)
    pid = first.ask("start")
    second.ask("start")
    os.killpg(first.pid, signal.SIGINT)  # what a terminal sends: to the whole group of its foreground
    assert first.process.wait(10) == -signal.SIGINT
    assert second.ask("sql select 1") == [1]
    assert first.pid not in {session_of(one.pid) for one in processes_of(base_of(state))}
    (guard,) = guards_of(state)
    guard.send_signal(signal.SIGINT)
    assert second.ask("sql select pg_sleep(0.1)::text") == [""]
    assert second.ask("start") == pid
    assert guards_of(state) == [guard]


def test_a_forked_child_that_lives_on_is_a_client(state: Path, actors: Actors) -> None:
    actor = actors(state)
    pid = actor.ask("start")
    child = psutil.Process(actor.ask("fork"))
    actor.kill()
    with EmbeddedPostgres(state) as visitor:
        assert visitor.status().pid == pid
    assert EmbeddedPostgres(state).status().pid == pid
    child.kill()
    assert eventually(lambda: not processes_of(base_of(state)), 5)


def test_a_forked_child_that_leaves_does_not_stop_its_parents_server(state: Path, actors: Actors) -> None:
    actor = actors(state)
    pid = actor.ask("start")
    assert actor.ask("forked_release") is False
    assert actor.ask("sql select 1") == [1]
    assert actor.ask("start") == pid


def test_a_program_started_by_a_client_is_no_client(state: Path, actors: Actors) -> None:
    actor = actors(state)
    actor.ask("start")
    program = psutil.Process(actor.ask("spawn"))
    actor.kill()
    assert eventually(lambda: not processes_of(base_of(state)), 5)
    assert program.is_running()
    program.kill()


def test_guard_and_server_hold_no_descriptor_of_the_client(state: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with EmbeddedPostgres(state, settings=FAST):
        os.close(writer)
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b""  # end of file: nobody else has the other end
    os.close(reader)


def test_stop_ends_the_server_even_with_clients_and_start_brings_it_back(state: Path, actors: Actors) -> None:
    first, second = actors(state), actors(state)
    pid = first.ask("start")
    second.ask("stop")
    assert processes_of(base_of(state)) == []
    assert EmbeddedPostgres(state).status().running is False
    assert first.ask("start") != pid
    assert first.ask("sql select 1") == [1]
    assert first.ask("release") is True


def test_a_deleted_state_folder_takes_its_server_along(place: Path, actors: Actors) -> None:
    state = new_state(place)
    actor = actors(state)
    actor.ask("start")
    base = base_of(state)
    shutil.rmtree(state)
    assert eventually(lambda: not processes_of(base), 5)


def test_leaving_twice_or_without_having_entered_is_nothing(state: Path) -> None:
    server = EmbeddedPostgres(state, settings=FAST)
    assert server.release() is False
    with server:
        assert server.release() is True
    assert server.release() is False
    server.stop()


def test_a_server_that_refuses_to_start_says_why_and_leaves_nothing(state: Path, actors: Actors) -> None:
    actor = actors(state, {**FAST, "work_mem": "a lot"})
    with pytest.raises(RefusedError, match=r"SetupError: Postgres did not start in .*work_mem"):
        actor.ask("start")
    assert processes_of(base_of(state)) == []
    assert EmbeddedPostgres(state).status().clients == 0
    assert actors(state).ask("start")
