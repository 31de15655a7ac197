"""Reports on disk: whole or not at all, each once."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.errors import PermanentError, TransientError


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_put_is_got_back_and_kept_once(tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path / "reports")
    key = storage.put(b"%PDF one")
    assert storage.put(b"%PDF one") == key
    assert storage.get(key) == b"%PDF one"
    (file,) = files_in(tmp_path / "reports")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "reports").stat().st_mode) == 0o700


def test_a_file_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path)
    key = storage.put(b"%PDF one")
    (tmp_path / key).write_bytes(b"%P")
    assert storage.put(b"%PDF one") == key
    assert storage.get(key) == b"%PDF one"


def test_a_changed_file_is_not_given_out(tmp_path: Path) -> None:
    storage = LocalReportStorage(tmp_path)
    key = storage.put(b"%PDF one")
    (tmp_path / key).write_bytes(b"%PDF two")
    with pytest.raises(PermanentError, match="was changed"):
        storage.get(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "aa/x.pdf", "", "/etc/passwd"])
def test_a_key_leads_nowhere_else(tmp_path: Path, key: str) -> None:
    with pytest.raises(PermanentError, match="no key"):
        LocalReportStorage(tmp_path).get(key)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="KORDANT_REPORTS_DIR"):
        LocalReportStorage(tmp_path / "file").put(b"%PDF")


OUT_OF_SPACE = """
import resource, signal, sys
from pathlib import Path
from kordant_jobs.adapters.report_storage import LocalReportStorage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    LocalReportStorage(Path(sys.argv[1])).put(b"%PDF" * 4096)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_running_out_of_space_in_the_middle_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A limit on the size of files cuts the write short as a full disk would."""
    assert resource.RLIMIT_FSIZE is not None
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_SPACE, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("TransientError a report cannot be written (File too large)")
    assert files_in(tmp_path) == []
