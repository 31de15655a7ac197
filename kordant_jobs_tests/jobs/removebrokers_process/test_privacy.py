from __future__ import annotations

import io
from typing import Any

import sqlalchemy as sa

from kordant_jobs.store.people import subscribers
from kordant_jobs.store.removals import replies, requests
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk


def everything(desk: Desk) -> str:
    """All rows of all our tables, as text."""
    found = []
    with desk.db.connect() as connection:
        names = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'kordant'")).scalars()
        raw: Any = connection.connection.driver_connection
        for name in names.all():
            buffer = io.StringIO()
            with raw.cursor() as cursor:
                cursor.copy_expert(f"COPY kordant.{name} TO STDOUT", buffer)
            found.append(buffer.getvalue())
    return "\n".join(found)


def test_no_identifier_and_no_word_of_a_reply_stands_anywhere_in_clear_and_forgetting_takes_all(desk: Desk) -> None:
    brokers = add_brokers(desk.db, [broker_row("spoken")])
    person = add_profiled(desk.db, desk.keyring, name="Zebedee Quux", contact="zq@mail.example")
    [request] = ask(desk.db, person, list(brokers.values()))
    desk.run()
    desk.reply(request, "Dear Zebedee Quux, we have deleted your profile. Ticket #774411", subject="Ticket")
    with desk.db.connect() as connection:
        [reply] = requests.story(connection, request).replies
        opened = replies.opened(connection, desk.keyring, reply.id)
    assert opened is not None
    assert "Zebedee" in opened[1]
    kept = everything(desk)
    for word in ("Zebedee", "Quux", "zq@mail", "Fresno", "774411", "deleted your profile"):
        assert word not in kept
        assert word.encode().hex() not in kept
    with desk.db.begin() as connection:
        erased = subscribers.forget(connection, person.subscriber_id)
    assert erased is not None
    assert len(erased.messages) >= 1
    with desk.db.connect() as connection:
        for name in ("requests", "events", "messages", "replies", "references", "disclosures", "profiles"):
            count = connection.execute(sa.text(f"SELECT count(*) FROM kordant.removal_{name}")).scalar_one()
            assert count == 0, name
