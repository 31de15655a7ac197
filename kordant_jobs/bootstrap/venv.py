"""The virtual environment of one checkout: made on the first start, recognised in a moment on every other.

It is `.venv` of the checkout, or `venv` of the state folder where the checkout cannot be written. A stamp in
it, written last, says what it was made from; without a fitting stamp it is made anew from nothing. Nothing
else may be kept in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kordant_jobs.bootstrap import lock, packages, pango
from kordant_jobs.bootstrap.steps import BootstrapError, fresh_log, run_step, say

STAMP = "kordant-setup.json"
LOCK = "kordant-setup.lock"
SETUP = 1
"""Raised by hand when this module makes environments that older ones do not equal."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What an environment was made from; a difference in any field means: make it anew."""

    setup: int
    checkout: str
    requirements_sha256: str
    python: str
    version: str
    platform: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that is ready: its folder, and what WeasyPrint's libraries need."""

    folder: Path
    pango: pango.Libraries

    @property
    def python(self) -> Path:
        """Its interpreter. Not resolved: the path is what makes it find its packages."""
        return self.folder / "bin" / "python"


def ready(folder: Path, checkout: Path) -> Environment | None:
    """The environment in `folder` when it is whole and of today's lock file, else None. Milliseconds.

    The Python that asks does not matter, only the one that the environment was made from: it must still be
    there in the same version, so that an upgrade of the machine's Python is noticed.
    """
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        made = Made(**stamp["made"])
        libraries = pango.Libraries(**stamp["pango"])
        python = os.path.realpath(folder / "bin" / "python", strict=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if made != _wanted(checkout, python=python, version=made.version):
        return None
    return Environment(folder=folder, pango=libraries)


def ensure(checkout: Path, state: Path, environ: Mapping[str, str]) -> Environment:
    """The environment of `checkout`, made first when it is not there or no longer fits.

    Two starts at once: the second says that it waits, and then finds the work done.

    Raises:
        BootstrapError: it cannot be made; the text says what to do.
    """
    folders = [folder for folder in (checkout / ".venv", state / "venv") if os.pathsep not in str(folder)]
    if not folders:
        raise BootstrapError(
            f"no virtual environment can lie in a path with {os.pathsep!r}: move the checkout,"
            " or set KORDANT_STATE_DIR to a folder without it"
        )
    for folder in folders:
        if found := ready(folder, checkout):
            return _with_pango(found)
    folder = next(folder for folder in folders if _writable(folder) or folder == folders[-1])
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with lock.held(folder / LOCK, on_wait=lambda: say("another start sets up; waiting for it")) as held:
            if found := ready(folder, checkout):
                return found
            return _make(folder, checkout, state, environ, held)
    except OSError as error:
        raise BootstrapError(
            f"cannot make {folder} ({error.strerror or error}): look at its rights and the disk, try again"
        ) from None


def _make(folder: Path, checkout: Path, state: Path, environ: Mapping[str, str], held: int) -> Environment:
    started = time.monotonic()
    requirements = checkout / "requirements.lock"
    log = fresh_log(state / "logs", "setup.log")
    say(f"setting up {folder} (first start or new packages; a minute or so)")
    _clear(folder)
    # --without-pip: the same everywhere (Debian leaves ensurepip out), and three seconds less.
    base: str = getattr(sys, "_base_executable", sys.executable)
    environ = {name: value for name, value in environ.items() if name not in {"PYTHONHOME", "VIRTUAL_ENV"}}
    if not run_step(
        "making the environment", [base, "-m", "venv", "--without-pip", str(folder)],
        log=log, environ=environ, keep_open=(held,),
    ):  # fmt: skip
        raise BootstrapError(
            f"{base} cannot make a virtual environment: install its venv module"
            f" (Debian, Ubuntu: apt-get install python3-venv) and run this again; details are in {log}"
        )
    python = folder / "bin" / "python"
    if "UV_CACHE_DIR" not in environ and not _home_is_ours(environ):
        environ["UV_CACHE_DIR"] = str(state / "cache" / "uv")
    packages.install(
        packages.Installation(lock=requirements, python=python, log=log, environ=environ, keep_open=(held,))
    )
    _name_the_checkout(folder, checkout)
    libraries = pango.provide(python, state, environ, log)
    made = _wanted(checkout, python=os.path.realpath(python), version=sys.version.split()[0])
    environment = Environment(folder=folder, pango=libraries)
    _write_stamp(environment, made)
    say(f"ready after {time.monotonic() - started:.0f} s, {_size_mb(folder):.0f} MB in {folder}")
    return environment


def _wanted(checkout: Path, *, python: str, version: str) -> Made:
    return Made(
        setup=SETUP,
        checkout=os.fsdecode(checkout).encode("unicode_escape", "replace").decode("ascii"),
        requirements_sha256=hashlib.sha256((checkout / "requirements.lock").read_bytes()).hexdigest(),
        python=python.encode("unicode_escape", "replace").decode("ascii"),
        version=version,
        platform=sysconfig.get_platform(),
    )


def _write_stamp(environment: Environment, made: Made) -> None:
    fresh = environment.folder / f"{STAMP}.new"
    content: dict[str, Any] = {"made": asdict(made), "pango": asdict(environment.pango)}
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fresh.replace(environment.folder / STAMP)


def _with_pango(environment: Environment) -> Environment:
    """`environment`, with the note 'no Pango' taken back when somebody has installed it since."""
    if environment.pango.found or pango.missing_libraries():
        return environment
    better = replace(environment, pango=pango.Libraries(found=True))
    with suppress(OSError):  # another user's environment: looked at again on the next start
        stamp = json.loads((environment.folder / STAMP).read_text(encoding="utf-8"))
        _write_stamp(better, Made(**stamp["made"]))
    return better


def _writable(folder: Path) -> bool:
    return os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK)


def _size_mb(folder: Path) -> float:
    """Disk taken by `folder`, in millions of bytes."""
    return sum(entry.lstat().st_blocks for entry in folder.rglob("*")) * 512 / 1e6


def _home_is_ours(environ: Mapping[str, str]) -> bool:
    home = Path(environ.get("XDG_CACHE_HOME") or environ.get("HOME") or "/nonexistent")
    return home.is_dir() and os.access(home, os.W_OK | os.X_OK)


def _clear(folder: Path) -> None:
    """Empty `folder`, the stamp first and but for the lock that we hold."""
    (folder / STAMP).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _name_the_checkout(folder: Path, checkout: Path) -> None:
    """Make the checkout importable wherever the caller stands, and give it a command.

    The .pth line is code with an escaped string and not a path, since Python 3.11 reads .pth files in the
    locale's encoding. The command goes through `__main__` again, which knows where Pango lies.
    """
    for packages_folder in folder.glob("lib/python3*/site-packages"):
        line = f"import sys; sys.path.append({str(checkout)!a})\n"
        (packages_folder / "kordant_jobs.pth").write_text(line, encoding="ascii")
    command = folder / "bin" / "kordant-jobs"
    text = f'#!/bin/sh\nexec {shlex.quote(str(folder / "bin" / "python"))} -P -m kordant_jobs "$@"\n'
    command.write_bytes(os.fsencode(text))
    command.chmod(0o755)
