"""The version of the code on disk, and whether the warm process has loaded it. Imports no Dagster."""

import hashlib
import importlib.util
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT, project_file
from kordant_jobs.engine.launcher.protocol import ask, socket_path

ANSWER_S = 8.0
"""Seconds that a command waits for the warm process; a fork takes less."""


def fingerprint(module: str) -> str:
    """An identifier of the state of the code: time and size of our package, the definitions and the lock."""
    digest = hashlib.sha256()
    for path, facts in sorted(_sources(module)):
        digest.update(f"{path} {facts.st_mtime_ns} {facts.st_size}\n".encode())
    return digest.hexdigest()


def warm_is_outdated(state_dir: Path, module: str, *, after_s: float) -> bool:
    """True when the files of the code differ from what the warm process loaded, for at least `after_s`.

    Raises:
        TransientError: it does not answer.
    """
    loaded = ask(socket_path(state_dir), {"op": "ping"}, timeout_s=ANSWER_S)["code"]
    changed_at = max(facts.st_ctime for _, facts in _sources(module))
    return loaded not in {"", fingerprint(module)} and time.time() - changed_at > after_s


@lru_cache(maxsize=1)
def code_version(module: str, named: str = "") -> str:
    """The version of the code that this process loaded: `named`, else a hash of its files' content. Equal on every
    machine with the same files."""
    if named:
        return named
    digest = hashlib.sha256()
    for path, _ in sorted(_sources(module)):
        with suppress(OSError):
            file = Path(path)
            place = file.relative_to(CHECKOUT) if file.is_relative_to(CHECKOUT) else file.name
            digest.update(f"{place} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _sources(module: str) -> Iterable[tuple[str, os.stat_result]]:
    yield from _below(str(CHECKOUT / "kordant_jobs"))
    for path in (project_file("requirements.lock"), _file_of(module)):
        if path:
            with suppress(OSError):
                yield str(path), path.stat()


def _below(folder: str) -> Iterable[tuple[str, os.stat_result]]:
    """Python files below a folder, by the cheapest calls: this is done every few seconds while the system runs."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                with suppress(OSError):
                    yield entry.path, entry.stat()
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _below(entry.path)


@lru_cache(maxsize=1)
def _file_of(module: str) -> Path | None:
    with suppress(ImportError, ValueError):
        found = importlib.util.find_spec(module)
        if found and found.origin:
            return Path(found.origin)
    return None
