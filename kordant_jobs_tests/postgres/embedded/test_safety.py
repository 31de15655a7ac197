"""Who can reach the server, and what it lets out."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg2
import pytest

from kordant_jobs.postgres.embedded import EmbeddedPostgres, account
from kordant_jobs.postgres.embedded.binaries import wheel_folder
from kordant_jobs_tests.postgres.embedded.conftest import (
    FAST,
    ROOT,
    Actor,
    as_root,
    base_of,
    dispose,
    eventually,
    new_state,
    processes_of,
)

Actors = Callable[..., Actor]


def test_the_server_listens_on_its_socket_only(state: Path) -> None:
    with EmbeddedPostgres(state, settings={**FAST, "listen_addresses": "*", "port": "5999"}) as server:
        pid = server.status().pid
        assert psutil.Process(pid).net_connections(kind="inet") == []
        folder = Path(parse_qs(urlsplit(server.url()).query)["host"][0])
        assert folder == server.status().socket_dir
        assert stat.S_ISSOCK((folder / ".s.PGSQL.5432").stat().st_mode)


def test_data_and_socket_are_closed_to_all_but_the_servers_user(state: Path) -> None:
    with EmbeddedPostgres(state, settings=FAST) as server:
        status = server.status()
        owner = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
        for folder in (status.data_dir, status.socket_dir):
            assert folder is not None
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.stat().st_uid == owner
        assert stat.S_IMODE((base_of(state) / "server.log").stat().st_mode) == 0o600


@as_root
def test_server_and_guard_of_root_run_as_nobody_without_its_groups(state: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    with EmbeddedPostgres(state, settings=FAST):
        for process in processes_of(base_of(state)):
            assert set(process.uids()) == {nobody.pw_uid}
            assert set(process.gids()) == {nobody.pw_gid}
            groups = Path(f"/proc/{process.pid}/status").read_text().split("Groups:")[1].splitlines()[0]
            assert groups.strip() == ""


@as_root
def test_a_user_made_for_the_server_is_preferred_and_data_keeps_its_owner(
    empty_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pwd.getpwnam("daemon")
    for user in (own.pw_name, "no-such-user"):
        monkeypatch.setattr(account, "OWN_USER", user)
        with EmbeddedPostgres(empty_state, settings=FAST):
            assert {uid for process in processes_of(base_of(empty_state)) for uid in process.uids()} == {own.pw_uid}


@as_root
def test_other_programs_that_run_as_nobody_may_not_connect(state: Path, actors: Actors) -> None:
    with EmbeddedPostgres(state, settings=FAST):
        intruder = actors(state, user="nobody")
        with pytest.raises(Exception, match="Peer authentication failed"):
            intruder.ask("sql select 1")


def test_no_value_of_ours_reaches_the_log(state: Path) -> None:
    secret = "ann@example.com"
    with EmbeddedPostgres(state, settings={**FAST, "log_min_messages": "debug5", "log_statement": "all"}) as server:
        connection = psycopg2.connect(server.url().replace("+psycopg2", ""))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("create table people (mail text primary key)")
        cursor.execute("insert into people values (%s)", (secret,))
        cursor.execute("do $$ begin raise warning '%%', %s; end $$", (secret,))
        for query in ("insert into people values (%s)", "select %s::int"):
            with pytest.raises(psycopg2.Error):
                cursor.execute(query, (secret,))
        backend = connection.info.backend_pid
        cursor.execute("select count(*) from people where mail = %s", (secret,))
        psutil.Process(backend).kill()  # the postmaster reports the crash with the statement, were it let
        log = base_of(state) / "server.log"
        assert eventually(lambda: "terminated by signal 9" in log.read_text())
        connection.close()
        assert eventually(lambda: log.read_text().count("ready to accept connections") == 2, 30)
    assert secret not in log.read_text()
    assert "people" not in log.read_text()


def test_the_log_stays_small(state: Path) -> None:
    with EmbeddedPostgres(state, settings=FAST) as server:
        log = base_of(state) / "server.log"
        with log.open("ab") as opened:
            opened.write(b"x" * (9 << 20))
        assert eventually(lambda: log.stat().st_size < 1 << 20)
        server.stop()
        server.start()
        assert log.stat().st_size < 1 << 20


AWKWARD = ["deep/" * 30, 'it\'s $HOME `id` "here"', "a, b;c", "Ünïcode 家", "new\nline"]


@pytest.mark.parametrize("name", AWKWARD)
def test_any_path_of_a_state_folder_will_do(place: Path, actors: Actors, name: str) -> None:
    parent = place / name
    parent.mkdir(parents=True)
    for folder in (parent, *parent.parents):
        if folder.is_relative_to(place) and folder != place:
            folder.chmod(0o755)
    state = new_state(parent)
    with EmbeddedPostgres(state, settings=FAST) as server:
        socket = server.status().socket_dir
        assert socket is not None
        assert len(os.fsencode(socket / ".s.PGSQL.5432")) < 107
        connection = psycopg2.connect(server.url().replace("+psycopg2", ""))
        connection.close()
        assert base_of(state).is_relative_to(state)
    dispose(state)


@as_root
def test_a_state_folder_closed_to_nobody_has_its_data_in_a_shelter_and_owns_it(place: Path, actors: Actors) -> None:
    state = new_state(place, mode=0o700)
    first, second = actors(state), actors(state)
    first.send("start")
    second.send("start")
    assert first.answer() == second.answer()
    base = base_of(state)
    assert not base.is_relative_to(state)
    assert (state / "postgres.at").read_text() == str(base)
    assert first.ask("sql select 1") == [1]
    dispose(state)
    assert not (state / "postgres.at").exists()


@as_root
def test_a_moved_state_folder_takes_its_sheltered_data_along_and_a_copied_one_does_not(
    place: Path, actors: Actors
) -> None:
    state = new_state(place, mode=0o700)
    with EmbeddedPostgres(state, settings=FAST):
        base = base_of(state)
    moved = state.rename(place / "moved")
    with EmbeddedPostgres(moved, settings=FAST):
        assert base_of(moved) == base
    copied = Path(shutil.copytree(moved, place / "copied"))
    with EmbeddedPostgres(copied, settings=FAST):
        assert base_of(copied) != base
    dispose(copied)
    assert base.exists()
    dispose(moved)


@as_root
def test_the_data_of_a_deleted_temporary_state_folder_goes_with_the_next_one(place: Path, actors: Actors) -> None:
    deleted, used, state = (new_state(place, name, 0o700) for name in ("deleted", "used", "next"))
    with EmbeddedPostgres(deleted, settings=FAST):
        left = base_of(deleted)
    user = actors(used)
    user.ask("start")
    kept = base_of(used)
    shutil.rmtree(deleted)
    aside = used.rename(place / "aside")
    with EmbeddedPostgres(state, settings=FAST):
        assert not left.exists()
        assert kept.exists(), "its state folder is gone, yet it has a client"
        assert user.ask("sql select 1") == [1]
    user.close()
    aside.rename(used)
    dispose(used)
    dispose(state)


@as_root
@pytest.mark.skipif(
    not all(folder.stat().st_mode & 0o005 == 0o005 for folder in (wheel_folder() or ROOT).resolve().parents),
    reason="this checkout is closed to all but root, so that no other user could run it",
)
def test_an_ordinary_user_runs_it_as_itself(place: Path, actors: Actors) -> None:
    user = pwd.getpwnam("daemon")
    state = new_state(place, mode=0o700)
    os.chown(state, user.pw_uid, user.pw_gid)
    first, second = actors(state, user="daemon"), actors(state, user="daemon")
    pid = first.ask("start")
    assert second.ask("start") == pid
    assert set(psutil.Process(pid).uids()) == {user.pw_uid}
    assert second.ask("sql select current_user") == ["postgres"]
    first.kill()
    assert second.ask("release") is True
    first = actors(state, user="daemon")
    first.ask("start")
    base = base_of(state)
    with pytest.raises(Exception, match="belongs to user id"):
        EmbeddedPostgres(state).start()
    first.kill()
    assert eventually(lambda: not processes_of(base))


@as_root
def test_a_user_without_a_name_gets_an_error(place: Path, actors: Actors) -> None:
    state = new_state(place, mode=0o777)
    with pytest.raises(Exception, match="SetupError: user id 54321 has no name"):
        actors(state, user="54321").ask("start")


@as_root
def test_a_root_that_may_become_no_one_else_gets_an_error(state: Path) -> None:
    script = "import sys, pathlib; from kordant_jobs.postgres.embedded import EmbeddedPostgres\n"
    alone = [
        "unshare",
        "--user",
        "--map-root-user",
        sys.executable,
        "-c",
        script + "EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()",
    ]
    done = subprocess.run([*alone, str(state)], capture_output=True, text=True, cwd=ROOT, check=False)
    if "unshare" in done.stderr:
        pytest.skip("this kernel lets nobody make a user namespace")
    assert "SetupError" in done.stderr.splitlines()[-1]
    assert "run as an ordinary user, or set KORDANT_DATABASE_URL" in done.stderr
