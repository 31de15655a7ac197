"""Takes out of an environment what libraries ship for their own developers: 115 of 1,000 MB, and a third of the time
that compiling takes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TESTED_WITHIN = ("numba", "numpy", "pandas")
"""Packages that carry their tests, 70 MB, in folders named so. Elsewhere such a folder may be what others import."""
TESTS = "tests"
LEFT_OUT = (".js.map", ".css.map", ".a", ".c", ".h")
"""Source maps of web pages, static libraries, and sources in C."""
SECOND_COPIES = ("zstandard/_cffi.*.so",)
"""Second copies in packages, which are imported on PyPy only."""


def trim(environment: Path) -> None:
    """Delete them below `environment`. A second time finds nothing."""
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
