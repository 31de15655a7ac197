"""The demo and `up` start with the packages of running alone."""

from __future__ import annotations

import subprocess
import sys

from kordant_jobs.bootstrap.state import CHECKOUT

LOADS = """
import sys
for name in ("atheris", "dkim", "duckdb", "hypothesis", "moto", "pikepdf", "playwright", "pytest", "schemathesis",
             "sklearn"):
    sys.modules[name] = None
import kordant_jobs.lab.demo, kordant_jobs.lab.hometitle.small_county, kordant_jobs.cli.serve, kordant_jobs.definitions
import kordant_jobs.api.app
"""


def test_the_demo_and_up_import_no_package_of_developers() -> None:
    subprocess.run([sys.executable, "-c", LOADS], cwd=CHECKOUT, check=True, timeout=120)
