"""The bench measures what it says, and refuses to give figures for mails that got lost."""

from __future__ import annotations

from kordant_jobs.lab.bench.notifications import measure


def test_it_sends_every_mail_by_each_way_and_gives_the_promised_key_a_peer() -> None:
    figures = {one.key: one for one in measure(mails=100)}
    assert set(figures) == {"mails_per_s", "sent_only_per_s"}
    promised = figures["mails_per_s"]
    assert promised.peer_value is not None
    assert promised.goal == 2 * promised.peer_value
    assert promised.direction == "min"
