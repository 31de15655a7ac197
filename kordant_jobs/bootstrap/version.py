"""The version of the running code."""

import shutil
import subprocess
import tomllib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT

NAME = "kordant-jobs"


@lru_cache
def version_of(checkout: Path = CHECKOUT) -> str:
    """The version of the running code: that of its checkout, else of the installed package. The checkout comes first,
    since its environment has it by path, without a package's metadata."""
    try:
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return metadata.version(NAME)
    return str(project["version"]) if project.get("name") == NAME else metadata.version(NAME)


def described(checkout: Path = CHECKOUT) -> str:
    """The version, with the commit in a git checkout; `+` when there are uncommitted changes."""
    version, git = version_of(checkout), shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return version
    asked = [git, "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f"{version} (commit {done.stdout.strip()})" if done.returncode == 0 else version
