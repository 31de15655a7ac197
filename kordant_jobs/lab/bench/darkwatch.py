"""Reading dumps, the corpus and the way to an alert: how fast, and with how much memory.

Each part runs in a process of its own (`darkwatch_parts`), so that its memory is its own. What it works on is made from
a seed, once, in the state folder. DuckDB is given the same file and the same watched addresses; it compares readable
text, lower-cases nothing and keeps nothing, and both must find the same.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.bench.darkwatch_data import Made, make
from kordant_jobs.lab.figures import Figure
from kordant_jobs.settings import load_settings

DUCKDB, OUR_CLEAN = "DuckDB", "ours, clean"
ROUNDS = 3
"""Each of DuckDB, ours on the clean dump and ours on the dirty one runs so often, in turn; the best counts."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The amount of data to measure on."""

    dump_bytes: int
    watched: int
    corpus_records: int
    subscribers: int


SCALES = {
    "full": Scale(dump_bytes=1 << 30, watched=1_000_000, corpus_records=100_000_000, subscribers=1_000_000),
    "tenth": Scale(dump_bytes=100 << 20, watched=100_000, corpus_records=10_000_000, subscribers=100_000),
    "tiny": Scale(dump_bytes=1 << 20, watched=2_000, corpus_records=20_000, subscribers=500),
}


def measure(scale: str) -> list[Figure]:
    """All figures at one of SCALES.

    Raises:
        KordantError: a part did not run, or two ways found different things.
    """
    size = SCALES[scale]
    folder = load_settings().state_dir / "bench" / f"darkwatch-{scale}"
    with err.status("making dumps …") as status:
        data = make(folder, dump_bytes=size.dump_bytes, watched=size.watched)

        def part(name: str, *arguments: object) -> dict[str, Any]:
            status.update(f"{name} …")
            return run_part(name, *arguments)

        part("warm-up", data.clean, data.dirty, data.watched)
        in_turn = [
            (
                part("duckdb", data.clean, data.watched_text),
                part("scan", data.clean, data.watched),
                part("scan", data.dirty, data.watched),
            )
            for _ in range(ROUNDS)
        ]
        duck, clean, dirty = (_best(list(runs)) for runs in zip(*in_turn, strict=True))
        _same(duck, clean, data)
        ripgrep = part("ripgrep", data.clean, data.watched_text) if shutil.which("rg") else None
        ingested = part("ingest", data.clean, folder / "ingested")
        looked = part("lookup", folder / f"corpus-{size.corpus_records}", size.corpus_records, size.watched)
        retro = part("retro", size.subscribers, size.dump_bytes)
    return figures(
        size, duck=duck, clean=clean, dirty=dirty, ripgrep=ripgrep, ingested=ingested, looked=looked, retro=retro
    )


def run_part(name: str, *arguments: object) -> dict[str, Any]:
    """Run one part in a process of its own and return what it measured."""
    command = [sys.executable, "-m", "kordant_jobs.lab.bench.darkwatch_parts", name, *map(str, arguments)]
    ended = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise KordantError(f"{name} broke off: {last}")
    found: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


def _best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return min(runs, key=lambda run: float(run["seconds"]))


def _same(duck: dict[str, Any], ours: dict[str, Any], data: Made) -> None:
    if (duck["hits"], duck["people"]) != (ours["hits"], ours["people"]) or ours["people"] < data.planted * 0.9:
        raise KordantError(
            f"DuckDB found {duck['hits']} lines of {duck['people']} people, we {ours['hits']} of {ours['people']}: "
            "the figures are worth nothing."
        )


def figures(
    size: Scale,
    *,
    duck: dict[str, Any],
    clean: dict[str, Any],
    dirty: dict[str, Any],
    ripgrep: dict[str, Any] | None,
    ingested: dict[str, Any],
    looked: dict[str, Any],
    retro: dict[str, Any],
) -> list[Figure]:
    """Goals: the design's table of benches."""
    peer_s = float(duck["seconds"])
    at_full = size is SCALES["full"]  # the fixed costs of a small one say nothing

    def figure(key: str, value: float, unit: str, goal: float | None, **more: Any) -> Figure:
        return Figure(key=key, value=value, unit=unit, goal=goal if at_full else None, **more)

    made = [
        figure("dump_scan_s", clean["seconds"], "s", peer_s, peer=DUCKDB, peer_value=peer_s),
        figure("dump_scan_peak_mb", clean["peak_mb"], "MB", 400, peer=DUCKDB, peer_value=duck["peak_mb"]),
        figure("dump_scan_dirty_s", dirty["seconds"], "s", 1.5 * peer_s, peer=DUCKDB, peer_value=peer_s),
        figure(
            "dump_scan_dirty_to_clean",
            dirty["seconds"] / clean["seconds"],
            "times",
            1.5,
            peer=OUR_CLEAN,
            peer_value=1.0,
        ),
        figure(
            "lookups_per_s",
            looked["per_s"],
            "/s",
            5_000_000,
            direction="min",
            peer=DUCKDB,
            peer_value=looked["peer_per_s"],
        ),
        figure("lookup_peak_mb", looked["peak_mb"], "MB", 1_000),
        figure("ingest_mb_per_s", ingested["mb_per_core_s"], "MB/s a core", 100, direction="min"),
        figure("ingest_wall_s", ingested["seconds"], "s", None),
        figure("retro_end_to_end_s", retro["seconds"], "s", 60),
        figure("retro_first_alert_s", retro["first_s"], "s", None),
        figure("retro_whole_scan_s", retro["scan_s"], "s", None),
        figure("corpus_bytes_per_1e8", looked["bytes"] * 1e8 / size.corpus_records, "bytes", None),
    ]
    if ripgrep:
        made.append(figure("ripgrep_s", ripgrep["seconds"], "s", None))  # `rg -F -f`, for the record
    return made
