"""Where state lives, and that nobody gets an empty world of their own without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from kordant_jobs.bootstrap.state import state_dir


def test_a_folder_beside_one_that_is_not_ours_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    (checkout / ".state").touch()  # not a folder that we may write in
    environ = {"XDG_STATE_HOME": str(tmp_path / "xdg")}
    mine = state_dir(environ, checkout)
    assert mine.is_relative_to(tmp_path / "xdg")
    assert f"{checkout / '.state'} is another user's; yours is {mine}" in capsys.readouterr().err
    assert state_dir(environ, checkout) == mine
    assert capsys.readouterr().err == ""


def test_our_own_is_taken_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").touch()
    assert state_dir({}, tmp_path) == tmp_path / ".state"


def test_an_installed_wheel_leaves_site_packages_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = state_dir({"XDG_STATE_HOME": str(tmp_path / "xdg")}, tmp_path / "site-packages")
    assert mine.is_relative_to(tmp_path / "xdg")
    assert not (tmp_path / "site-packages").exists()
    assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == ""
