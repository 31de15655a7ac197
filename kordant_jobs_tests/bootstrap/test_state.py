"""Where state lives, and that nobody gets an empty world of their own without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from kordant_jobs.bootstrap.state import state_dir


def test_a_folder_beside_one_that_is_not_ours_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / ".state").touch()  # not a folder that we may write in
    environ = {"XDG_STATE_HOME": str(tmp_path / "xdg")}
    mine = state_dir(environ, checkout)
    assert mine.is_relative_to(tmp_path / "xdg")
    assert f"{checkout / '.state'} is another user's; yours is {mine}" in capsys.readouterr().err
    assert state_dir(environ, checkout) == mine
    assert capsys.readouterr().err == ""


def test_our_own_is_taken_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert state_dir({}, tmp_path) == tmp_path / ".state"
    assert capsys.readouterr().err == ""
