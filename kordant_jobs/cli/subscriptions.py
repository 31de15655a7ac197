"""Commands for subscribers: kordant-jobs subscribers create | show | change-tier | pause | resume | cancel, and their
rights: export | correct | consent | forget."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.cli.arguments import (
    FIND,
    Subscriber,
    Subscription,
    actor,
    id_of,
    one_of,
    read_line,
    read_lines,
    refuse_words,
)
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.identifiers import KINDS, IdentifierKind, normalise
from kordant_jobs.domain.notifications.addresses import BadAddress, check_address
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.people.subscriptions import Locale, Purpose, SubscriptionStatus, Tier
from kordant_jobs.domain.schedules.cron import checked_zone
from kordant_jobs.errors import SettingsError
from kordant_jobs.jobs.subscription_changed.service import remove_schedules_for_subscription, schedule_for_subscription
from kordant_jobs.store.people import consents, subscribers, subscriptions, tables
from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber, add
from kordant_jobs.triggers import price_list

subscribers_app = typer.Typer(help="Subscribers: make one, change what they pay for, forget one.", no_args_is_help=True)


def _tier(text: str) -> Tier:
    if text not in set(Tier):
        raise SettingsError(f"{text!r} is no tier; there are {', '.join(Tier)}.")
    return Tier(text)


def served(connection: Connection, subscription_id: UUID) -> dict[str, Any]:
    """A subscription, and its next service by each job.

    Raises:
        SettingsError: there is none of this id.
    """
    found = subscriptions.get(connection, subscription_id)
    if found is None:
        raise SettingsError(f"there is no subscription {subscription_id}.")
    return {
        "subscription": found.id,
        "subscriber": found.subscriber_id,
        "tier": found.tier.value,
        "status": found.status.value,
        "next_due": price_list.next_services(connection, subscription_id, now=datetime.now(UTC)),
    }


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    due = facts.pop("next_due")
    print_facts({**facts, **{f"next {job}": at and f"{at:%Y-%m-%d %H:%M} UTC" for job, at in due.items()}})
    if not due:
        out.print("  nothing runs for it")


def _act(subscription: str, act: Callable[[Connection, UUID], object], *, as_json: bool) -> None:
    with open_session() as session, session.db.begin() as connection:
        subscription_id = id_of(connection, tables.subscriptions.c.id, subscription, "subscription", FIND)
        price_list.ensure(connection)
        act(connection, subscription_id)
        facts = served(connection, subscription_id)
    _show(facts, as_json=as_json)


def _kind_of(typed: str) -> tuple[IdentifierKind, str]:
    """The typed identifier, and its kind: from the word before a colon, else from its form."""
    named, colon, rest = typed.partition(":")
    if colon and named in set(IdentifierKind):
        return IdentifierKind(named), rest
    kind = IdentifierKind.EMAIL if "@" in typed else IdentifierKind.USERNAME
    return IdentifierKind.PHONE if typed.startswith("+") else kind, typed


ABOUT = ("contact", "name")
"""Words before a colon for facts about the subscriber, which are not watched."""


def _person(lines: Sequence[str], *, tier: Tier, locale: Locale, time_zone: str, region: str) -> NewSubscriber:
    """The subscriber that these lines describe.

    Raises:
        SettingsError: a line has an invalid value; the error names its number.
    """
    now = datetime.now(UTC)
    said = dict.fromkeys(ABOUT, "")
    items: dict[tuple[IdentifierKind, str], NewItem] = {}
    for number, line in enumerate(lines, 1):
        word, colon, rest = line.partition(":")
        if colon and word.strip().lower() in said:
            said[word.strip().lower()] = rest.strip()
            continue
        kind, text = _kind_of(line)
        canonical = normalise(kind, text, phone_region=region)
        if canonical is None:
            raise SettingsError(f"line {number} is no {kind}: it looks like {KINDS[kind].example}. Nothing was made.")
        items[kind, canonical] = NewItem(id=uuid7(), kind=kind, canonical=canonical, verified_at=now, created_at=now)
    contact = said["contact"] or next((one.canonical for one in items.values() if one.kind == IdentifierKind.EMAIL), "")
    if not items:
        raise SettingsError("nothing to watch was given: an e-mail address, +phone or user name a line.")
    if not contact:
        raise SettingsError("say where alerts go, with a line `contact: …`.")
    try:
        check_address(Channel.EMAIL, contact)
    except BadAddress as error:
        raise SettingsError(f"the contact is no e-mail address: {error}.") from None
    if any(not one.isprintable() for one in said["name"]):
        raise SettingsError("the name holds characters that nothing can print.")
    return NewSubscriber(
        id=uuid7(), subscription_id=uuid7(), tier=tier, locale=locale, time_zone=time_zone, name=said["name"],
        contact=contact, created_at=now, items=tuple(items.values()),
    )  # fmt: skip


@subscribers_app.command()
def create(
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    tier: Annotated[str, typer.Option(help="basic, plus or premium.")] = Tier.BASIC.value,
    locale: Annotated[str, typer.Option(help="en or pt-BR.")] = Locale.EN.value,
    time_zone: Annotated[str, typer.Option(help="As America/New_York: for quiet hours and dates in mails.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Create a subscriber with a subscription; a first scan is queued at once. Identifiers to watch are typed at a
    prompt, or read from standard input, one on each line: e-mail addresses, +phones, user names; others with their
    kind, as card:4111…. A line `contact: …` is the address for alerts (else the first address), `name: …` the name in
    mails."""
    refuse_words(words or (), "what to watch")
    chosen, spoken = _tier(tier), one_of(Locale, locale, "--locale")
    zone = checked_zone(time_zone)
    lines = read_lines("watch")
    with open_session() as session:
        region = session.settings.phone_region
        person = _person(lines, tier=chosen, locale=spoken, time_zone=zone, region=region)
        with session.db.begin() as connection:
            price_list.ensure(connection)
            add(connection, [person], session.keyring)
            schedule_for_subscription(connection, person.subscription_id, requested_by=actor())
            facts = served(connection, person.subscription_id)
    _show(facts, as_json=as_json)


@subscribers_app.command()
def find(as_json: AsJson = False) -> None:
    """List the subscriptions that watch an identifier, which is typed at a prompt or read from standard input."""
    typed = read_line("identifier", hidden=True)
    named, colon, _ = typed.partition(":")
    kinds = [_kind_of(typed)[0]] if colon and named in set(IdentifierKind) else list(IdentifierKind)
    text = _kind_of(typed)[1]
    with open_session() as session, session.db.connect() as connection:
        region = session.settings.phone_region
        forms = [(kind, normalise(kind, text, phone_region=region)) for kind in kinds]
        indexes = {session.keyring.blind_index(kind, form): kind for kind, form in forms if form is not None}
        if not indexes:
            raise SettingsError("that is no identifier of any kind. Nothing was looked up.")
        found = subscriptions.watching(connection, list(indexes))
    rows = [{**asdict(one), "kind": indexes[index].value} for one, index in found]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ("id", "subscriber_id", "tier", "status", "kind")
        print_table(
            ["subscription", "subscriber", "tier", "status", "watched as"],
            [tuple(row[name] for name in columns) for row in rows],
        )
    else:
        out.print("no subscription watches it")


@subscribers_app.command()
def show(subscription: Subscription, as_json: AsJson = False) -> None:
    """Show a subscription, and its next service by each job."""
    _act(subscription, lambda connection, subscription_id: None, as_json=as_json)


@subscribers_app.command("change-tier")
def change_tier(
    subscription: Subscription,
    tier: Annotated[str, typer.Argument(help="basic, plus or premium.")],
    as_json: AsJson = False,
) -> None:
    """Upgrade or downgrade a subscription; it takes effect at once, and a scan for the new tier is queued."""
    wanted = _tier(tier)

    def act(connection: Connection, subscription_id: UUID) -> None:
        before = subscriptions.set_tier(connection, subscription_id, wanted)
        if before.status is SubscriptionStatus.ACTIVE:
            schedule_for_subscription(connection, subscription_id, requested_by=actor())

    _act(subscription, act, as_json=as_json)


def _rest(subscription: str, to: SubscriptionStatus, *, as_json: bool) -> None:
    def act(connection: Connection, subscription_id: UUID) -> None:
        subscriptions.move(connection, subscription_id, to)
        remove_schedules_for_subscription(connection, subscription_id)

    _act(subscription, act, as_json=as_json)


@subscribers_app.command()
def pause(subscription: Subscription, as_json: AsJson = False) -> None:
    """Pause a subscription: nothing runs for it until it is resumed."""
    _rest(subscription, SubscriptionStatus.PAUSED, as_json=as_json)


@subscribers_app.command()
def resume(subscription: Subscription, as_json: AsJson = False) -> None:
    """Resume a paused or cancelled subscription; a scan is queued at once."""

    def act(connection: Connection, subscription_id: UUID) -> None:
        subscriptions.move(connection, subscription_id, SubscriptionStatus.ACTIVE)
        schedule_for_subscription(connection, subscription_id, requested_by=actor())

    _act(subscription, act, as_json=as_json)


@subscribers_app.command()
def cancel(subscription: Subscription, as_json: AsJson = False) -> None:
    """End a subscription: nothing runs or waits for it any more; its alerts stay on record."""
    _rest(subscription, SubscriptionStatus.CANCELLED, as_json=as_json)


def known_subscriber(connection: Connection, text: str) -> UUID:
    """The typed id of a subscriber who was not forgotten."""
    column = tables.subscribers.c
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


@subscribers_app.command("forget")
def subscribers_forget(
    subscriber: Subscriber,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete all data of a subscriber for good: identifiers, exposures, alerts, mails, reports, keys; also their bank
    connections at the providers."""
    from kordant_jobs.adapters.banks.registry import open_banks
    from kordant_jobs.adapters.report_storage import open_report_storage
    from kordant_jobs.privacy.forget import forget

    with open_session() as session:
        with session.db.connect() as connection:
            subscriber_id = id_of(connection, tables.subscribers.c.id, subscriber, "subscriber", FIND)
        if not yes and not typer.confirm(f"Delete everything that is kept of {subscriber_id}, for good"):
            raise typer.Exit(1)
        settings = session.settings
        done = forget(
            subscriber_id,
            db=session.db,
            keyring=session.keyring,
            banks=open_banks(settings),
            storage=open_report_storage(settings),
            maildir=settings.mails,
        )
        if done is None:
            raise SettingsError(f"there is no subscriber {subscriber_id}, or they were forgotten before.")
    documents = len(done.erased.documents) - done.documents_left
    facts = {
        "subscriber": subscriber_id,
        "deleted now": {
            "identifiers": done.erased.identifiers,
            "exposures": done.erased.exposures,
            "alerts": done.erased.alerts,
            "enrolled voices": done.erased.voices,
            "clips of voices": done.erased.clips,
            "consents to voices": done.erased.consents,
            "notifications": len(done.erased.messages),
            "mails in the maildir": done.mails,
            "documents": documents,
        },
        "their key": done.scrubbed.words,
        "documents still to be deleted": done.documents_left,
        "not reached": "backups and replicas of the database, mails that a mail server has taken",
    }
    print_json(facts) if as_json else print_facts(facts)
