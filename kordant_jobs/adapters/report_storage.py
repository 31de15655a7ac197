"""Stores finished reports, each under the hash of its content: in a local folder, or in any store that fsspec
supports."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from kordant_jobs.adapters.object_store import changed_at, open_store, unreachable
from kordant_jobs.domain.reports.retention import storage_key
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.ports import ReportStorage
from kordant_jobs.settings import Settings, folder_of

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.pdf")


def _checked(key: str) -> str:
    """The key, after checking that it is one: `<aa>/<sha256>.pdf`, which cannot lead out of the folder."""
    if not _KEY.fullmatch(key):
        raise PermanentError("that is no key of a report. Take storage_key of the table reports.")
    return key


def _unchanged(key: str, content: bytes) -> bytes:
    if storage_key(content) != key:
        raise PermanentError(f"the report {key} was changed in its store. Delete it and make it again with `force`.")
    return content


def _missing(key: str, why: str) -> PermanentError:
    return PermanentError(
        f"the report {key} cannot be read ({why}). Run reports_generate again with `force` for its period."
    )


class LocalReportStorage:
    """Stores reports as `<aa>/<sha256>.pdf` below one folder (mode 0700). A file there is always complete: it is
    written under another name, flushed to the disk, and then renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """See `ReportStorage.put`."""
        key = storage_key(content)
        path = self._folder / key
        half = path.with_name(f".{path.stem}.{uuid4().hex}.part")
        try:
            if path.is_file() and path.stat().st_size == len(content):
                return key
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._write(half, content)
            half.rename(path)
            self._sync(path.parent)
        except OSError as error:
            _remove(half)
            raise TransientError(
                f"a report cannot be written ({os.strerror(error.errno or 0)}). Free space or fix the rights of the "
                "folder that KORDANT_REPORTS_DIR or KORDANT_REPORTS_URL names, then run the job again: reports that "
                "were written are kept."
            ) from None
        return key

    def get(self, key: str) -> bytes:
        """See `ReportStorage.get`."""
        try:
            content = (self._folder / _checked(key)).read_bytes()
        except OSError as error:
            raise _missing(key, os.strerror(error.errno or 0)) from None
        return _unchanged(key, content)

    def delete(self, key: str) -> None:
        """See `ReportStorage.delete`."""
        try:
            (self._folder / _checked(key)).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise TransientError(
                f"the report {key} cannot be deleted ({os.strerror(error.errno or 0)}). Fix the rights of the folder "
                "that KORDANT_REPORTS_DIR or KORDANT_REPORTS_URL names; the next run of reports_generate deletes it."
            ) from None

    def old_keys(self, before: datetime) -> Iterator[str]:
        """See `ReportStorage.old_keys`."""
        for path in sorted(self._folder.glob("??/*.pdf")):
            key = path.relative_to(self._folder).as_posix()
            with suppress(FileNotFoundError):
                if _KEY.fullmatch(key) and path.stat().st_mtime < before.timestamp():
                    yield key

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _sync(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ObjectReportStorage:
    """Stores reports as `<aa>/<sha256>.pdf` below the URL of an object store, where a write stores a whole object or
    nothing. Of exceptions of the store's library only the type is reported, since their text may name accounts."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError when the store is unknown or its library is missing."""
        self._files, self._root = open_store(url, "KORDANT_REPORTS_URL")

    def put(self, content: bytes) -> str:
        """See `ReportStorage.put`. An existing object is written again: that is one request; a check would make it
        two."""
        key = storage_key(content)
        try:
            self._files.pipe_file(f"{self._root}/{key}", content)
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            raise _unreachable("a report cannot be written", error) from None
        return key

    def get(self, key: str) -> bytes:
        """See `ReportStorage.get`."""
        try:
            content: Any = self._files.cat_file(f"{self._root}/{_checked(key)}")
        except FileNotFoundError:
            raise _missing(key, "it is not there") from None
        except PermanentError:
            raise
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            raise _unreachable(f"the report {key} cannot be read", error) from None
        return _unchanged(key, bytes(content))

    def delete(self, key: str) -> None:
        """See `ReportStorage.delete`."""
        try:
            self._files.rm_file(f"{self._root}/{_checked(key)}")
        except FileNotFoundError:
            return
        except PermanentError:
            raise
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            raise _unreachable(f"the report {key} cannot be deleted", error) from None

    def old_keys(self, before: datetime) -> Iterator[str]:
        """See `ReportStorage.old_keys`. An object without a time counts as new."""
        try:
            found = self._files.find(self._root, detail=True)
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            raise _unreachable("reports cannot be listed", error) from None
        for path, facts in sorted(found.items()):
            key = path.removeprefix(f"{self._root}/")
            put_at = changed_at(facts)
            if _KEY.fullmatch(key) and put_at is not None and put_at < before:
                yield key


def _unreachable(what: str, error: Exception) -> TransientError:
    then = ", then run the job again: reports that were written are kept."
    return unreachable(what, "KORDANT_REPORTS_URL", error, then=then)


def open_report_storage(settings: Settings) -> ReportStorage:
    """The store of the settings: KORDANT_REPORTS_URL, else the local folder. Nothing is created yet. A file:// URL is a
    folder too, made when it is missing and written whole files to; fsspec does neither.

    Raises:
        SettingsError: the URL names a store that is unknown or whose library is missing.
    """
    folder = folder_of(settings.reports_url)
    if settings.reports_url and folder is None:
        return ObjectReportStorage(settings.reports_url)
    return LocalReportStorage(folder or settings.reports)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # what could not be made can't be there
