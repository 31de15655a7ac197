"""Senders that are killed: a short campaign, the same that `kordant-jobs chaos-notifications` runs at length."""

from __future__ import annotations

from kordant_jobs.cli.chaos.notifications import run_campaign


def test_senders_killed_between_any_two_steps_lose_nothing_and_double_nothing() -> None:
    books = run_campaign(12, seed=7, mails=120, quiet=True)
    assert (books.lost, books.doubled, books.altered) == (0, 0, 0)
    assert books.struck_in_time >= 8
    assert books.copies <= books.counted
