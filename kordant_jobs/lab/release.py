"""`kordant-jobs release VERSION`: the version and the changelog's heading, a wheel that works in an empty environment,
a commit and a tag. What is pushed where is its caller's."""

import re
import subprocess
import sys
import tempfile
import venv
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import out
from kordant_jobs.errors import KordantError

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_PROJECT_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class ReleaseError(KordantError):
    """A release that cannot be made; nothing was committed."""


def released(project: str, changelog: str, version: str, day: date) -> tuple[str, str]:
    """`pyproject.toml` and `CHANGELOG.md` as they are in release `version` of `day`. Pure.

    >>> project, changes = released('version = "0.1.0"\\n', "## Unreleased\\n- A.\\n", "0.2.0", date(2026, 12, 1))
    >>> project, changes
    ('version = "0.2.0"\\n', '## Unreleased\\n\\n## 0.2.0 (2026-12-01)\\n- A.\\n')

    Raises:
        ReleaseError: `version` is not a version of semver, is not above today's, or nothing has changed since.
    """
    now = _PROJECT_VERSION.search(project)
    if not _VERSION.fullmatch(version) or now is None or _numbers(version) <= _numbers(now[1]):
        raise ReleaseError(f"{version!r} is not a version above {now[1] if now else 'that of pyproject.toml'}.")
    if not (changes := _UNRELEASED.search(changelog)) or not changes[1].strip():
        raise ReleaseError("CHANGELOG.md says nothing under '## Unreleased': write what users will notice.")
    return (
        project.replace(now[0], f'version = "{version}"', 1),
        changelog.replace("## Unreleased\n", f"## Unreleased\n\n## {version} ({day})\n", 1),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, found.groups())) if (found := _VERSION.fullmatch(version)) else (0,)


def build_wheel(checkout: Path, folder: Path) -> Path:
    """The wheel of `checkout`, made in `folder`.

    Raises:
        ReleaseError: it cannot be built.
    """
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], checkout)
    return next(folder.glob("*.whl"))


def try_wheel(wheel: Path, lock: Path, folder: Path) -> None:
    """Install `wheel` and what `lock` pins into an empty environment in `folder`, and run its `demo` there.

    Raises:
        ReleaseError: one of these fails.
    """
    environment, home = folder / "environment", folder / "home"
    venv.create(environment, with_pip=True)
    home.mkdir()
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--requirement", str(lock)], home)
    _run([*pip, "--no-deps", str(wheel)], home)
    demo = [str(environment / "bin" / "kordant-jobs"), "demo", "--subscribers", "200", "--lines", "20000"]
    _run(["env", "-u", "PYTHONPATH", f"HOME={home}", f"KORDANT_STATE_DIR={home / 'state'}", *demo], home)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def release(
    version: Annotated[str, typer.Argument(help="As 1.2.0; above today's.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build and try the wheel; leave the checkout as it is.")
    ] = False,
    skip_checks: Annotated[bool, typer.Option("--skip-checks", help="Not `test` first, which CI has run.")] = False,
) -> None:
    """Release: run the checks, write version and changelog, build the wheel into `dist/`, try it, commit and tag."""
    project, changelog = CHECKOUT / "pyproject.toml", CHECKOUT / "CHANGELOG.md"
    if _run(["git", "status", "--porcelain"], CHECKOUT).strip():
        raise ReleaseError("the checkout has changes that are not committed. Commit them first.")
    before = project.read_text("utf-8"), changelog.read_text("utf-8")
    after = released(*before, version, date.today())  # noqa: DTZ011 - the day where it is released
    if not skip_checks:
        out.print("running every check")
        _run([sys.executable, "-P", "-m", "kordant_jobs", "test"], CHECKOUT)
    kept = False
    try:
        project.write_text(after[0], "utf-8")
        changelog.write_text(after[1], "utf-8")
        with tempfile.TemporaryDirectory() as scratch:
            wheel = build_wheel(CHECKOUT, Path(scratch) / "dist")
            out.print(f"trying {wheel.name} in an empty environment")
            try_wheel(wheel, CHECKOUT / "requirements.lock", Path(scratch))
            if not dry_run:
                (CHECKOUT / "dist").mkdir(exist_ok=True)
                (CHECKOUT / "dist" / wheel.name).write_bytes(wheel.read_bytes())
        if not dry_run:
            _run(["git", "commit", "--quiet", "-m", f"release {version}", "pyproject.toml", "CHANGELOG.md"], CHECKOUT)
            _run(["git", "tag", "-a", f"v{version}", "-m", f"release {version}"], CHECKOUT)
            kept = True
    finally:
        if not kept:
            project.write_text(before[0], "utf-8")
            changelog.write_text(before[1], "utf-8")
    if dry_run:
        out.print("the wheel works; nothing was changed")
    else:
        out.print(f"dist/{wheel.name}; commit and tag v{version} are made. Next: git push --follow-tags")
