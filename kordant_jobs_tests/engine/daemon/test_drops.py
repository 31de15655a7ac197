"""When files in the drop folder have settled."""

from __future__ import annotations

import os
from pathlib import Path

from kordant_jobs.engine.daemon.drops import SETTLED_S, DropWatch


def settle(watch: DropWatch, from_s: int) -> list[int]:
    """The seconds, of ten, at which it says so."""
    return [second for second in range(from_s, from_s + 10) if watch.have_settled(second)]


def test_a_new_file_is_reported_once_when_it_stopped_changing(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    settle(watch, 0)
    (tmp_path / "dump.txt").write_text("a@example.com")
    (told,) = settle(watch, 20)
    assert told - 20 >= SETTLED_S
    assert settle(watch, 30) == []


def test_a_file_that_still_grows_is_waited_for(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    dump = tmp_path / "dump.txt"
    dump.write_text("")
    for second in range(8):
        with dump.open("a") as file:
            file.write("a@example.com\n")
        assert not watch.have_settled(second)
    assert len(settle(watch, 8)) == 1


def test_what_lay_there_before_is_reported_as_well(tmp_path: Path) -> None:
    (tmp_path / "dump.txt").write_text("a@example.com")
    assert len(settle(DropWatch(tmp_path), 0)) == 1


def test_a_folder_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path / "drop")
    assert settle(watch, 0) == []
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "dump.txt").write_text("a@example.com")
    os.utime(tmp_path / "drop")
    assert len(settle(watch, 10)) == 1
