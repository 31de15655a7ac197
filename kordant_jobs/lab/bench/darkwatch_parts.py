"""One part of `bench darkwatch` a process: `python -m kordant_jobs.lab.bench.darkwatch_parts PART …` prints JSON."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.lab.bench.darkwatch_data import KEY, SEED

LIMITS_BYTES, RATIO = 1 << 40, 200
DUMP = UUID(int=1)
PLANTED_SHARE = 0.001


def peak_mb() -> float:
    """The most memory that this process has had. Linux's `getrusage` counts its parent's before the `exec` as well."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def scan(dump: str, watched: str) -> dict[str, Any]:
    """Read a dump once, as it is detected, against watched blind indexes."""
    from kordant_jobs.adapters.dumps import Blinder, open_dump
    from kordant_jobs.adapters.kernels.members import Members

    def scanned(path: Path, keys: npt.NDArray[np.uint64]) -> tuple[int, int]:
        members, seen, hits = Members(keys), np.zeros(len(keys), bool), 0
        with open_dump(path, limits=_limits(), phone_region="US") as source:
            for batch in source.blinded(Blinder(KEY)):
                places, items = members.find(batch.index, len(batch.line))
                hits += len(places)
                seen[items] = True
        return hits, int(seen.sum())

    keys = np.load(watched)
    scanned(_few_lines(Path(dump)), keys[:1])  # as DuckDB, which is imported and set up before its clock begins
    began = time.perf_counter()
    hits, people = scanned(Path(dump), keys)
    return {"seconds": time.perf_counter() - began, "hits": hits, "people": people, "peak_mb": peak_mb()}


def _limits() -> DumpLimits:
    return DumpLimits(max_bytes=LIMITS_BYTES, max_ratio=RATIO)


def _few_lines(dump: Path) -> Path:
    few = dump.with_name(f"few-{dump.name}")
    with dump.open("rb") as file:
        few.write_bytes(b"".join(file.readline() for _ in range(1_000)))
    return few


def warm_up(clean: str, dirty: str, watched: str) -> dict[str, Any]:
    """Compile, and bring both dumps into the page cache."""
    from kordant_jobs.adapters.corpus import Corpus, Items

    for dump in (clean, dirty):
        with Path(dump).open("rb") as file:
            while file.read(8 << 20):
                pass
    folder = Path(watched).parent / "warm-up"
    made = corpus_of(Corpus(folder), np.load(watched)[:1000])
    made.find(DUMP, Items(ids=_ids(1), index=np.load(watched)[:1]))
    shutil.rmtree(folder)
    return {}


def duckdb(dump: str, watched: str) -> dict[str, Any]:
    """The bare semi-join."""
    import duckdb as engine

    with engine.connect(config={"threads": 2}) as connection:
        plain = "header=false, quote='', escape='', auto_detect=false"
        connection.execute(
            f"CREATE TABLE w AS SELECT e FROM read_csv('{watched}', delim='\x01', {plain}, columns={{'e': 'varchar'}})"  # noqa: S608 - our own paths
        )
        began = time.perf_counter()
        hits, people = connection.execute(
            f"SELECT count(*), count(DISTINCT e) FROM read_csv('{dump}', delim=':', {plain}, "  # noqa: S608 - our own path
            "columns={'e': 'varchar', 'p': 'varchar'}) SEMI JOIN w USING (e)"
        ).fetchall()[0]
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "hits": hits, "people": people, "peak_mb": peak_mb()}


def ripgrep(dump: str, watched: str) -> dict[str, Any]:
    """Measure ripgrep for comparison: it finds the text anywhere in a line."""
    began = time.perf_counter()
    subprocess.run(["rg", "-c", "-F", "-f", watched, dump], check=False, capture_output=True)
    return {"seconds": time.perf_counter() - began}


def ingest(dump: str, folder: str) -> dict[str, Any]:
    """A dump into the corpus."""
    from kordant_jobs.adapters.corpus import Corpus
    from kordant_jobs.adapters.dumps import Blinder, open_dump

    def ingested(path: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with (
            open_dump(path, limits=_limits(), phone_region="US") as source,
            Corpus(Path(folder)).write(DUMP, origin=str(path)) as writer,
        ):
            for batch in source.blinded(Blinder(KEY)):
                writer.add(batch)

    ingested(_few_lines(Path(dump)))
    began, cpu = time.perf_counter(), time.process_time()
    ingested(Path(dump))
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    shutil.rmtree(folder)
    return {"seconds": seconds, "mb_per_core_s": Path(dump).stat().st_size / 1e6 / cpu_s, "peak_mb": peak_mb()}


def _random(draw: np.random.Generator, count: int) -> npt.NDArray[np.uint64]:
    return draw.integers(0, 1 << 64, (count, 2), np.uint64)


def corpus_of(corpus: Any, index: npt.NDArray[np.uint64], more: int = 0) -> Any:
    """A corpus of one dump with these blind indexes, and `more` random ones behind them."""
    from kordant_jobs.adapters.dumps.model import BlindBatch

    draw = np.random.default_rng(SEED + 1)
    with corpus.write(DUMP, origin="bench") as writer:
        done = 0
        while index.size or done < len(index) + more:
            lines = np.arange(done + 1, done + 1 + len(index), dtype=np.uint64)
            secret = np.zeros(len(index), np.uint8)
            writer.add(BlindBatch(line=lines, index=index, secret=secret, lines=len(index), bad_lines={}))
            done += len(index)
            count = min(1_000_000, more)
            more -= count
            index = _random(draw, count)
    return corpus


def lookup(folder: str, records: str, watched: str) -> dict[str, Any]:
    """Watched items in a corpus that holds one in a thousand of them."""
    from kordant_jobs.adapters.corpus import Corpus, Items

    draw = np.random.default_rng(SEED)
    index = _random(draw, int(watched))
    planted = max(1, int(len(index) * PLANTED_SHARE))
    corpus = Corpus(Path(folder))
    if not corpus.has(DUMP):
        subprocess.run([sys.executable, "-m", __spec__.name, "fill", folder, records, watched], check=True)
    by_index = np.argsort(index[:, 0])
    items = Items(ids=_ids(len(index)).gather(by_index), index=np.ascontiguousarray(index[by_index]))
    corpus.find(DUMP, items)
    seconds, found = [], None
    for _ in range(3):
        began = time.perf_counter()
        found = corpus.find(DUMP, items)
        seconds.append(time.perf_counter() - began)
    assert found is not None  # noqa: S101 - the loop ran
    if set(found["item_id"].to_list()) != {str(item) for item in range(planted)}:
        raise SystemExit(f"{found.height} items were found and {planted} are there")
    peak = peak_mb()
    return {
        "per_s": len(index) / min(seconds),
        "peak_mb": peak,
        "bytes": corpus.size().bytes,
        "peer_per_s": _peer_lookup(Path(folder) / "peer.duckdb", index, planted, int(records)),
    }


def fill(folder: str, records: str, watched: str) -> dict[str, Any]:
    """Make the corpus for `lookup`."""
    from kordant_jobs.adapters.corpus import Corpus

    index = _random(np.random.default_rng(SEED), int(watched))
    planted = max(1, int(len(index) * PLANTED_SHARE))
    corpus_of(Corpus(Path(folder)), index[:planted], int(records) - planted)
    return {}


def _peer_lookup(path: Path, index: npt.NDArray[np.uint64], planted: int, records: int) -> float:
    """DuckDB's semi-join of the same indexes, 64 bits of each, in its own format."""
    import duckdb as engine

    with engine.connect(str(path), config={"threads": 2}) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS c (i UBIGINT)")
        if not connection.execute("SELECT count(*) FROM c").fetchall()[0][0]:
            draw, left = np.random.default_rng(SEED + 1), records - planted
            part = {"i": index[:planted, 0]}
            while len(part["i"]):
                connection.execute("INSERT INTO c SELECT i FROM part")
                part = {"i": _random(draw, min(1_000_000, left))[:, 0]}
                left -= len(part["i"])
        wanted = {"i": index[:, 0]}
        connection.execute("CREATE OR REPLACE TEMP TABLE w AS SELECT i FROM wanted")
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            found = connection.execute("SELECT count(*) FROM w SEMI JOIN c USING (i)").fetchall()[0][0]
            seconds.append(time.perf_counter() - began)
    del wanted
    if found != planted:
        raise SystemExit(f"DuckDB found {found} items and {planted} are there")
    return len(index) / min(seconds)


def _ids(count: int) -> Any:
    import polars as pl

    return pl.Series(range(count)).cast(pl.String)


def retro(subscribers: str, dump_bytes: str) -> dict[str, Any]:
    """Measure the time from a dump in the drop folder to the alert rows."""
    from kordant_jobs.lab.bench.darkwatch_retro import retro_scan

    return retro_scan(int(subscribers), int(dump_bytes))


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "warm-up": warm_up,
    "duckdb": duckdb,
    "scan": scan,
    "ripgrep": ripgrep,
    "ingest": ingest,
    "lookup": lookup,
    "fill": fill,
    "retro": retro,
}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))  # noqa: T201 - for the process that started this one
