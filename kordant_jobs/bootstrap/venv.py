"""The virtual environment of one checkout: made on the first start, recognised at once on every other.

It is `.venv` of the checkout, or `venv` of the state folder where the checkout cannot be written. A stamp in it,
written last, has its inputs; without a matching stamp it is made again from scratch, so keep nothing else in it. It has
the packages needed to run; packages for voices and development are added by the first command that needs them. Files
that libraries ship for their own developers are deleted: 230 of 1,130 MB, and a third of the time to compile it.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

from kordant_jobs.bootstrap import lock, packages, pango
from kordant_jobs.bootstrap.steps import BootstrapError, fresh_log, run_step, say

STAMP = "kordant-setup.json"
LOCK = "kordant-setup.lock"


class PackageSet(StrEnum):
    """The sets of packages, by their lock files. Each contains the ones before it."""

    RUNNING = "requirements.lock"
    VOICE = "requirements-voice.lock"
    DEVELOPMENT = "requirements-dev.lock"


SETUP = 4
"""Increase it when a change of this module makes environments differ from older ones."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The inputs of an environment. When any field differs, it is made again."""

    setup: int
    checkout: str
    package_set: str
    locks_sha256: dict[str, str]
    """The hashes of the lock files of this set and of the sets that it contains."""
    python: str
    version: str
    platform: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that is ready: its folder, and the place of WeasyPrint's libraries."""

    folder: Path
    pango: pango.Libraries

    @property
    def python(self) -> Path:
        """Its interpreter. The path is not resolved, since Python finds its packages by it."""
        return self.folder / "bin" / "python"


def ready(folder: Path, checkout: Path, needs: PackageSet = PackageSet.RUNNING) -> Environment | None:
    """The environment in `folder` if it is complete and matches today's lock files, else None. Takes milliseconds. The
    Python that runs this does not matter, only the one that the environment was made from: it must still exist in the
    same version, so that an upgrade of the machine's Python is noticed."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        made = Made(**stamp["made"])
        libraries = pango.Libraries(**stamp["pango"])
        python = os.path.realpath(folder / "bin" / "python", strict=True)
        fits = [_wanted(checkout, python=python, version=made.version, packages=one) for one in _that_hold(needs)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Environment(folder=folder, pango=libraries) if made in fits else None


def ensure(
    checkout: Path, state: Path, environ: Mapping[str, str], needs: PackageSet = PackageSet.RUNNING
) -> Environment:
    """The environment of `checkout` with what `needs` names, made first when it is missing or outdated. Of two
    concurrent starts the second reports that it waits, and then finds the work done. Packages are added without
    changing those needed to run, so that `up` can keep running. Those of voices are installed again when the
    environment is made again.

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
        if found := ready(folder, checkout, needs):
            return _with_pango(found)
    folder = next(folder for folder in folders if _writable(folder) or folder == folders[-1])
    if folder.is_symlink():
        raise BootstrapError(f"{folder} is a link, and what it leads to would be emptied: remove it, try again")
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with lock.held(folder / LOCK, on_wait=lambda: say("another start sets up; waiting for it")) as held:
            if found := ready(folder, checkout, needs):
                return found
            if needs is PackageSet.RUNNING and _had_voice(folder):
                needs = PackageSet.VOICE
            setup = _Setup(
                folder=folder, checkout=checkout, state=state, environ=_own_environ(environ, state), lock=held
            )
            found = ready(folder, checkout) or setup.make()
            return found if needs is PackageSet.RUNNING else setup.add(needs, found)
    except OSError as error:
        raise BootstrapError(
            f"cannot make {folder} ({error.strerror or error}): check its permissions and the disk, try again"
        ) from None


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """One set-up, while it holds the lock."""

    folder: Path
    checkout: Path
    state: Path
    environ: Mapping[str, str]
    lock: int

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self) -> Environment:
        """Make the environment from scratch, with the packages needed to run."""
        started = time.monotonic()
        log = fresh_log(self.state / "logs", "setup.log")
        say(f"setting up {self.folder} (first start or new packages; half a minute or so)")
        _clear(self.folder)
        # --without-pip: the same everywhere (Debian leaves ensurepip out), and three seconds less.
        base: str = getattr(sys, "_base_executable", sys.executable)
        if not run_step(
            "making the environment", [base, "-m", "venv", "--without-pip", str(self.folder)],
            log=log, environ=self.environ, keep_open=(self.lock,),
        ):  # fmt: skip
            raise BootstrapError(
                f"{base} cannot make a virtual environment: install its venv module"
                f" (Debian, Ubuntu: apt-get install python3-venv) and run this again; details are in {log}"
            )
        job = self._install(PackageSet.RUNNING, log)
        _name_the_checkout(self.folder, self.checkout)
        self._compile(job, [str(self.python), "-m", "kordant_jobs.adapters.corpus.compiled"])
        libraries = pango.provide(self.python, self.state, self.environ, log)
        return self._stamped(libraries, started)

    def add(self, more: PackageSet, environment: Environment) -> Environment:
        """Add more packages to the environment."""
        started = time.monotonic()
        log = fresh_log(self.state / "logs", f"setup-{more.name.lower()}.log")
        what = "voices" if more is PackageSet.VOICE else "tests, benches and fuzzing"
        say(f"adding the packages of {what} (first use)")
        self._compile(self._install(more, log))
        _name_the_checkout(self.folder, self.checkout)
        return self._stamped(environment.pango, started, more)

    def _install(self, lock_name: str, log: Path) -> packages.Installation:
        job = packages.Installation(
            lock=self.checkout / lock_name,
            tools=self.checkout / PackageSet.DEVELOPMENT,
            python=self.python,
            log=log,
            environ=self.environ,
            keep_open=(self.lock,),
        )
        packages.install(job)
        trim(self.folder)
        return job

    def _compile(self, job: packages.Installation, *more: list[str]) -> None:
        """Compile the packages, and run the commands `more` concurrently. A failure only costs time later."""
        byte_compile = [str(self.python), "-m", "compileall", "-q", "-j", "0", str(self.folder / "lib")]
        commands = [("compiling packages", byte_compile), *(("compiling the search loops", one) for one in more)]
        with ThreadPoolExecutor(len(commands)) as threads:
            list(threads.map(lambda command: job.run(*command), commands))

    def _stamped(
        self, libraries: pango.Libraries, started: float, holds: PackageSet = PackageSet.RUNNING
    ) -> Environment:
        made = _wanted(
            self.checkout,
            python=os.path.realpath(self.python),
            version=sys.version.split()[0],
            packages=holds,
        )
        environment = Environment(folder=self.folder, pango=libraries)
        _write_stamp(environment, made)
        say(f"ready after {time.monotonic() - started:.0f} s, {_size_mb(self.folder):.0f} MB in {self.folder}")
        return environment


def _own_environ(environ: Mapping[str, str], state: Path) -> Mapping[str, str]:
    """The environment of the set-up's steps: without another Python's variables, and with uv's cache in the state
    folder if there is no home."""
    own = {name: value for name, value in environ.items() if name not in {"PYTHONHOME", "VIRTUAL_ENV"}}
    if "UV_CACHE_DIR" not in own and not _home_is_ours(own):
        own["UV_CACHE_DIR"] = str(state / "cache" / "uv")
    return own


def _that_hold(packages: PackageSet) -> list[PackageSet]:
    """The sets that contain this one, itself included, the largest first.

    >>> [one.name for one in _that_hold(PackageSet.VOICE)]
    ['DEVELOPMENT', 'VOICE']
    """
    return list(reversed(list(PackageSet)[list(PackageSet).index(packages) :]))


def _had_voice(folder: Path) -> bool:
    """True when the environment to be made again had the packages of voices, alone or in a larger set."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return PackageSet(stamp["made"]["package_set"]) in _that_hold(PackageSet.VOICE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _wanted(checkout: Path, *, python: str, version: str, packages: PackageSet) -> Made:
    return Made(
        setup=SETUP,
        checkout=os.fsdecode(checkout).encode("unicode_escape", "replace").decode("ascii"),
        package_set=packages.value,
        locks_sha256={one.value: _sha256(checkout / one) for one in PackageSet if packages in _that_hold(one)},
        python=python.encode("unicode_escape", "replace").decode("ascii"),
        version=version,
        platform=sysconfig.get_platform(),
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_stamp(environment: Environment, made: Made) -> None:
    fresh = environment.folder / f"{STAMP}.new"
    content: dict[str, Any] = {"made": asdict(made), "pango": asdict(environment.pango)}
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fresh.replace(environment.folder / STAMP)


def _with_pango(environment: Environment) -> Environment:
    """`environment`, without the note 'no Pango' when it has been installed since."""
    if environment.pango.found or pango.missing_libraries():
        return environment
    better = replace(environment, pango=pango.Libraries(found=True))
    with suppress(OSError):  # another user's environment: checked again on the next start
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
    """Empty `folder`, the stamp first, except for the lock that we hold."""
    (folder / STAMP).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _name_the_checkout(folder: Path, checkout: Path) -> None:
    """Make the checkout importable from any folder, and install its commands: ours, and Dagster's own with the
    project's storage and code (`cli.passthrough`).

    The .pth line is code with an escaped string and not a path, since Python 3.11 reads .pth files in the locale's
    encoding. The command goes through `__main__` again, which knows the place of Pango.
    """
    for packages_folder in folder.glob("lib/python3*/site-packages"):
        line = f"import sys; sys.path.append({str(checkout)!a})\n"
        (packages_folder / "kordant_jobs.pth").write_text(line, encoding="ascii")
    python = shlex.quote(str(folder / "bin" / "python"))
    for name, what in (("kordant-jobs", "kordant_jobs"), ("dagster", "kordant_jobs dagster")):
        command = folder / "bin" / name
        command.unlink(missing_ok=True)  # Dagster's script may be a link into a cache
        command.write_bytes(os.fsencode(f'#!/bin/sh\nexec {python} -P -m {what} "$@"\n'))
        command.chmod(0o755)


TESTED_WITHIN = ("Cryptodome", "numba", "numpy", "pandas")
"""Packages whose tests, 75 MB, are deleted. In other packages such a folder may be imported by others."""
TESTS = frozenset({"tests", "SelfTest"})
LEFT_OUT = (".js.map", ".css.map", ".a", ".c", ".h")
"""Endings of source maps of web pages, static libraries, and C sources."""
SECOND_COPIES = ("zstandard/_cffi.*.so",)
"""Duplicates in packages that are imported on PyPy only."""
LANGUAGES = ("root.", "en", "pt")
"""Beginnings of the names of Babel's files, one a language: those of the languages that the product speaks, and of
what they build on."""
WITH_SYMBOLS = (
    "llvmlite/binding/libllvmlite.so",
    "_polars_runtime_32/_polars_runtime.*.so",
    "uvloop/loop.*.so",
    "zstandard/backend_c.*.so",
    "fontTools/misc/bezierTools.*.so",
    "_brotli.*.so",
)
"""Libraries that come with their symbols: 90 of 410 MB, deleted where the machine has `strip`."""


def trim(environment: Path) -> None:
    """Delete tests, source maps, static libraries, C sources, duplicates, other languages and symbols of packages from
    a virtual environment. Safe to repeat."""
    for site in environment.glob("lib/python3*/site-packages"):
        for package in TESTED_WITHIN:
            for folder, folders, _ in os.walk(site / package):
                for name in TESTS & set(folders):
                    shutil.rmtree(Path(folder) / name)
                    folders.remove(name)
        for folder, _, files in os.walk(site):
            for name in files:
                if name.endswith(LEFT_OUT):
                    (Path(folder) / name).unlink()
        languages = (one for one in site.glob("babel/locale-data/*.dat") if not one.name.startswith(LANGUAGES))
        for path in chain(_matching(site, SECOND_COPIES), languages):
            path.unlink()
        for path in _matching(site, WITH_SYMBOLS):
            _strip(path)


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _strip(library: Path) -> None:
    """Write the library without its symbols: its file may be a link into uv's cache."""
    strip, stripped = shutil.which("strip"), library.with_suffix(".stripped")
    if strip is None:
        return
    made = subprocess.run([strip, "--strip-unneeded", "-o", stripped, library], capture_output=True, check=False)
    if made.returncode == 0:
        stripped.replace(library)
    else:
        stripped.unlink(missing_ok=True)
