"""Each reader's worst input (`lab.world.worst`) at growing sizes: CPU seconds and peak memory, as a table.

Each is read in a process of its own: `… dumps_worst FILE…` prints JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err, out
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.world.worst import WORST

MAX_GROWTH, MIN_MB_PER_S, MAX_PEAK_MB = 6, 1, 400
"""Four times the size takes at most six times the time; the slowest input is read at a megabyte a second."""
_STEPS = (1, 4, 16, 64)
_NOISE_S = 0.1
_WARM_UP = 1 << 13

Row = list[tuple[float, float]]
"""CPU seconds and peak MB, a size each."""


def measure(megabytes: int) -> list[Figure]:
    """All figures; the table is printed on the way.

    Raises:
        KordantError: a text made the reader fail.
    """
    sizes = [size for size in _STEPS if size < megabytes] + [megabytes]
    out.print("CPU seconds at " + ", ".join(f"{size} MB" for size in sizes) + "; peak memory")
    rows = dict[str, Row]()
    for name in WORST:
        with err.status(f"{name} …"):
            rows[name] = _measured(name, sizes)
        shown = "  ".join(f"{seconds:6.2f}" for seconds, _ in rows[name])
        out.print(f"{name:28} {shown}  {rows[name][-1][1]:4.0f} MB", highlight=False)
    growth = max(_growth(row, sizes) for row in rows.values())
    slowest = min(megabytes / max(row[-1][0], 1e-3) for row in rows.values())
    peak = max(row[-1][1] for row in rows.values())
    return [
        Figure(key="worst_growth_of_4", value=growth, unit="times", goal=MAX_GROWTH),
        Figure(key="worst_mb_per_s", value=slowest, unit="MB/s", goal=MIN_MB_PER_S, direction="min"),
        Figure(key="worst_peak_mb", value=peak, unit="MB", goal=MAX_PEAK_MB),
    ]


def _growth(row: Row, sizes: list[int]) -> float:
    """The most by which time grew from one size to the next, as if each were four times the one before."""
    steps = zip(row, row[1:], sizes, sizes[1:], strict=False)
    return max((b[0] / max(a[0], _NOISE_S) * 4 * small / large for a, b, small, large in steps), default=0.0)


def _measured(name: str, sizes: list[int]) -> Row:
    with tempfile.TemporaryDirectory(prefix="kordant-worst-") as folder:
        files = [Path(folder) / str(size) for size in (0, *sizes)]
        for file, size in zip(files, (_WARM_UP, *(size << 20 for size in sizes)), strict=True):
            file.write_bytes(WORST[name](size))
        command = [sys.executable, "-m", __name__, *map(str, files)]
        ended = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise KordantError(f"{name} could not be read: {(ended.stderr.strip().splitlines() or ['?'])[-1]}")
    return [(seconds, peak) for seconds, peak in json.loads(ended.stdout.splitlines()[-1])]


def read(files: list[Path]) -> Row:
    """Read files, the first of which is not counted."""
    from kordant_jobs.adapters.dumps import Blinder, DumpLimits, open_dump
    from kordant_jobs.errors import DumpUnreadable
    from kordant_jobs.lab.bench.darkwatch_data import KEY
    from kordant_jobs.lab.bench.darkwatch_parts import peak_mb

    blinder, limits = Blinder(KEY), DumpLimits(max_bytes=1 << 40, max_ratio=200)
    found: Row = []
    for file in files:
        before = time.process_time()
        with contextlib.suppress(DumpUnreadable), open_dump(file, limits=limits, phone_region="US") as dump:
            for _ in dump.blinded(blinder):
                pass
        found.append((time.process_time() - before, peak_mb()))
    return found[1:]


if __name__ == "__main__":
    print(json.dumps(read([Path(file) for file in sys.argv[1:]])))  # noqa: T201 - for the process that started this one
