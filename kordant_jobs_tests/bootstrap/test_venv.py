"""The environment: recognised at once when it fits, made again from nothing when it does not."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kordant_jobs.bootstrap import pango, steps, venv
from kordant_jobs.bootstrap.state import CHECKOUT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that locks no package, in a path that a shell and a .pth file have trouble with."""
    folder = tmp_path / "kordant jobs ü'$x"
    folder.mkdir()
    for name in ("requirements.lock", "requirements-voice.lock", "requirements-dev.lock"):
        (folder / name).write_text("# nothing\n", encoding="utf-8")
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which neither uv nor apt-get is found."""
    (tmp_path / "home").mkdir()
    return {"PATH": str(tmp_path / "nothing"), "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}


@pytest.fixture
def made(checkout: Path) -> Path:
    """The folder of an environment that is ready, as far as its stamp goes."""
    folder = checkout / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    wanted = venv._wanted(
        checkout, python=os.path.realpath(sys.executable), version="3.11.0", packages=venv.PackageSet.RUNNING
    )
    venv._write_stamp(venv.Environment(folder=folder, pango=pango.Libraries(found=True)), wanted)
    return folder


def _other_packages(folder: Path) -> None:
    (folder.parent / "requirements.lock").write_text("six==1\n", encoding="utf-8")


def _no_python(folder: Path) -> None:
    (folder / "bin" / "python").unlink()


def _another_python(folder: Path) -> None:
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/bin/sh")


def _broken_stamp(folder: Path) -> None:
    (folder / venv.STAMP).write_text("{", encoding="utf-8")


def _older_setup(folder: Path) -> None:
    stamp = json.loads((folder / venv.STAMP).read_text(encoding="utf-8"))
    stamp["made"]["setup"] = 0
    (folder / venv.STAMP).write_text(json.dumps(stamp), encoding="utf-8")


def _half_made(folder: Path) -> None:
    (folder / venv.STAMP).unlink()


@pytest.mark.parametrize(
    "change", [_other_packages, _no_python, _another_python, _broken_stamp, _older_setup, _half_made]
)
def test_an_environment_that_no_longer_fits_is_not_ready(
    made: Path, checkout: Path, change: Callable[[Path], None]
) -> None:
    assert venv.ready(made, checkout)
    change(made)
    assert venv.ready(made, checkout) is None


def test_a_checkout_that_was_moved_needs_a_new_environment(made: Path, checkout: Path) -> None:
    moved = checkout.rename(checkout.with_name("elsewhere"))
    assert venv.ready(moved / ".venv", moved) is None


def test_a_half_made_environment_is_made_again_and_the_next_start_does_nothing(
    checkout: Path, bare: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leftover = checkout / ".venv" / "lib" / "half"
    leftover.mkdir(parents=True)
    environment = venv.ensure(checkout, tmp_path / "state", bare)
    assert not leftover.exists()
    assert "setting up" in capfd.readouterr().err

    assert venv.ensure(checkout, tmp_path / "state", {"PATH": "/nothing"}).python == environment.python
    assert "setting up" not in capfd.readouterr().err


def test_of_two_starts_at_once_one_sets_up_and_the_other_waits(
    checkout: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    code = "import os, sys; from pathlib import Path; from kordant_jobs.bootstrap import venv; " + (
        "print(venv.ensure(Path(sys.argv[1]), Path(sys.argv[2]), os.environ).folder)"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, checkout, tmp_path / "state"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CHECKOUT, env=bare,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [start.communicate(timeout=60) for start in starts]
    assert [start.returncode for start in starts] == [0, 0], said
    assert [answer for answer, _ in said] == [os.fsencode(checkout / ".venv") + b"\n"] * 2
    errors = b"".join(words for _, words in said)
    assert errors.count(b"setting up") == 1
    assert errors.count(b"waiting") == 1


def test_a_path_that_no_environment_can_lie_in_is_said(tmp_path: Path, bare: dict[str, str]) -> None:
    checkout = tmp_path / "a:b"
    checkout.mkdir()
    for name in ("requirements.lock", "requirements-voice.lock", "requirements-dev.lock"):
        (checkout / name).touch()
    with pytest.raises(steps.BootstrapError, match="KORDANT_STATE_DIR"):
        venv.ensure(checkout, checkout / ".state", bare)


def test_what_a_link_leads_to_is_never_emptied(tmp_path: Path, bare: dict[str, str]) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept").touch()
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("requirements.lock", "requirements-voice.lock", "requirements-dev.lock"):
        (checkout / name).touch()
    (checkout / ".venv").symlink_to(theirs)
    with pytest.raises(steps.BootstrapError, match="is a link"):
        venv.ensure(checkout, checkout / ".state", bare)
    assert [one.name for one in theirs.iterdir()] == ["kept"]


def test_the_machines_uv_gets_the_lock_with_hashes_and_pips_configuration(
    checkout: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text(f'#!/bin/sh\necho "$UV_DEFAULT_INDEX $@" >>{tmp_path}/asked\n', encoding="utf-8")
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    environ = {**bare, "PATH": str(tools), "PIP_INDEX_URL": "https://mirror.example/simple"}
    venv.ensure(checkout, tmp_path / "state", environ)
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert "https://mirror.example/simple pip sync --require-hashes" in asked
    locks = [line.rsplit("/", 1)[1] for line in asked.splitlines() if " sync " in line]
    assert locks == ["requirements.lock"]
    assert "--only-binary=:all:" in asked


def test_development_packages_are_added_to_an_environment_that_is_ready_without_emptying_it(
    checkout: Path, bare: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = venv.ensure(checkout, tmp_path / "state", bare)
    kept = environment.folder / "lib" / "kept"
    kept.mkdir()
    assert venv.ready(environment.folder, checkout, venv.PackageSet.DEVELOPMENT) is None
    venv.ensure(checkout, tmp_path / "state", bare, venv.PackageSet.DEVELOPMENT)
    assert kept.exists()
    assert "adding the packages of tests" in capfd.readouterr().err
    assert venv.ready(environment.folder, checkout, venv.PackageSet.DEVELOPMENT)
    assert venv.ready(environment.folder, checkout)  # and it still serves those who only run

    (checkout / "requirements-dev.lock").write_text("six==1\n", encoding="utf-8")
    assert venv.ready(environment.folder, checkout) is None


def _pins(name: str) -> set[str]:
    lines = (CHECKOUT / name).read_text(encoding="utf-8").splitlines()
    return {line.split(" ")[0] for line in lines if line[:1].isalnum()}


@pytest.mark.parametrize("before", list(venv.PackageSet))
def test_an_environment_that_had_the_packages_of_voices_is_made_again_with_them(
    made: Path, before: venv.PackageSet
) -> None:
    stamp = json.loads((made / venv.STAMP).read_text(encoding="utf-8"))
    stamp["made"]["package_set"] = before.value
    (made / venv.STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    assert venv._had_voice(made) is (before is not venv.PackageSet.RUNNING)
    stamp["made"]["package_set"] = "requirements-of-another-age.lock"
    (made / venv.STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    assert not venv._had_voice(made)


def test_the_development_lock_pins_the_same_versions_as_the_one_of_running() -> None:
    assert _pins("requirements.lock") < _pins("requirements-voice.lock") < _pins("requirements-dev.lock")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-voice.lock", "requirements-dev.lock"])
def test_a_lock_names_no_host(name: str) -> None:
    assert "://" not in (CHECKOUT / name).read_text(encoding="utf-8")


def test_trimming_takes_what_developers_need_and_nothing_else(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    gone = (
        "pandas/tests/test_a.py",
        "numpy/_core/tests/b.py",
        "Cryptodome/SelfTest/f.py",
        "web/chunk.js.map",
        "postgres/libpq.a",
        "numba/a.c",
        "numba/a.h",
        "zstandard/_cffi.x.so",
        "babel/locale-data/de.dat",
    )
    kept = (
        *(f"babel/locale-data/{name}.dat" for name in ("root", "en_001", "pt_BR")),
        "zstandard/backend_c.x.so",
        "web/chunk.js",
        "pandas/c.py",
        "pytest/tests/d.py",
        "dagster/_utils/test/e.py",
    )
    for name in (*gone, *kept):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    venv.trim(tmp_path)
    left = {str(file.relative_to(site)) for file in site.rglob("*") if file.is_file()}
    assert left == set(kept)


@pytest.mark.parametrize(("works", "left"), [(True, "short"), (False, "with symbols")])
def test_symbols_go_from_this_environment_and_not_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool, left: str
) -> None:
    cached, library = tmp_path / "cached.so", tmp_path / "lib/python3.11/site-packages" / venv.WITH_SYMBOLS[0]
    cached.write_text("with symbols")
    library.parent.mkdir(parents=True)
    library.hardlink_to(cached)
    strip = tmp_path / "bin" / "strip"
    strip.parent.mkdir()
    strip.write_text(f'#!/bin/sh\nprintf short > "$3"\nexit {0 if works else 1}\n')
    strip.chmod(0o755)
    monkeypatch.setenv("PATH", str(strip.parent), prepend=os.pathsep)
    venv.trim(tmp_path)
    assert (library.read_text(), cached.read_text()) == (left, "with symbols")
    assert [one.name for one in library.parent.iterdir()] == [library.name]
