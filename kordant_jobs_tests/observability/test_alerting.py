"""Each alert rule fires by its cause, within its window, and at nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Engine

from kordant_jobs.domain.operators.alert_rules import (
    BY_NAME,
    DEFAULT_RULES,
    AlertRule,
    AlertState,
    NoticeKind,
    Standing,
    move,
)
from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.observability.alerting import (
    HERE,
    UNCLAIMED,
    Machine,
    evaluate,
    measured,
    measures,
)
from kordant_jobs_tests.observability.alerts import CAUSES, NOW, REQUEST, Heard, attempts, run

DEPTHS = (
    "INSERT INTO kordant.queue_depths SELECT 'cleanup', date_trunc('minute', now()) - make_interval(mins => n), {due} "
    "FROM generate_series(1, 30) n"
)
"""What was due in the minutes before; n minutes ago."""


@contextmanager
def told_once(db: Engine, rule: str, well: Machine = HERE, fault: Machine = HERE) -> Iterator[None]:
    """Around the end of a cause that is there already, or is `fault`: that it is told once, and so is its end."""
    heard = Heard()
    for _ in range(3):
        evaluate(db, heard, fault)
    assert len([title for _, title in heard.told if f"page: {rule}" in title]) == 1
    yield
    for _ in range(3):
        evaluate(db, heard, well)
    assert len([title for _, title in heard.told if title.startswith(f"resolved: {rule}")]) == 1


def at_once(db: Engine, rule: str, machine: Machine = HERE) -> None:
    """Have the rule fire as soon as its cause is there, which it is not yet."""
    run(db, f"INSERT INTO kordant.alert_rules SELECT '{rule}', 1, 'page', {BY_NAME[rule].fires_at}, "
            f"{BY_NAME[rule].clears_at}, 0, true, 'test'")  # fmt: skip
    assert evaluate(db, Heard(), machine).fired == 0


class _Room(NamedTuple):
    """A file system as statvfs gives it."""

    f_bavail: int = 90
    f_blocks: int = 100
    f_favail: int = 90
    f_files: int = 100


def test_every_rule_has_a_cause_and_is_measured() -> None:
    """The cause and its end are told below; that a healthy month raises none is in `test_healthy_month`, which
    evaluates every rule that is measured."""
    by_machine = {"standby_missing", "disk", "replica_clock"}  # told below, each in a test of its own
    measured_here = {rule for rules in measures(HERE) for rule in rules}
    assert {*CAUSES, *by_machine, UNCLAIMED} == set(BY_NAME) == {*measured_here, UNCLAIMED}


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda one: one.name)
def test_a_rule_fires_within_its_window_and_not_before(rule: AlertRule) -> None:
    made = move(rule, None, rule.fires_at, now=NOW)
    if rule.for_s:
        assert (made.state, made.notice) == (AlertState.PENDING, None)
        pending = Standing(state=AlertState.PENDING, since=NOW)
        assert move(rule, pending, rule.fires_at, now=NOW + timedelta(seconds=rule.for_s - 1)).notice is None
        made = move(rule, pending, rule.fires_at, now=NOW + timedelta(seconds=rule.for_s))
    assert (made.state, made.notice) == (AlertState.FIRING, NoticeKind.FIRED)
    assert move(rule, None, rule.fires_at * 0.999, now=NOW).state is None


@pytest.mark.parametrize("rule", CAUSES)
def test_a_cause_is_notified_once_and_so_is_its_end(db: Engine, rule: str) -> None:
    at_once(db, rule)
    run(db, CAUSES[rule][0])
    with told_once(db, rule):
        run(db, CAUSES[rule][1])


def test_a_daemon_without_a_standby_is_notified_once(db: Engine, database_url: str) -> None:
    leader, standby, next_standby = (Leader(database_url) for _ in range(3))
    assert (leader.still(), standby.still()) == (True, False)
    at_once(db, "standby_missing")
    standby.release()
    with told_once(db, "standby_missing"):
        assert not next_standby.still()
    leader.release()
    next_standby.release()


@pytest.mark.parametrize("full", [_Room(f_bavail=4), _Room(f_favail=0)], ids=["bytes", "inodes"])
def test_a_disk_that_fills_is_notified_once(
    db: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: _Room
) -> None:
    machine = Machine(folders={"state": tmp_path, "drop": tmp_path, "reports": tmp_path / "not-there"})
    monkeypatch.setattr(os, "statvfs", lambda _: _Room(f_files=0))  # a file system without a number of inodes
    at_once(db, "disk", machine)
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with told_once(db, "disk", well=machine, fault=machine):
        monkeypatch.setattr(os, "statvfs", lambda _: _Room())


@pytest.mark.parametrize("off_s", [-3, 3])
def test_a_clock_that_is_off_is_notified_once(db: Engine, off_s: int) -> None:
    at_once(db, "replica_clock")
    fault = Machine(clock=lambda: datetime.now(UTC) + timedelta(seconds=off_s))
    with told_once(db, "replica_clock", fault=fault):
        """The clock is set."""


def test_a_clip_that_no_run_accepts_is_notified_once_and_so_is_its_end(db: Engine, tmp_path: Path) -> None:
    heard, old = Heard(), datetime.now(UTC).timestamp() - 2 * 3600
    for name, written_at in (("call from Ana.wav", old), ("just now.wav", old + 2 * 3600)):
        (tmp_path / name).write_bytes(b"sound")
        os.utime(tmp_path / name, (written_at, written_at))
    for _ in range(2):
        evaluate(db, heard, Machine(voice_drop=tmp_path))
    assert heard.told == [(0, "ticket: clips_unclaimed no id in the name")]
    evaluate(db, heard)
    evaluate(db, heard, Machine(voice_drop=tmp_path / "of another machine"))
    assert len(heard.told) == 1
    (tmp_path / "call from Ana.wav").unlink()
    for _ in range(2):
        evaluate(db, heard, Machine(voice_drop=tmp_path))
    assert heard.told[1:] == [(0, "resolved: clips_unclaimed no id in the name")]


def test_failures_burn_in_both_windows_or_not_at_all(db: Engine) -> None:
    heard = Heard()
    attempts(db, "cleanup", "success", 60, minutes_ago=50)
    attempts(db, "cleanup", "failure", 30, minutes_ago=30)
    evaluate(db, heard)
    assert not [title for _, title in heard.told if "failure_rate_high" in title]  # it is over: five minutes are clean
    attempts(db, "cleanup", "failure", 5)
    evaluate(db, heard)
    assert [title for _, title in heard.told if "failure_rate_high" in title] == ["page: failure_rate_high cleanup"]
    attempts(db, "cleanup", "success", 5000)
    evaluate(db, heard)
    ended = {title for _, title in heard.told if title.startswith("resolved")}
    assert ended == {"resolved: failure_rate_high cleanup", "resolved: failure_rate_slow cleanup"}


def test_one_failure_in_a_quiet_hour_is_no_rate(db: Engine) -> None:
    heard = Heard()
    attempts(db, "cleanup", "failure", 3)
    evaluate(db, heard)
    assert heard.told == []


def test_unknown_verdicts_rise_against_their_own_week(db: Engine) -> None:
    """A share that is a little above its usual one is no news."""
    run(db, CAUSES["unknown_rising"][0], CAUSES["unknown_rising"][1].replace("n <= 2", "n <= 5"))
    heard = Heard()
    evaluate(db, heard)
    assert heard.told == []
    run(db, CAUSES["unknown_rising"][1].replace("n <= 2", "n <= 8"))
    evaluate(db, heard)
    assert heard.told == [(0, "ticket: unknown_rising hibp")]


def test_a_month_of_ordinary_noise_raises_nothing() -> None:
    rng, rule, standing, told = random.Random(7), BY_NAME["queue_backlog"], None, 0
    at = NOW
    for _ in range(30 * 24 * 60):
        at += timedelta(minutes=1)
        waits = max(0.0, rng.gauss(30, 40)) if rng.random() > 0.001 else 950.0  # a burst now and then, for a minute
        made = move(rule, standing, waits, now=at)
        told += made.notice is not None
        standing = None if made.state in {None, AlertState.RESOLVED} else Standing(
            state=made.state or AlertState.PENDING, since=at if standing is None else standing.since
        )  # fmt: skip
    assert told == 0


def test_a_burst_that_goes_away_quickly_is_no_backlog(db: Engine) -> None:
    due = REQUEST.replace("20 min", "1 min")
    run(db, f"{due} 'test', 'pending', NULL, NULL FROM generate_series(1, 200)")
    run(db, f"{due} 'test', 'completed', now() - interval '1 s', NULL FROM generate_series(1, 90)")
    run(db, DEPTHS.format(due="CASE WHEN n < 3 THEN 100 * (3 - n) ELSE 0 END"))  # it came within three minutes
    with db.begin() as connection:
        values, _ = measured(connection, now=datetime.now(UTC))
    assert 60 <= values["queue_backlog", "cleanup"] < 70  # how long the oldest waits
    assert evaluate(db, Heard()).fired == 0


def test_a_queue_that_grows_faster_than_it_is_served_is_notified_before_anything_is_late(db: Engine) -> None:
    due = REQUEST.replace("20 min", "1 min")
    run(db, f"{due} 'test', 'pending', NULL, NULL FROM generate_series(1, 2000)")
    run(db, f"{due} 'test', 'completed', now() - interval '1 s', NULL FROM generate_series(1, 90)")
    for growth, is_told in (("1900 + n", False), ("1900 - 50 * n", True)):
        run(db, "DELETE FROM kordant.queue_depths", DEPTHS.format(due=growth))
        with db.begin() as connection:
            values, _ = measured(connection, now=datetime.now(UTC))
        assert (values["queue_backlog", "cleanup"] > 900) is is_told  # 2,000 at 90 a minute take 22 minutes
