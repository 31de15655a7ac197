"""A system whose jobs are started by hand: it has a warm process, and no catalogue."""

from __future__ import annotations

import sys

from kordant_jobs.app import engine_settings
from kordant_jobs.engine.processes import main
from kordant_jobs.engine.system import System

SYSTEM = System(
    app="kordant_jobs_tests.engine.launcher.app",
    instance="kordant_jobs.instance",
    definitions="kordant_jobs_tests.engine.launcher.definitions_for_tests",
    rows={},
    settings=engine_settings,
)

if __name__ == "__main__":
    sys.exit(main(SYSTEM))
