"""The engine's daemon with the bench's catalogue: `python -m kordant_jobs.lab.bench.daemon -w workspace.yaml`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from kordant_jobs.engine.daemon.__main__ import run
from kordant_jobs.engine.daemon.queue_loop import dispatch_queue
from kordant_jobs.lab.bench.catalogue import CATALOG

if __name__ == "__main__":
    sys.exit(run(str(Path(sys.argv[-1]).absolute()), dispatch=partial(dispatch_queue, catalog=CATALOG)))
