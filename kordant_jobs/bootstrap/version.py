"""The version of the running code."""

from __future__ import annotations

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
