"""A scan that is killed at any moment and run again leaves the same rows as one that was left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.dagster_home import prepare_dagster_home
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.postgres import database
from kordant_jobs.settings import Settings
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import SETTLED, Bench, bench_in

pytestmark = pytest.mark.long

KEPT = {"TalkTavern", "SpamSpire"}
"""Two dumps of the ten are enough: SQL, and one whose exposures are not told."""


class Worker:
    """The forking process and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, job: str, *, kill_after_s: float | None = None) -> tuple[int, float]:
        """Run a job; its exit code (negative: the signal) and how long it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        pid, started = int(self._said()), time.monotonic()
        if kill_after_s is not None:
            timer = threading.Timer(kill_after_s, _kill, [pid])
            timer.start()
        code = int(self._said().removeprefix("ended "))
        if kill_after_s is not None:
            timer.cancel()
        return code, time.monotonic() - started


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def _worker(settings: Settings, database_url: str) -> Iterator[Worker]:
    environ = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_dagster_home(CHECKOUT, settings.state_dir)),
        "KORDANT_DAGSTER_URL": database.dagster_url(database_url),
        "KORDANT_BREACH_CATALOGUE": str(settings.state_dir / "catalogue.json"),
        "POLARS_MAX_THREADS": "1",
    }
    module = "kordant_jobs_tests.jobs.darkwatch_scan.forking"
    with subprocess.Popen(
        [sys.executable, "-m", module], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Worker(process)
        assert process.stdin is not None
        process.stdin.close()


def _forget_scan(bench: Bench) -> None:
    """Back to where nothing was dropped yet; the people stay."""
    tables = "alerts, exposures, exposure_evidence, notification_outbox, source_verdicts, scan_watermarks, breach_dumps"
    qualified = ", ".join(f"kordant.{name}" for name in tables.split(", "))
    with bench.db.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {qualified} CASCADE"))


def _rows(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    """All that a scan leaves, without the ids that dumps get when they are registered and without clock readings."""
    return {
        "exposures": bench.rows(
            "SELECT e.item_id, b.source, b.title, e.secret, e.judgement, a.severity, v.line, v.occurrences,"
            " d.file_label"
            " FROM kordant.exposures e JOIN kordant.breaches b ON b.name = e.breach_name"
            " JOIN kordant.exposure_evidence v ON v.exposure_id = e.id JOIN kordant.breach_dumps d ON d.id = v.dump_id"
            " LEFT JOIN kordant.alerts a ON a.exposure_id = e.id ORDER BY 1, 3, 9"
        ),
        "alerts": bench.rows("SELECT count(*), count(DISTINCT exposure_id) FROM kordant.alerts"),
        "outbox": bench.rows(
            "SELECT status, count(*), count(DISTINCT alert_id) FROM kordant.notification_outbox GROUP BY 1"
        ),
        "verdicts": bench.rows(
            "SELECT subscription_id, source, verdict, reason, exposures, new_exposures"
            " FROM kordant.source_verdicts ORDER BY 1"
        ),
        "dumps": bench.rows(
            "SELECT file_label, status, lines, records, bad_lines::text, breach_name"
            " FROM kordant.breach_dumps ORDER BY 1"
        ),
        "files": [(sum(1 for path in bench.folder.iterdir()),)],
    }


@dataclass(frozen=True)
class World:
    """A small invented world whose dumps can be dropped again and again, and a worker to scan them."""

    bench: Bench
    worker: Worker
    dumps: Path
    corpus: Path

    def start_over(self) -> None:
        """Back to where everything was just dropped and nothing scanned."""
        _forget_scan(self.bench)
        shutil.rmtree(self.corpus, ignore_errors=True)
        shutil.rmtree(self.bench.folder, ignore_errors=True)
        shutil.copytree(self.dumps, self.bench.folder)
        for path in self.bench.folder.iterdir():
            os.utime(path, (SETTLED, SETTLED))


@pytest.fixture
def world(db: Engine, keyring: Keyring, settings: Settings, database_url: str, tmp_path: Path) -> Iterator[World]:
    bench = bench_in(settings.state_dir, db, keyring)
    population = make_population(7, 300)
    dump_set = write_dumps(population, tmp_path / "dumps", seed=7, lines=20_000)
    for file in dump_set.files:
        if file.name.split(".")[0] not in KEPT:
            (tmp_path / "dumps" / file.name).unlink()
    (settings.state_dir / "catalogue.json").write_text(json.dumps(make_catalogue(7)))
    with db.begin() as connection:
        subscribers.add(connection, new_subscribers(population, datetime.now(UTC)), keyring)
    with _worker(settings, database_url) as worker:
        yield World(bench=bench, worker=worker, dumps=tmp_path / "dumps", corpus=settings.corpus)


def _undisturbed(world: World) -> tuple[dict[str, list[tuple[object, ...]]], float]:
    """The rows of a scan that was left alone, and how long it took (the second one: the first makes tables)."""
    for _ in range(2):
        world.start_over()
        code, seconds = world.worker.run("darkwatch_scan")
        assert code == 0
    rows = _rows(world.bench)
    assert len(rows["exposures"]) > 10
    return rows, seconds


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [pytest.param(n, marks=pytest.mark.slow) for n in (3, 10)])
def test_killed_at_random_moments_and_run_again_the_rows_are_the_same(world: World, kills: int) -> None:
    wanted, seconds = _undisturbed(world)
    chance = random.Random(20_26)
    killed = 0
    for _ in range(kills):
        world.start_over()
        code, _ = world.worker.run("darkwatch_scan", kill_after_s=chance.uniform(0, seconds))
        killed += code == -signal.SIGKILL
        assert world.worker.run("darkwatch_scan")[0] == 0
        assert _rows(world.bench) == wanted
    assert killed >= kills // 2, "most kills must hit a live run"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_when_the_database_goes_away_in_the_middle_the_next_run_makes_it_whole(world: World) -> None:
    wanted, seconds = _undisturbed(world)
    chance = random.Random(26_20)
    for _ in range(2):
        world.start_over()
        cut = threading.Timer(chance.uniform(0.2, 0.9) * seconds, _cut_connections, [world.bench.db])
        cut.start()
        world.worker.run("darkwatch_scan")
        cut.join()
        world.bench.db.dispose()
        assert world.worker.run("darkwatch_scan")[0] == 0
        assert _rows(world.bench) == wanted


def _cut_connections(db: Engine) -> None:
    """What a restart of Postgres does to its clients, for this database alone."""
    with db.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
