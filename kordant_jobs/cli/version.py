"""Which version this is."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT

NAME = "kordant-jobs"


def described(checkout: Path = CHECKOUT) -> str:
    """The version, with the commit where the code lies in a checkout of git; `+` when something was changed since."""
    version, git = version_of(checkout), shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return version
    asked = [git, "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f"{version} (commit {done.stdout.strip()})" if done.returncode == 0 else version


def version_of(checkout: Path = CHECKOUT) -> str:
    """The version of the code that runs: that of the checkout it lies in, else of the installed package.

    A checkout comes first, since its environment holds it by path, without the metadata of a package.
    """
    try:
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return metadata.version(NAME)
    return str(project["version"]) if project.get("name") == NAME else metadata.version(NAME)
