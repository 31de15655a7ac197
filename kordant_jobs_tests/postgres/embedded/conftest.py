"""Folders and client processes that are gone after each test, and so is every process of Postgres."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.postgres.embedded.folders import find_folders

FAST = {"fsync": "off", "max_connections": "20", "shared_buffers": "16MB"}
ROOT = Path(__file__).resolve().parents[3]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


class RefusedError(Exception):
    """A client's start or stop raised an error of ours."""


class Actor:
    """A client process; see `actor`."""

    def __init__(self, state: Path, settings: Mapping[str, str], user: str | None, pythonpath: str) -> None:
        module = [sys.executable, "-m", "kordant_jobs_tests.postgres.embedded.actor"]
        self.process = subprocess.Popen(
            [*module, str(state), json.dumps(dict(settings)), *([user] if user else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": pythonpath},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, command: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout
        said = json.loads(self.process.stdout.readline())
        if "error" in said:
            raise RefusedError(f"{said['error']}: {said['text']}")
        return said["answer"]

    def ask(self, command: str) -> Any:
        self.send(command)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def processes_of(base: Path) -> list[psutil.Process]:
    """Every process of the server in `base`: guard, postmaster, backends, and an initdb at work."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            folder = process.cwd() if process.name().startswith(("postgres", "initdb")) else ""
            if folder.startswith(f"{base}/") or folder == str(base) or f'"{base}/lock"' in " ".join(process.cmdline()):
                found.append(process)
    return found


def eventually(claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the claim comes true in time; looked at often."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def base_of(state: Path) -> Path:
    found = find_folders(state)
    assert found is not None
    return found.base


def guards_of(state: Path) -> list[psutil.Process]:
    return [one for one in processes_of(base_of(state)) if not one.name().startswith("postgres")]


def dispose(state: Path) -> None:
    """Delete the server of a state folder, and see that no process of it is left."""
    folders = find_folders(state)
    EmbeddedPostgres(state).delete()
    if folders is not None:
        assert eventually(lambda: not processes_of(folders.base)), processes_of(folders.base)
        assert not folders.base.exists()
        assert not folders.socket.exists()


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """The base of a server that was made and has stopped: copying it is faster than another initdb."""
    with new_place() as folder:
        state = new_state(folder)
        with EmbeddedPostgres(state, settings=FAST):
            pass
        yield base_of(state)
        dispose(state)


@contextlib.contextmanager
def new_place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kpg-", dir="/tmp")).resolve()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def new_state(place: Path, name: str = "state", mode: int = 0o755) -> Path:
    """A state folder; by default as root one that `nobody` may enter, so that its server lies inside."""
    folder = place / name
    folder.mkdir()
    folder.chmod(mode)
    return folder


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name that everybody may enter and only we may write to."""
    with new_place() as folder:
        yield folder


@pytest.fixture
def empty_state(place: Path) -> Iterator[Path]:
    """A state folder without a server."""
    folder = new_state(place)
    yield folder
    dispose(folder)


@pytest.fixture
def state(empty_state: Path, template: Path) -> Path:
    """A state folder whose server has been made, and is not running."""
    subprocess.run(["cp", "-a", template, empty_state / "postgres"], check=True)
    return empty_state


@pytest.fixture
def actors(place: Path) -> Iterator[Callable[..., Actor]]:
    """Make client processes; all are killed at the end."""
    made: list[Actor] = []

    def make(
        state: Path,
        settings: Mapping[str, str] = FAST,
        *,
        user: str | None = None,
        pythonpath: str = str(ROOT),
    ) -> Actor:
        made.append(Actor(state, settings, user, pythonpath))
        return made[-1]

    yield make
    for actor in made:
        actor.close()
