"""The judgement of the trial on two hosts, on books that are invented; and a small trial."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from kordant_jobs.errors import SetupError
from kordant_jobs.lab.chaos.hosts.campaign import Struck, late_calls, recoveries, run_campaign
from kordant_jobs.lab.chaos.hosts.network import PROGRAMS, network
from kordant_jobs.lab.chaos.hosts.quota import cpu_quotas
from kordant_jobs.lab.chaos.hosts.site import Attempt, overlap

CUT = Struck(kind="cut_long", host="alpha", at=100.0, over=121.0, probe=9)


def attempt(number: int, run_id: str, *calls: float, worker: str = "alpha") -> Attempt:
    return Attempt(number=number, run_id=run_id, worker=worker, outcome="success", began_at=calls[0], calls=calls)


PROBE = [attempt(9, "p", 100.5, worker="beta")]


@pytest.mark.parametrize(
    ("attempts", "took_s"),
    [
        ([attempt(1, "a", 90, 99), attempt(1, "b", 116, 118)], 16.0),
        ([attempt(1, "a", 90, 99)], 0.5),  # it was not struck: the request right after the fault counts
        ([attempt(1, "a", 80, 85), attempt(1, "b", 90, 99)], 0.5),  # struck by the fault before
    ],
)
def test_a_fault_is_recovered_from_when_all_that_it_struck_began_again(attempts: list[Attempt], took_s: float) -> None:
    assert recoveries([CUT], {1: attempts, 9: PROBE}) == [pytest.approx(took_s)]


def test_calls_of_a_host_that_is_cut_off_are_late_once_the_lease_is_over() -> None:
    calls = {1: [attempt(1, "a", 90, 114.9, 115.1, 120.9, 121.1)], 2: [attempt(2, "b", 90, 118, worker="beta")]}
    assert late_calls([CUT], calls, 15.0) == 2


@pytest.mark.parametrize(("last_of_the_first", "beside"), [(115.9, False), (116.5, True)])
def test_a_run_that_calls_after_its_successor_began_is_beside_it(last_of_the_first: float, *, beside: bool) -> None:
    assert overlap([attempt(1, "b", 116, 118), attempt(1, "a", 90, last_of_the_first)]) is beside


def test_without_the_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"as root|apt-get install iproute2"), network(["alpha"]):
        raise AssertionError


BUSY = "import time\nbegan = time.monotonic()\nwhile time.monotonic() < began + 0.6: pass\nprint(time.process_time())"


def test_a_host_has_the_cpu_time_of_its_quota_and_no_more() -> None:
    with ExitStack() as after:
        try:
            (joining,) = after.enter_context(cpu_quotas(["one"], 0.2)).values()
        except SetupError as error:
            pytest.skip(str(error))
        join = ["sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh", str(joining)]
        busy = [sys.executable, "-S", "-c", BUSY]
        used_s = float(subprocess.run([*join, *busy], capture_output=True, text=True, check=True).stdout)
    assert used_s < 0.3
    assert not joining.parent.exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kind_of_fault_on_two_hosts_loses_and_doubles_nothing() -> None:
    missing = [name for name in (*PROGRAMS, "redis-server") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(
            f"network namespaces need root, iproute2 and redis-server (missing: {', '.join(missing) or 'root'})"
        )
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's: Postgres runs as another user
        campaign = run_campaign(Path(folder), runs=80, faults=8, seed=4, lease_s=5)
    found = {one.key: one.value for one in campaign.figures()}
    goals = ("lost", "doubled", "beside_its_successor", "late_calls", "gave_up", "mails_lost")
    assert {name: found[name] for name in goals} == dict.fromkeys(goals, 0)
    assert found["runs"] >= 80
