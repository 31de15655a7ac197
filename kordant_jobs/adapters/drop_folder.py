"""Drop places: where operators and programs put breach dumps and clips, in a local folder or in an object store.

A place lists, fetches and removes files; nothing here reads a dump. A file's name may be personal: it never goes into a
log, a tag, an error or the database.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from kordant_jobs.adapters.object_store import changed_at, open_store, unreachable
from kordant_jobs.errors import TransientError
from kordant_jobs.settings import Settings, folder_of

SETTLED_AFTER = timedelta(seconds=2)
"""A file that changed within this time may still be being written."""
SETTLED_UNSEEN = timedelta(seconds=30)
"""The time without a change after which a file is complete, on systems that cannot tell whether it is open."""

UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".partial")
"""Endings that upload programs give to an unfinished file (rsync and others use a leading dot)."""
MARK = ".kordant-place"
"""A file in the drop folder with the folder's id. It shows when another machine has a different folder at that path, or
none."""


@dataclass(frozen=True, kw_only=True)
class DroppedFile:
    """A file in a drop place, with its size and time at the check."""

    place: DropPlace = field(compare=False, repr=False)
    name: str = field(repr=False)
    size: int
    mtime_ns: int

    @property
    def where(self) -> str:
        """Its path or address, for the terminal of an operator."""
        return f"{self.place}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Whatever lies in a drop place, also what no run accepts. `changed_at` is in seconds since the epoch."""

    name: str
    changed_at: float
    is_plain: bool = True


def has_finished_name(name: str) -> bool:
    """True for the name of a file that is complete, as far as names tell.

    >>> [has_finished_name(name) for name in ("a.csv", ".a.csv", "a.csv.PART")]
    [True, False, False]
    """
    return not name.startswith(".") and not name.lower().endswith(UNFINISHED)


@dataclass(frozen=True)
class DropFolder:
    """A drop place in a folder, of this machine or of a volume that several machines mount. Links and special files are
    refused. It is created at the first use."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def id(self) -> str:
        """The id of the folder, written to it at the first call; the same from every machine that mounts it.

        Raises:
            OSError: it cannot be read or written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = self.folder / MARK
        if not mark.exists():
            fresh = self.folder / f"{MARK}.{uuid4().hex}"
            fresh.write_text(uuid4().hex, encoding="ascii")
            with suppress(FileExistsError):
                mark.hardlink_to(fresh)  # whole, and by one process only
            fresh.unlink()
        return mark.read_text(encoding="ascii")

    def files(self, *, settled_at: datetime | None = None) -> list[DroppedFile]:
        """The regular files, by name; with `settled_at` only those that had stopped changing by then."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = []
        for path in sorted(self.folder.iterdir()):
            if not has_finished_name(path.name) or path.is_symlink() or not path.is_file():
                continue
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if settled_at and settled_at.timestamp() - facts.st_mtime < SETTLED_AFTER.total_seconds():
                continue
            files.append(DroppedFile(place=self, name=path.name, size=facts.st_size, mtime_ns=facts.st_mtime_ns))
        return files

    def entries(self) -> Iterator[Entry]:
        """Everything in the folder but our own mark."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # a run took it in meanwhile
                facts = path.lstat()
                if not path.name.startswith(MARK):
                    yield Entry(name=path.name, changed_at=facts.st_mtime, is_plain=stat.S_ISREG(facts.st_mode))

    def is_complete(self, file: DroppedFile, now: datetime) -> bool:
        """True when no process has the file open; if the system cannot tell, when it was unchanged for
        `SETTLED_UNSEEN`."""
        written = is_being_written(self.folder / file.name)
        return (
            now.timestamp() - file.mtime_ns / 1e9 >= SETTLED_UNSEEN.total_seconds() if written is None else not written
        )

    def has_changed(self, file: DroppedFile) -> bool:
        """True when a file was changed, replaced or removed since it was listed, or is being written: what was read of
        it may not be whole."""
        path = self.folder / file.name
        try:
            facts = path.stat()
        except OSError:
            return True
        return (facts.st_size, facts.st_mtime_ns) != (file.size, file.mtime_ns) or bool(is_being_written(path))

    @contextmanager
    def fetch(self, file: DroppedFile) -> Iterator[Path]:
        """The file itself; no copy is made."""
        yield self.folder / file.name

    def remove(self, file: DroppedFile) -> None:
        """Remove a file, if it is there."""
        (self.folder / file.name).unlink(missing_ok=True)

    def put(self, content: Path, name: str) -> DroppedFile:
        """Copy a file into the folder under a name that begins with a dot, so that no run sees it yet."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = Path(shutil.copyfile(content, self.folder / name)).stat()
        return DroppedFile(place=self, name=name, size=facts.st_size, mtime_ns=facts.st_mtime_ns)

    def rename(self, file: DroppedFile, name: str) -> DroppedFile:
        """Give a file that was put its final name."""
        (self.folder / file.name).rename(self.folder / name)
        return DroppedFile(place=self, name=name, size=file.size, mtime_ns=file.mtime_ns)


class DropStore:
    """A drop place below the URL of an object store: the objects right below it, not those in folders of it. An upload
    is seen whole or not at all. Whatever the store cannot do just now is a TransientError; only an object that a
    complete listing lacks is gone.

    `work` is a folder of this machine for the content of one file at a time.
    """

    def __init__(self, url: str, *, setting: str, work: Path) -> None:
        """Raises SettingsError when the store is unknown or its library is missing."""
        # s3fs tries five times by itself; a sensor's tick has a minute, and waits for no longer than half of it
        bounds = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 0}}}
        self._files, self._root = open_store(url, setting, **(bounds if url.startswith("s3") else {}))
        self._url, self._setting, self._work = url.rstrip("/"), setting, work

    def __str__(self) -> str:
        return self._url

    def id(self) -> str:
        """The id of the place: the same from every machine with this URL."""
        return hashlib.sha256(self._url.encode()).hexdigest()[:32]

    def files(self, *, settled_at: datetime | None = None) -> list[DroppedFile]:
        """The objects, by name.

        Raises:
            TransientError: the store does not answer, refuses us, or has no such bucket.
        """
        return [file for file in self._listed().values() if has_finished_name(file.name)]

    def entries(self) -> Iterator[Entry]:
        """Every object. Raises as `files` does."""
        for file in self._listed().values():
            yield Entry(name=file.name, changed_at=file.mtime_ns / 1e9)

    def is_complete(self, file: DroppedFile, now: datetime) -> bool:
        """Always: an upload is seen only once it is whole."""
        return True

    def has_changed(self, file: DroppedFile) -> bool:
        """Never: what `fetch` gave was whole, and `remove` compares."""
        return False

    @contextmanager
    def fetch(self, file: DroppedFile) -> Iterator[Path]:
        """A copy of an object on this machine, mode 0600, gone at the end however this process ends: its file has no
        name.

        Raises:
            TransientError: it cannot be read just now, or was replaced or removed since it was listed.
        """
        with ExitStack() as after:
            with self._reporting("a dropped file cannot be fetched"):
                self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
                content = after.enter_context(tempfile.TemporaryFile(dir=self._work))
                # one block at a time: get_file of s3fs holds ten of 50 MB in memory
                with self._files.open(self._key(file.name), "rb", cache_type="none") as source:
                    shutil.copyfileobj(source, content, BLOCK_BYTES)
                content.flush()
            if content.tell() != file.size or self._listed().get(file.name) != file:
                raise TransientError("a dropped file was replaced while it was fetched. The run is tried again.")
            content.seek(0)
            yield Path(f"/dev/fd/{content.fileno()}")

    def remove(self, file: DroppedFile) -> None:
        """Remove an object, unless it was replaced since it was listed.

        Raises:
            TransientError: it cannot be removed just now.
        """
        if self._listed().get(file.name) == file:
            with self._reporting("a dropped file cannot be removed"):
                self._files.rm_file(self._key(file.name))

    def put(self, content: Path, name: str) -> DroppedFile:
        """Upload a file under a name that begins with a dot, so that no run sees it yet.

        Raises:
            TransientError: it cannot be uploaded just now.
        """
        with self._reporting("the file cannot be uploaded"):
            self._files.put_file(str(content), self._key(name))
        return self._listed()[name]

    def rename(self, file: DroppedFile, name: str) -> DroppedFile:
        """Give an object that was put its final name; its time changes.

        Raises:
            TransientError: that cannot be done just now.
        """
        with self._reporting("the file cannot be renamed"):
            self._files.cp_file(self._key(file.name), self._key(name))
            self._files.rm_file(self._key(file.name))
        return self._listed()[name]

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _listed(self) -> dict[str, DroppedFile]:
        with self._reporting("dropped files cannot be listed"):
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)  # in s3fs a missing bucket is an error, no empty list
        names = {path.removeprefix(f"{self._root}/"): facts for path, facts in sorted(found.items())}
        return {
            name: DroppedFile(place=self, name=name, size=facts["size"], mtime_ns=_mtime_ns(facts))
            for name, facts in names.items()
            if name and "/" not in name
        }

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            then = f", and that {self._work} has room. The run is tried again."
            raise unreachable(what, self._setting, error, then=then) from None


BLOCK_BYTES = 8 << 20


def _mtime_ns(facts: dict[str, Any]) -> int:
    """The second of an object's last change (a store's replies differ below it), and in place of its nanoseconds a part
    of its ETag: two objects that follow each other within a second differ."""
    moment, tag = changed_at(facts), hashlib.sha256(str(facts.get("ETag")).encode()).digest()
    return int(moment.timestamp() if moment else 0) * 10**9 + int.from_bytes(tag[:4]) % 10**9


DropPlace = DropFolder | DropStore


def open_dump_place(settings: Settings) -> DropPlace:
    """The drop place of breach dumps: KORDANT_DROP_URL, else the local folder. A file:// URL is a folder, too.

    Raises:
        SettingsError: the URL names a store that is unknown or whose library is missing.
    """
    return _open_place(settings.drop_url, settings.drop, "KORDANT_DROP_URL", settings)


def open_clip_place(settings: Settings) -> DropPlace:
    """The drop place of clips: KORDANT_VOICE_DROP_URL, else the local folder. See `open_dump_place`."""
    return _open_place(settings.voice_drop_url, settings.voice_drop, "KORDANT_VOICE_DROP_URL", settings)


def _open_place(url: str | None, folder: Path, setting: str, settings: Settings) -> DropPlace:
    local = folder_of(url)
    if url is not None and local is None:
        return DropStore(url, setting=setting, work=settings.state_dir / "fetched")
    return DropFolder(local or folder)


def dropped_files(folder: Path) -> list[DroppedFile]:
    """The regular files in a folder, by name."""
    return DropFolder(folder).files()


def is_being_written(path: Path) -> bool | None:
    """True when a process on this machine has the file open for writing; None: the system cannot tell (a network mount,
    another user's file, not Linux)."""
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # refused while a process writes; ends with the file
            return False
    except (AttributeError, OSError) as error:
        return True if isinstance(error, BlockingIOError) else None
