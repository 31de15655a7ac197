"""The user that the server runs as: the current user; for root `kordant-postgres` where it exists, else `nobody`.

Postgres refuses uid 0. Other programs of `nobody` can read the files of `nobody`; a user of its own keeps them out.
"""

import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kordant_jobs.errors import SetupError

OWN_USER = "kordant-postgres"
"""The user that root may create for the server: `useradd --system kordant-postgres`."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The user of the server process; `client` is the system user that may connect to it."""

    uid: int
    gid: int
    client: str

    @property
    def is_other(self) -> bool:
        """True when the server runs as another user than this process."""
        return self.uid != os.geteuid()

    def reaches(self, path: Path) -> bool:
        """True when this user may read `path` and enter every folder above it; for another user, judged by mode
        bits."""
        if not self.is_other:
            return os.access(path, os.R_OK)
        real = path.resolve()
        return all(self._allowed(place.stat(), execute_only=place != real) for place in (real, *real.parents))

    def _allowed(self, found: os.stat_result, *, execute_only: bool) -> bool:
        needs = 0o1 if execute_only else 0o5
        if found.st_uid == self.uid:
            needs <<= 6
        elif found.st_gid == self.gid:
            needs <<= 3
        if not execute_only and not stat.S_ISDIR(found.st_mode):
            needs &= 0o444  # a file is read; whether it can be run is initdb's to say
        return found.st_mode & needs == needs

    def run(self, command: Sequence[str | Path], *, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of Postgres as this user, with a clean environment; `stdout` has both outputs."""
        other = self.is_other
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=() if other else None,
            umask=0o077,
        )


def server_environment() -> dict[str, str]:
    """The environment of the server and its tools: no PG* variables, no language, no secret."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def server_account(data: Path | None = None) -> Account:
    """The user for the server. Existing `data` keeps its owner.

    Raises:
        SetupError: root on a machine without the user `nobody`, or a uid that has no name (initdb wants one).
    """
    uid = os.geteuid()
    try:
        own = pwd.getpwuid(uid)
    except KeyError:
        raise SetupError(
            f"user id {uid} has no name, which Postgres' initdb wants: add it to /etc/passwd, "
            "or set KORDANT_DATABASE_URL to a Postgres of yours."
        ) from None
    if uid != 0:
        return Account(uid=uid, gid=own.pw_gid, client=own.pw_name)
    found = _owner(data) if data is not None and data.is_dir() else None
    found = found or _named(OWN_USER) or _named("nobody")
    if found is None:
        raise SetupError(
            f"Postgres refuses to run as root and there is no user `nobody`: run `useradd --system {OWN_USER}`, "
            "run as an ordinary user, or set KORDANT_DATABASE_URL to a Postgres of yours."
        )
    return Account(uid=found.pw_uid, gid=found.pw_gid, client=own.pw_name)


def _named(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _owner(data: Path) -> pwd.struct_passwd | None:
    uid = data.stat().st_uid
    try:
        return pwd.getpwuid(uid) if uid else None
    except KeyError:
        return None
