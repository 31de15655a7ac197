"""A short campaign on a real system, and what its books call lost and doubled."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import pytest

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.lab.chaos.campaign import Campaign, Strike, run_campaign
from kordant_jobs.lab.chaos.site import Books


def books(**changes: int) -> Books:
    whole = {"asked": 7, "lost": 0, "doubled": 0, "refused": 0, "unfinished": 0}
    return Books(**{**whole, **changes}, attempts=Counter(success=7))


@pytest.mark.parametrize(
    ("campaign", "missed"),
    [
        (Campaign(strikes=(), books=books(), gave_up=None), set()),
        (Campaign(strikes=(), books=books(lost=1), gave_up=None), {"lost"}),
        (Campaign(strikes=(), books=books(doubled=2), gave_up=None), {"doubled"}),
        (Campaign(strikes=(), books=books(unfinished=1), gave_up="x"), {"unfinished_runs", "late"}),
        (
            Campaign(strikes=(Strike(kind="k", recovered_s=7.1, by_design_s=2.0),), books=books(), gave_up=None),
            {"late", "recovery_worst_s"},
        ),
        (Campaign(strikes=(Strike(kind="k", recovered_s=6.9, by_design_s=2.0),), books=books(), gave_up=None), set()),
    ],
)
def test_what_was_lost_doubled_or_late_misses_its_goal(campaign: Campaign, missed: set[str]) -> None:
    assert {figure.key for figure in campaign.figures() if not figure.met} == missed


def test_the_sink_has_an_effect_once_a_key_and_writes_every_call_down(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kordant_jobs.lab.chaos.sink", str(tmp_path / "ledger")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        answers = []
        for run in ("a", "b"):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/effects", headers={"Idempotency-Key": "7", "Run": run})
            answers.append(connection.getresponse().status)
            connection.close()
        process.kill()
    assert answers == [201, 200]
    lines = [line.rpartition(" ")[0] for line in (tmp_path / "ledger").read_text().splitlines()]
    assert lines == ["7 new a", "7 again b"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_six_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    campaign = run_campaign(6, 5, tmp_path, quiet=True)
    assert campaign.gave_up is None
    assert len(campaign.strikes) == 6
    assert (campaign.books.lost, campaign.books.doubled, campaign.books.unfinished) == (0, 0, 0)
    assert campaign.books.asked > 40
