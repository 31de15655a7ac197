"""What every store of reports does: the local folder, fsspec's memory, and an S3 server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from kordant_jobs.adapters.report_storage import LocalReportStorage, ObjectReportStorage, open_report_storage
from kordant_jobs.errors import PermanentError, SettingsError, TransientError
from kordant_jobs.ports import ReportStorage
from kordant_jobs.settings import Settings

ABSENT = f"aa/{'aa' * 32}.pdf"
Break = Callable[[str], None]
"""Writes other bytes over what is kept under a key."""


@pytest.fixture(params=["local", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ReportStorage, Break]:
    if request.param == "local":
        return LocalReportStorage(tmp_path / "reports"), lambda key: _overwrite(tmp_path / "reports" / key)
    if request.param == "file":  # the folder of a new volume is not there yet
        made = open_report_storage(Settings(reports_url=f"file://{tmp_path}/volume/reports"))
        return made, lambda key: _overwrite(tmp_path / "volume" / "reports" / key)
    url = f"{request.getfixturevalue('s3_bucket')}/pdf" if request.param == "s3" else f"memory://{uuid4().hex}"
    return ObjectReportStorage(url), lambda key: fsspec.url_to_fs(url)[0].pipe_file(f"{url}/{key}", b"%PDF other")


def _overwrite(path: Path) -> None:
    path.write_bytes(b"%PDF other")


def test_what_was_put_is_got_back_whole_and_by_its_hash(store: tuple[ReportStorage, Break]) -> None:
    storage, _ = store
    content = b"%PDF" + bytes(range(256)) * 4096
    key = storage.put(content)
    assert storage.put(content) == key
    assert key != storage.put(b"%PDF one")
    assert storage.get(key) == content


def test_what_was_deleted_is_gone_and_deleting_twice_is_fine(store: tuple[ReportStorage, Break]) -> None:
    storage, _ = store
    key = storage.put(b"%PDF one")
    storage.delete(key)
    storage.delete(key)
    with pytest.raises(PermanentError, match="with `force`"):
        storage.get(key)


def test_what_was_never_there_says_how_to_make_it(store: tuple[ReportStorage, Break]) -> None:
    with pytest.raises(PermanentError, match="with `force`"):
        store[0].get(ABSENT)
    store[0].delete(ABSENT)


def test_what_was_changed_in_the_store_is_not_given_out(store: tuple[ReportStorage, Break]) -> None:
    storage, overwrite = store
    key = storage.put(b"%PDF one")
    overwrite(key)
    with pytest.raises(PermanentError, match="was changed"):
        storage.get(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "aa/x.pdf", "", "/etc/passwd"])
def test_a_key_leads_nowhere_else(store: tuple[ReportStorage, Break], key: str) -> None:
    with pytest.raises(PermanentError, match="no key"):
        store[0].get(key)
    with pytest.raises(PermanentError, match="no key"):
        store[0].delete(key)


def test_a_bucket_that_is_not_there_is_one_line_that_names_the_setting(s3_bucket: str) -> None:
    storage = ObjectReportStorage(f"{s3_bucket}-absent")
    with pytest.raises(TransientError, match="KORDANT_REPORTS_URL") as told:
        storage.put(b"%PDF one")
    assert "absent" not in str(told.value)


def test_a_store_that_is_unknown_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="KORDANT_REPORTS_URL"):
        ObjectReportStorage("nowhere://reports")


def test_the_setting_chooses_the_store(tmp_path: Path) -> None:
    assert isinstance(open_report_storage(Settings(reports_dir=tmp_path)), LocalReportStorage)
    assert isinstance(open_report_storage(Settings(reports_url="memory://reports")), ObjectReportStorage)
