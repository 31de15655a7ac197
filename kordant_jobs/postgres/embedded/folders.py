"""The folders of a server: `postgres/` in the state folder, or a shelter when its user cannot reach that.

For root the server runs as another user, who cannot enter a state folder of mode 0700 or below /root. Its files are
then in /var/lib/kordant-jobs, and the file `postgres.at` in the state folder names the place. The place belongs to the
state folder: `delete` of the server removes both, a moved state folder keeps it, a copied one gets another. A state
folder deleted by hand leaves its place behind, since it may be on a disk that is not mounted. One below /tmp has its
place there too, which is deleted when another is made after its state folder has gone.
"""

import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kordant_jobs.errors import DatabaseUnavailable, SetupError
from kordant_jobs.postgres.embedded.account import Account
from kordant_jobs.postgres.embedded.locks import exclusive, try_exclusive
from kordant_jobs.postgres.embedded.process import stop_postmaster

# sun_path holds 108 bytes on Linux and 104 on macOS, with the NUL; '/.s.PGSQL.5432' takes 14 of them.
SOCKET_DIR_BYTES = 104 - 1 - 14
# libpq and Postgres split lists at commas, and either may trip over quotes and blanks.
_PLAIN = re.compile(r"[\w/.+@=-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders of one server. `base` is ours; `data` and `socket` belong to the server's user, mode 0700."""

    base: Path
    socket: Path

    @property
    def data(self) -> Path:
        """The data directory; missing until initdb has succeeded."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """The log of the server's starts, stops and refusals; truncated at every start."""
        return self.base / "server.log"

    @property
    def lock(self) -> Path:
        """The lock held exclusively while a process starts, attaches or stops."""
        return self.base / "lock"

    @property
    def clients(self) -> Path:
        """The lock shared by all clients."""
        return self.base / "clients"

    @property
    def guard(self) -> Path:
        """The lock that the guard holds while it is alive."""
        return self.base / "guard"


def outside_base_file(state: Path) -> Path:
    """The file in a state folder that names the folder outside it that has the server's data."""
    return state / "postgres.at"


def find_folders(state: Path) -> Folders | None:
    """The folders of a state folder's server, or None when there never was one."""
    base = _sheltered(state) or state / "postgres"
    return Folders(base=base, socket=socket_dir(base)) if base.is_dir() else None


def make_folders(state: Path, account: Account) -> Folders:
    """Find or create the folders of a state folder's server. Safe to call concurrently.

    Raises:
        SetupError: they belong to another user, or can't be made.
    """
    found = find_folders(state)
    if found is None:
        try:
            with exclusive(state / "postgres.lock"):
                found = find_folders(state) or _new_folders(state, account)
        except OSError as error:
            raise SetupError(
                f"no folder for Postgres can be made for {state}: {error.strerror}. "
                "Set KORDANT_STATE_DIR to a folder of yours, on a disk with room."
            ) from None
    owner = found.base.stat().st_uid
    if owner != os.geteuid():
        raise SetupError(
            f"{found.base} belongs to user id {owner}: run as that user, or set KORDANT_STATE_DIR to another folder."
        )
    if account.is_other and not account.reaches(found.base.parent):
        user = pwd.getpwuid(account.uid).pw_name
        raise SetupError(f"the user `{user}` can't enter {found.base.parent}: chmod o+rx it and all above it.")
    return found


def give(path: Path, account: Account) -> None:
    """Create a folder, if it is missing, that only the server's user may enter."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), account.uid}:
        raise SetupError(f"{path} is not a folder of ours: remove it and start again.")
    if found.st_uid != account.uid:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)


TEMPORARY = Path("/tmp")  # noqa: S108 - owners are checked; gettempdir() may differ between processes


def shelter(*, lasting: bool = True) -> Path:
    """A folder of ours with a short plain path, outside any checkout. When it is root's, others may enter it.

    Raises:
        SetupError: another user made it first.
    """
    uid = os.geteuid()
    temporary = TEMPORARY / f"kordant-jobs-{uid}"
    for place in (Path("/var/lib/kordant-jobs"), temporary) if uid == 0 and lasting else (temporary,):
        try:
            place.mkdir(mode=0o755 if uid == 0 else 0o700, exist_ok=True)
            found = place.lstat()
        except OSError:
            continue
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
            raise SetupError(f"{place} is not a folder that only we can write to: remove it and start again.")
        if os.access(place, os.W_OK):
            place.chmod(0o755 if uid == 0 else 0o700)  # whatever the umask was
            return place
    raise SetupError(f"{temporary} can't be made: /tmp must be a folder that everybody can write to.")


def socket_dir(base: Path) -> Path:
    """The folder of the socket: in the base, or in the shelter when that path is too long or has unusual characters."""
    inside = base / "run"
    if len(os.fsencode(inside)) <= SOCKET_DIR_BYTES and _PLAIN.fullmatch(str(inside)):
        return inside
    return shelter() / f"run-{_name_of(base)}"


def is_plain(path: Path) -> bool:
    """True when a path has no character that a shell, libpq or a list in Postgres' settings could misread."""
    return _PLAIN.fullmatch(str(path)) is not None


def _new_folders(state: Path, account: Account) -> Folders:
    if account.reaches(state) or not account.is_other:
        base = state / "postgres"
        base.mkdir(mode=0o711 if account.is_other else 0o700, exist_ok=True)
        base.chmod(0o711 if account.is_other else 0o700)
        return Folders(base=base, socket=socket_dir(base))
    passing = state.is_relative_to(TEMPORARY)
    if passing:
        _remove_orphans(shelter(lasting=False))
    base = shelter(lasting=not passing) / f"{_name_of(state)}-{secrets.token_hex(4)}"
    base.mkdir(mode=0o711)
    base.chmod(0o711)
    (base / "state").write_text(str(state))
    draft = state / f"{outside_base_file(state).name}.new"
    draft.write_text(str(base))
    draft.replace(outside_base_file(state))
    return Folders(base=base, socket=socket_dir(base))


def _remove_orphans(place: Path) -> None:
    for note in place.glob("*/state"):
        base = note.parent
        with (
            suppress(OSError, DatabaseUnavailable),
            exclusive(base / "lock", timeout_s=0),
            try_exclusive(base / "clients") as alone,
        ):
            if alone and not Path(note.read_text()).exists():
                stop_postmaster(base / "data")
                shutil.rmtree(base)


def _sheltered(state: Path) -> Path | None:
    """The base folder that `outside_base_file` names, if it belongs to this state folder: a copied folder does not
    share it."""
    try:
        base = Path(outside_base_file(state).read_text())
        owner = Path((base / "state").read_text())
    except OSError:
        return None
    if owner == state:
        return base
    if outside_base_file(owner).exists():
        return None  # a copy of a state folder that is still there
    (base / "state").write_text(str(state))
    return base


def _name_of(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
