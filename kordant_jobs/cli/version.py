"""The version of this installation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.bootstrap.version import version_of


def described(checkout: Path = CHECKOUT) -> str:
    """The version, with the commit in a git checkout; `+` when there are uncommitted changes."""
    version, git = version_of(checkout), shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return version
    asked = [git, "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return f"{version} (commit {done.stdout.strip()})" if done.returncode == 0 else version
