"""What owners of bank accounts are told, in their language, once; and nothing of their accounts is in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.finance.states import ConsentEnd, EntityKind, NoticeKind
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.jobs.notifications_send.bundle import Bundle, Opened
from kordant_jobs.jobs.notifications_send.channel_senders import compose_push, compose_text
from kordant_jobs.jobs.notifications_send.news import write_finance_message
from kordant_jobs.store.finance import entities, notices
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports.notices import notices as all_notices
from kordant_jobs_tests.jobs.people import subscribe

SOON = datetime(2026, 4, 1, tzinfo=UTC)
CASES = [
    (NoticeKind.NEEDS_USER, {"reason": "login_error"}, "Seu banco recusou o acesso"),
    (NoticeKind.NEEDS_USER, {"reason": "something new"}, "Seu banco precisa de você"),
    (NoticeKind.CONSENT_EXPIRING, {"expires_at": str(SOON)}, "1 de abril de 2026"),
    (NoticeKind.STALE, {"data_as_of": str(SOON)}, "1 de abril de 2026"),
    (NoticeKind.QUARANTINE, {}, "não combina"),
    (NoticeKind.INSIGHT, {"kind": "duplicate"}, "cobrado duas vezes"),
    (NoticeKind.INSIGHT, {"kind": "forecast"}, "saldo pode ficar negativo"),
    *((NoticeKind.CONSENT_ENDED, {"reason": reason.value}, "onsentimento") for reason in ConsentEnd),
]


def test_every_notice_is_a_mail_and_is_queued_once(db: Engine, keyring: Keyring) -> None:
    person = subscribe(db, keyring, "ann@example.com", locale="pt-BR")
    with db.begin() as connection:
        made = entities.create(
            connection, keyring, kind=EntityKind.HOUSEHOLD, name="Silva", subscription_id=person.subscription_id
        )
        given: dict[str, Any]
        for number, (kind, facts, _) in enumerate(CASES):
            given = {"entity_id": made, "connection_id": None, "kind": kind, "key": str(number),
                     "severity": Severity.LOW, "facts": {**facts, "institution": f"Banco {number}"}}  # fmt: skip
            assert notices.queue(connection, **given)
            assert not notices.queue(connection, **given)
        ids = connection.execute(sa.text("SELECT id FROM kordant.notification_outbox")).scalars().all()
        rows = all_notices(connection, ids)
    assert len(rows) == len(CASES)
    about_banks = [row for row in rows if isinstance(row, notices.FinanceNoticeRow)]
    message = write_finance_message(about_banks, "Ann")
    texts = {line.about: line.text for line in (*message.yours, *message.others)}
    for number, (_, _, words) in enumerate(CASES):
        assert words in texts[f"Banco {number}"]
    assert message.subject == f"{len(message.yours)} conexões bancárias precisam de você"
    numbered = [replace(row, facts={**row.facts, "institution": "201"}) for row in about_banks]
    assert "201" not in str(write_finance_message(numbered, "Ann")), "a provider's number of a bank is no name"
    opened = Opened(name="Ann", address="token", identifier="")
    bundle = Bundle(id=rows[0].id, rows=tuple(rows), opened=(opened,) * len(rows))
    assert "Banco" not in compose_push(bundle).body + compose_text(bundle).text


@pytest.mark.parametrize("has_subscription", [True, False])
def test_an_entity_without_a_subscription_has_notices_and_no_mail(
    db: Engine, keyring: Keyring, has_subscription: bool
) -> None:
    person = subscribe(db, keyring, "ann@example.com")
    told = person.subscription_id if has_subscription else None
    with db.begin() as connection:
        made = entities.create(connection, keyring, kind=EntityKind.FIRM, name="X", subscription_id=told)
        notices.queue(connection, entity_id=made, connection_id=None, kind=NoticeKind.STALE, key="a",
                     severity=Severity.LOW, facts={"data_as_of": str(SOON + timedelta(days=1))})  # fmt: skip
        queued = connection.execute(sa.text("SELECT count(*) FROM kordant.notification_outbox")).scalar_one()
    assert queued == int(has_subscription)
