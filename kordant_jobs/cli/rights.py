"""A person's rights to their data: kordant-jobs subscribers export | correct | consent."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Connection

from kordant_jobs.cli.arguments import Subscriber, actor, id_of, one_of, read_lines
from kordant_jobs.cli.data import FIND
from kordant_jobs.cli.output import AsJson, err, out, print_json
from kordant_jobs.cli.session import open_session
from kordant_jobs.cli.subscriptions import subscribers_app
from kordant_jobs.domain.notifications.addresses import BadAddress, check_address
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.people.consents import Purpose
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people import consents

__all__ = ["subscribers_app"]


def known_subscriber(connection: Connection, text: str) -> UUID:
    """The typed id of a subscriber who was not forgotten."""
    from kordant_jobs.store.people.tables import subscribers

    column = subscribers.c
    subscriber_id = id_of(connection, column.id, text, "subscriber", FIND)
    there = sa.exists().where(column.id == subscriber_id, column.forgotten_at.is_(None))
    if not connection.execute(sa.select(there)).scalar():
        raise SettingsError(f"there is no subscriber {subscriber_id}, or they were forgotten.")
    return subscriber_id


@subscribers_app.command()
def export(
    subscriber: Subscriber,
    to: Annotated[Path | None, typer.Option("--to", help="A file to make, mode 0600; else standard output.")] = None,
) -> None:
    """Print all data of a subscriber, decrypted, as JSON: with purposes, sources, and other places with their data."""
    from kordant_jobs.privacy.held import stored_data

    with open_session() as session, session.db.connect() as connection:
        subscriber_id = known_subscriber(connection, subscriber)
        found = stored_data(connection, session.keyring, subscriber_id)
        settings = session.settings
        document = {
            "subscriber": subscriber_id,
            "as of": datetime.now(UTC),
            "held": [asdict(one) for one in found],
            "elsewhere": {
                "documents": f"{settings.reports_url or settings.reports}: the storage_key of each report",
                "mails": f"{settings.mails}, {settings.keep_mails_days:g} days: by ids of kordant.notification_outbox",
                "breach dumps": "keyed hashes of all that stood in them, from which nothing can be read",
            },
        }
    text = json.dumps(document, default=str, ensure_ascii=False, indent=2)
    if to is None:
        out.print(text)
        return
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    err.print(f"{to}: {sum(len(one.rows) for one in found):,} rows of {len(found)} tables")


@subscribers_app.command()
def correct(subscriber: Subscriber, as_json: AsJson = False) -> None:
    """Correct a subscriber's data: lines `contact: …`, `name: …`, typed at a prompt or read from standard input."""
    from kordant_jobs.store.people import subscribers

    said: dict[str, str] = {}
    for number, line in enumerate(read_lines("contact: … or name: …"), 1):
        word, colon, rest = line.partition(":")
        if not colon or word.strip().lower() not in {"contact", "name"}:
            raise SettingsError(f"line {number} begins neither `contact:` nor `name:`. Nothing was changed.")
        said[word.strip().lower()] = rest.strip()
    if not said:
        raise SettingsError("nothing was given: write a line `contact: …` or `name: …`.")
    if "contact" in said:
        try:
            check_address(Channel.EMAIL, said["contact"])
        except BadAddress as error:
            raise SettingsError(f"the contact is no e-mail address: {error}.") from None
    if not said.get("name", "").isprintable():
        raise SettingsError("the name holds characters that nothing can print.")
    with open_session() as session, session.db.begin() as connection:
        subscriber_id = known_subscriber(connection, subscriber)
        subscribers.correct(connection, session.keyring, subscriber_id, said)
    facts: dict[str, Any] = {"subscriber": subscriber_id, "corrected": sorted(said)}
    print_json(facts) if as_json else out.print(f"{subscriber_id}: {' and '.join(sorted(said))} corrected")


@subscribers_app.command()
def consent(
    subscriber: Subscriber,
    purpose: Annotated[str, typer.Argument(help=", ".join(Purpose) + ".")],
    how: Annotated[str | None, typer.Option("--how", help="How they agreed, as 'the form of 2026-11'.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="They agree no longer.")] = False,
) -> None:
    """Record that a subscriber has agreed to something, or withdrawn that. `subscribers export` shows the record."""
    wanted = one_of(Purpose, purpose, "purpose")
    if not withdraw and not how:
        raise SettingsError("say with --how how they agreed.")
    with open_session() as session, session.db.begin() as connection:
        subscriber_id = known_subscriber(connection, subscriber)
        if withdraw:
            done = consents.withdraw(connection, subscriber_id, wanted)
        else:
            by = actor()
            done = consents.give(connection, subscriber_id, wanted, how=how or "", by=by)
    out.print(("withdrawn" if withdraw else "recorded") if done else "nothing changes")
