"""Finished reports in a local folder, each under the hash of its content."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from uuid import uuid4

from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.ports import ReportStorage
from kordant_jobs.settings import Settings

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.pdf")


class LocalReportStorage:
    """Keeps reports as `<aa>/<sha256>.pdf` below one folder (mode 0700). A file there is whole: it is written beside
    its place, brought to the disk, and then renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """See `ReportStorage.put`."""
        digest = hashlib.sha256(content).hexdigest()
        key = f"{digest[:2]}/{digest}.pdf"
        path = self._folder / key
        half = path.with_name(f".{digest}.{uuid4().hex}.part")
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
                "folder that KORDANT_REPORTS_DIR names, then run the job again: reports that were written are kept."
            ) from None
        return key

    def get(self, key: str) -> bytes:
        """See `ReportStorage.get`."""
        if not _KEY.fullmatch(key):
            raise PermanentError("that is no key of a report. Take storage_key of the table reports.")
        try:
            content = (self._folder / key).read_bytes()
        except OSError as error:
            raise PermanentError(
                f"the report {key} cannot be read ({os.strerror(error.errno or 0)}). Run reports_generate again with "
                "`force` for its period."
            ) from None
        if hashlib.sha256(content).hexdigest() != key[3:-4]:
            raise PermanentError(f"the report {key} was changed on disk. Delete it and make it again with `force`.")
        return content

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


def open_report_storage(settings: Settings) -> ReportStorage:
    """The folder of the settings. Nothing is made yet."""
    return LocalReportStorage(settings.reports)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # what could not be made can't be there
