"""Senders that are killed: a short campaign, the same that `kordant-jobs chaos-notifications` runs at length."""

from __future__ import annotations

from kordant_jobs.lab.chaos import messages
from kordant_jobs.lab.chaos.notifications import run_campaign


def test_senders_killed_between_any_two_steps_lose_nothing_and_double_nothing() -> None:
    books = run_campaign(12, seed=7, mails=120, quiet=True)
    assert (books.lost, books.doubled, books.altered) == (0, 0, 0)
    assert books.struck_in_time >= 8
    assert books.copies <= books.counted


def test_senders_of_pushes_and_texts_killed_between_any_two_steps_lose_none_and_show_no_third_copy() -> None:
    books = messages.run_campaign(5, seed=7, receivers=12, quiet=True)
    assert books.struck_in_time >= 3
    assert {book.channel.value for book in books.channels} == {"fcm", "apns", "web_push", "sms"}
    assert [(book.channel.value, book.messages, book.lost, book.too_often) for book in books.channels] == [
        (book.channel.value, 12, 0, 0) for book in books.channels
    ]
    assert all(not book.left for book in books.channels if not book.copies_show)
