"""One scan in a process of its own that kills itself: python -m …killed_scan URL DROP EVENT NUMBER.

A fork of the test would hang: threads of Polars that the parent has used do not live on in it.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.hometitle_scan import service
from kordant_jobs.lab.world.county_files import NAME, description
from kordant_jobs.postgres import database
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.conftest import INDEX_ROOT, MASTER_KEY


def main(url: str, drop: str, event: str, number: str) -> None:
    """Scan, and die by SIGKILL at an event of the database (`commit`: before it; `after_cursor_execute`: within the
    transaction), the one with this number."""
    db, keyring = database.create_engine(url), Keyring(MASTER_KEY, index_root=INDEX_ROOT)
    counties = Counties({NAME: description()}, Path(drop))
    seen = count()

    def die(*_: Any) -> None:
        if next(seen) >= int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(db, event, die)
    plan = service.plan_scan(Scope(), db=db, keyring=keyring, counties=counties)
    with Progress(db, "killed") as progress:
        for chunk in plan.chunks:
            service.compare(chunk, db=db, keyring=keyring, counties=counties, progress=progress)
    service.record(plan, db=db, counties=counties)


if __name__ == "__main__":
    main(*sys.argv[1:])
