"""When files in the drop folder have settled."""

from __future__ import annotations

import os
from pathlib import Path

from kordant_jobs.engine.daemon.wake import SETTLED_S, DropWatch


def settle(watch: DropWatch, from_s: int) -> list[int]:
    """The seconds, of ten, at which it says so."""
    return [second for second in range(from_s, from_s + 10) if watch.have_settled(second)]


def write(path: Path, text: str, *, at_s: int) -> None:
    """Add to a file at a second of the watch's clock."""
    with path.open("a") as file:
        file.write(text)
    os.utime(path, (at_s, at_s))


def test_a_new_file_is_reported_once_when_it_stopped_changing(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    settle(watch, 0)
    write(tmp_path / "dump.txt", "a@example.com", at_s=20)
    (reported,) = settle(watch, 20)
    assert reported - 20 >= SETTLED_S
    assert settle(watch, 30) == []


def test_a_file_that_was_written_before_it_was_renamed_into_the_folder_is_reported_at_once(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    watch = DropWatch(drop)
    settle(watch, 0)
    write(tmp_path / "clip.wav", "sound", at_s=15)
    (tmp_path / "clip.wav").rename(drop / "clip.wav")
    assert settle(watch, 20) == [20]


def test_a_file_that_still_grows_is_waited_for(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    settle(watch, 0)
    for second in range(10, 18):
        write(tmp_path / "dump.txt", "a@example.com\n", at_s=second)
        assert not watch.have_settled(second)
    assert len(settle(watch, 18)) == 1


def test_a_file_whose_time_is_ahead_of_the_clock_is_reported_when_it_stopped_changing(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    settle(watch, 0)
    write(tmp_path / "dump.txt", "a@example.com", at_s=9_000)
    assert len(settle(watch, 20)) == 1


def test_what_lay_there_before_is_reported_as_well(tmp_path: Path) -> None:
    write(tmp_path / "dump.txt", "a@example.com", at_s=0)
    assert len(settle(DropWatch(tmp_path), 0)) == 1


def test_a_folder_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path / "drop")
    assert settle(watch, 0) == []
    (tmp_path / "drop").mkdir()
    write(tmp_path / "drop" / "dump.txt", "a@example.com", at_s=10)
    assert len(settle(watch, 10)) == 1
