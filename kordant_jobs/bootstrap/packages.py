"""Installs the locked packages into a virtual environment without an installer of its own: by uv, else by pip.

Both check every file against the hashes in the lock file, so it does not matter which index it came from. Packages are
installed from wheels; a package without one is built with the locked build tools, never with the newest ones of an
index.
"""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kordant_jobs.bootstrap import pip_config
from kordant_jobs.bootstrap.steps import BootstrapError, answer, run_step, say

_PIP_WITH_PYTHON_OPTION = (22, 3)
"""The first pip that can install into another Python's environment (`pip --python`, see pip's news for 22.3)."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The packages to install, their target, and the available tools."""

    lock: Path
    tools: Path
    """The lock file with uv."""
    python: Path
    log: Path
    environ: Mapping[str, str]
    keep_open: tuple[int, ...] = ()

    def run(self, what: str, command: list[str], **more: str) -> bool:
        """Run one step of the installation, with `more` added to the environment."""
        return run_step(
            what,
            command,
            log=self.log,
            environ={**self.environ, **more},
            cwd=self.lock.parent,
            keep_open=self.keep_open,
        )


BUILT_FROM_SOURCE = ("dkimpy",)
"""Development packages without wheels; all others have them. The lock includes their build tools."""


def install(job: Installation) -> None:
    """Make the environment of `job.python` contain exactly the locked packages.

    Raises:
        BootstrapError: no installer is on the machine, or each one failed; the log has the details.
    """
    pip = _pip(job)
    options = pip_config.parse(_configuration(pip, job))
    tried = False
    with tempfile.TemporaryDirectory(prefix="kordant-uv-") as scratch:
        for uv in _uvs(job, pip, Path(scratch)):
            tried = True
            for trust in pip_config.uv_trust(options, job.environ):
                if _sync(job, uv, options, trust):
                    return
    if pip:
        say("uv is not to be had or failed: installing with pip, which takes a few minutes")
        command = [*pip, *_INSTALL, *_wheels(job), "-r", str(job.lock)]
        if job.run("installing with pip", command, **_PLAIN_PIP, PIP_BUILD_CONSTRAINT=str(job.lock)):
            return
    if not pip and not tried:
        raise BootstrapError(
            "this Python has neither pip nor ensurepip, and there is no uv: install one"
            " (Debian, Ubuntu: apt-get install python3-pip) and run this again"
        )
    raise BootstrapError(
        f"the packages could not be installed ({_last_log_line(job.log)}): check the network and pip's index"
        f" settings and run this again; the whole story is in {job.log}"
    )


def unpack_wheels(job: Installation, target: Path, *, platform: tuple[str, str], version: str) -> None:
    """Unpack the locked wheels into a folder, for any machine: not to be run, but to read their files. `platform` is
    its name in pip and in uv.

    Raises:
        BootstrapError: they cannot be downloaded; the log has the details.
    """
    pip = _pip(job)
    options = pip_config.parse(_configuration(pip, job))
    wanted = ["--target", str(target), "--only-binary=:all:", "--python-version", version, "-r", str(job.lock)]
    with tempfile.TemporaryDirectory(prefix="kordant-uv-") as scratch:
        for uv in _uvs(job, pip, Path(scratch)):
            for trust in pip_config.uv_trust(options, job.environ):
                command = [
                    str(uv), "pip", "install", "--require-hashes", "--no-deps", "--no-progress",
                    "--python-platform", platform[1], *pip_config.uv_arguments(options), *wanted,
                ]  # fmt: skip
                if job.run("fetching with uv", command, **pip_config.uv_environment(options, job.environ), **trust):
                    return
    if pip and job.run("fetching with pip", [*pip, *_INSTALL, "--platform", platform[0], *wanted], **_PLAIN_PIP):
        return
    raise BootstrapError(
        f"{job.lock.name} could not be fetched ({_last_log_line(job.log)}): check the network and pip's index settings"
        f" and run this again; the whole story is in {job.log}"
    )


_INSTALL = ["install", "--require-hashes", "--no-deps", "--no-input", "--quiet"]

_PLAIN_PIP = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""Overrides of a person's pip settings that would redirect or forbid our installation."""


def _pip(job: Installation) -> list[str] | None:
    """The pip that can install into the new environment: the machine's, else the one bundled with Python."""
    for python in _pythons_with_pip():
        version = answer([python, "-m", "pip", "--version"], environ=job.environ)
        numbers = re.match(r"pip (\d+)\.(\d+)", version or "")
        if numbers and (int(numbers[1]), int(numbers[2])) >= _PIP_WITH_PYTHON_OPTION:
            return [python, "-m", "pip", "--python", str(job.python)]
    if job.run("unpacking Python's own pip", [str(job.python), "-m", "ensurepip"]):
        return [str(job.python), "-m", "pip"]
    return None


def _pythons_with_pip() -> list[str]:
    """The Python that runs this, and its base when this is an environment; those without pip are left out."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    mine = [sys.executable] if importlib.util.find_spec("pip") else []
    return mine if base == sys.executable else [*mine, base]


def _configuration(pip: list[str] | None, job: Installation) -> str:
    """The pip configuration of this machine, from the first pip that prints it (an old one can, too)."""
    askable = [[python, "-m", "pip"] for python in _pythons_with_pip()] + ([pip] if pip else [])
    said = (answer([*it, "config", "list"], environ=job.environ) for it in askable)
    return next(filter(None, said), "")


def _uvs(job: Installation, pip: list[str] | None, scratch: Path) -> Iterator[Path]:
    """The uvs to try: the machine's, then the locked one, downloaded by pip."""
    for folder in os.get_exec_path(dict(job.environ)):
        found = Path(folder) / "uv"
        if os.access(found, os.X_OK) and answer([str(found), "--version"], environ=job.environ) is not None:
            yield found
            break
    wanted = locked_requirement(job.tools.read_text(encoding="utf-8"), "uv")
    if not pip or not wanted:
        return
    only_uv = scratch / "uv.txt"
    only_uv.write_text(wanted, encoding="utf-8")
    target = scratch / "uv"
    command = [*pip, *_INSTALL, "--only-binary=:all:", "--target", str(target), "-r", str(only_uv)]
    if job.run("fetching uv", command, **_PLAIN_PIP) and (target / "bin" / "uv").exists():
        yield target / "bin" / "uv"


def locked_requirement(lock: str, name: str) -> str | None:
    """The lines of `name` in a lock file: its pinned version and hashes, or None when it is not locked.

    >>> locked_requirement("a==1 \\\\\\n    --hash=sha256:00\\n    # via b\\nuv==2 ; x\\n", "a")
    'a==1 \\\\\\n    --hash=sha256:00\\n'
    """
    found = re.search(rf"^{re.escape(name)}==.*\n(?:(?<=\\\n) +--hash=.*\n)*", lock, re.MULTILINE)
    return found[0] if found else None


def _sync(job: Installation, uv: Path, options: Mapping[str, str], trust: Mapping[str, str]) -> bool:
    command = [
        str(uv), "pip", "sync", "--require-hashes", "--no-progress", *_wheels(job),
        "--build-constraints", str(job.lock), "--python", str(job.python), *pip_config.uv_arguments(options),
        str(job.lock),
    ]  # fmt: skip
    return job.run("installing with uv", command, **pip_config.uv_environment(options, job.environ), **trust)


def _wheels(job: Installation) -> list[str]:
    """Options of pip and uv: wheels only, except for packages without one."""
    lock = job.lock.read_text(encoding="utf-8")
    sources = [
        option for name in BUILT_FROM_SOURCE if locked_requirement(lock, name) for option in ("--no-binary", name)
    ]
    return ["--only-binary=:all:", *sources]


def _last_log_line(log: Path) -> str:
    """The last error in the log, else its last line: most likely the cause."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    telling = errors or [line for line in lines if line and not line.startswith("== ")] or ["no output"]
    return telling[-1].removeprefix("ERROR: ")[:120]
