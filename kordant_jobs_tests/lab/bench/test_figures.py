"""What a bench says: figures against goals, as JSON, and the exit code."""

from __future__ import annotations

import json

import pytest

from kordant_jobs.errors import TransientError
from kordant_jobs.lab.bench.engine import Load, Measured, figures
from kordant_jobs.lab.bench.soak import RestingSizes
from kordant_jobs.lab.bench.soak import figures as soak_figures
from kordant_jobs.lab.figures import Figure, finish

LOAD = Load(events=100, runs=100, coalesced=10_000, backlog=1_000)
KEYS = {
    "event_to_op_p50_s",
    "event_to_op_p99_s",
    "queued_100_s",
    "cpu_per_run_s",
    "coalesced_10k_s",
    "critical_behind_1000_s",
    "idle_core_share",
    "peak_rss_mb",
}


def measured(by: float = 1.0) -> Measured:
    return Measured(
        latencies_s=[0.05 * by] * 99 + [0.4 * by],
        queued_s=4.0 * by,
        cpu_per_run_s=0.05 * by,
        postgres_cpu_per_run_s=0.01 * by,
        coalesced_s=2.0 * by,
        critical_s=0.5 * by,
        idle_core_share=0.01 * by,
        peak_rss_mb=500.0,
    )


def of(found: list[Figure], key: str) -> Figure:
    return next(figure for figure in found if figure.key == key)


def test_the_engine_bench_has_every_promised_key_with_its_goal() -> None:
    found = figures(measured(), None, LOAD)
    assert {figure.key for figure in found} >= KEYS
    assert of(found, "event_to_op_p99_s").value == 0.4
    assert all(figure.met and figure.peer is None for figure in found)
    assert not all(figure.met for figure in figures(measured(by=3), None, LOAD))


def test_the_peers_queue_is_reckoned_up_to_as_many_runs_as_ours() -> None:
    queued = of(figures(measured(), measured(by=10), LOAD), "queued_100_s")
    assert queued.peer_value == 40.0 * LOAD.runs / LOAD.for_peer().runs
    assert queued.ratio == queued.peer_value / 4.0


@pytest.mark.parametrize(("value", "code"), [(0.9, 0), (1.1, 1)])
def test_a_missed_goal_is_exit_code_1(value: float, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure(key="x_s", value=value, unit="s", goal=1.0, peer="p", peer_value=2 * value)
    assert finish("thing", lambda: [figure], as_json=True) == code
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], set(said["machine"]) >= {"cpus"}) == ("thing", True)
    expected = {"key", "value", "unit", "goal", "direction", "peer", "peer_value", "row", "ratio", "met"}
    assert set(said["figures"][0]) == expected
    assert (said["figures"][0]["ratio"], said["figures"][0]["met"]) == (2.0, not code)


def test_what_could_not_run_is_exit_code_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[Figure]:
        raise TransientError("no Postgres")

    assert finish("thing", broken, as_json=True) == 2
    assert capsys.readouterr().err.strip() == "bench thing could not run: no Postgres"


def test_a_soak_fails_on_what_grew_was_lost_or_ran_twice() -> None:
    before = RestingSizes(database_mb=20.0, memory_mb={"daemon": 100.0})
    good = soak_figures(before, before, [1, 2], [2, 1], runs_per_s=10)
    assert all(figure.met for figure in good)
    after = RestingSizes(database_mb=23.0, memory_mb={"daemon": 111.0})
    bad = soak_figures(before, after, [1, 2, 3], [1, 1, 2], runs_per_s=10)
    missed = {figure.key for figure in bad if not figure.met}
    assert missed == {"database_change", "daemon_growth", "lost", "run_twice"}
