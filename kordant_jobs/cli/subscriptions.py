"""Commands on one subscription: kordant-jobs subscribers create | show | change-tier | pause | resume | cancel."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.cli.data import AsJson, subscribers_app
from kordant_jobs.cli.output import out, print_facts, print_json
from kordant_jobs.domain.identifiers import KINDS, IdentifierKind, normalise
from kordant_jobs.domain.people.subscriptions import Locale, SubscriptionStatus
from kordant_jobs.domain.people.tiers import Tier
from kordant_jobs.domain.schedules.cadence import next_due
from kordant_jobs.errors import SettingsError

__all__ = ["subscribers_app"]

SubscriptionId = Annotated[str, typer.Argument(help="The subscription's id.")]


def _tier(text: str) -> Tier:
    if text not in set(Tier):
        raise SettingsError(f"{text!r} is no tier; there are {', '.join(Tier)}.")
    return Tier(text)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no subscription id; `subscribers create` prints one.") from None


def _by() -> str:
    return f"cli:{getpass.getuser()}"


def served(connection: Connection, subscription_id: UUID) -> dict[str, Any]:
    """A subscription, and when each job serves it next.

    Raises:
        SettingsError: there is none of this id.
    """
    from kordant_jobs.store.people import subscriptions
    from kordant_jobs.store.schedules import config as scheduler_config
    from kordant_jobs.store.schedules import due_slots

    found = subscriptions.get(connection, subscription_id)
    if found is None:
        raise SettingsError(f"there is no subscription {subscription_id}.")
    rows = {one.row.key: one for one in scheduler_config.load(connection).rows}
    now = datetime.now(UTC)
    due = {}
    for slot in due_slots.of_subscription(connection, subscription_id):
        stored = rows.get((slot.job, slot.tier))
        due[slot.job] = stored and next_due(stored.row, slot.anchor, slot.slot, now)
    return {
        "subscription": found.id,
        "subscriber": found.subscriber_id,
        "tier": found.tier.value,
        "status": found.status.value,
        "next_due": due,
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
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.triggers import price_list

    subscription_id = _uuid(subscription)
    with open_session() as session, session.db.begin() as connection:
        price_list.ensure(connection)
        act(connection, subscription_id)
        facts = served(connection, subscription_id)
    _show(facts, as_json=as_json)


def _kind_of(typed: str) -> tuple[IdentifierKind, str]:
    """What was typed, and its kind: by the word before a colon, else by its look."""
    named, colon, rest = typed.partition(":")
    if colon and named in set(IdentifierKind):
        return IdentifierKind(named), rest
    kind = IdentifierKind.EMAIL if "@" in typed else IdentifierKind.USERNAME
    return IdentifierKind.PHONE if typed.startswith("+") else kind, typed


@subscribers_app.command()
def create(
    watch: Annotated[
        list[str], typer.Argument(help="What to watch: e-mail addresses, +phones, user names; others as card:4111….")
    ],
    tier: Annotated[str, typer.Option(help="basic, plus or premium.")] = Tier.BASIC.value,
    contact: Annotated[str | None, typer.Option(help="Where alerts go; else the first e-mail address.")] = None,
    name: Annotated[str, typer.Option(help="How mails address them.")] = "",
    locale: Annotated[str, typer.Option(help="en or pt-BR.")] = Locale.EN.value,
    as_json: AsJson = False,
) -> None:
    """Make a subscriber with a subscription; a first scan is queued at once."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.jobs.subscription_changed.service import schedule_for_subscription
    from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber, add
    from kordant_jobs.triggers import price_list

    if locale not in set(Locale):
        raise SettingsError(f"--locale: choose one of {', '.join(Locale)}.")
    now = datetime.now(UTC)
    items = []
    for typed in watch:
        kind, text = _kind_of(typed)
        canonical = normalise(kind, text)
        if canonical is None:
            raise SettingsError(f"one of the words is no {kind}: it looks like {KINDS[kind].example}.")
        items.append(NewItem(id=uuid7(), kind=kind, canonical=canonical, verified_at=now, created_at=now))
    address = contact or next((item.canonical for item in items if item.kind == IdentifierKind.EMAIL), None)
    if address is None:
        raise SettingsError("--contact: say where alerts go.")
    person = NewSubscriber(
        id=uuid7(), subscription_id=uuid7(), tier=_tier(tier), locale=locale, time_zone="UTC", name=name,
        contact=address, created_at=now, items=tuple(items),
    )  # fmt: skip
    with open_session() as session, session.db.begin() as connection:
        price_list.ensure(connection)
        add(connection, [person], session.keyring)
        schedule_for_subscription(connection, person.subscription_id, requested_by=_by())
        facts = served(connection, person.subscription_id)
    _show(facts, as_json=as_json)


@subscribers_app.command()
def show(subscription: SubscriptionId, as_json: AsJson = False) -> None:
    """A subscription, and when each job serves it next."""
    _act(subscription, lambda connection, subscription_id: None, as_json=as_json)


@subscribers_app.command("change-tier")
def change_tier(
    subscription: SubscriptionId,
    tier: Annotated[str, typer.Argument(help="basic, plus or premium.")],
    as_json: AsJson = False,
) -> None:
    """Upgrade or downgrade; it counts at once, and what is new for it is scanned for."""
    from kordant_jobs.jobs.subscription_changed.service import schedule_for_subscription
    from kordant_jobs.store.people import subscriptions

    wanted = _tier(tier)

    def act(connection: Connection, subscription_id: UUID) -> None:
        before = subscriptions.set_tier(connection, subscription_id, wanted)
        if before.status is SubscriptionStatus.ACTIVE:
            schedule_for_subscription(connection, subscription_id, requested_by=_by())

    _act(subscription, act, as_json=as_json)


def _rest(subscription: str, to: SubscriptionStatus, *, as_json: bool) -> None:
    from kordant_jobs.jobs.subscription_changed.service import remove_schedules_for_subscription
    from kordant_jobs.store.people import subscriptions

    def act(connection: Connection, subscription_id: UUID) -> None:
        subscriptions.move(connection, subscription_id, to)
        remove_schedules_for_subscription(connection, subscription_id)

    _act(subscription, act, as_json=as_json)


@subscribers_app.command()
def pause(subscription: SubscriptionId, as_json: AsJson = False) -> None:
    """Have nothing run for a subscription until it is resumed."""
    _rest(subscription, SubscriptionStatus.PAUSED, as_json=as_json)


@subscribers_app.command()
def resume(subscription: SubscriptionId, as_json: AsJson = False) -> None:
    """Serve a paused or cancelled subscription again; a scan is queued at once."""
    from kordant_jobs.jobs.subscription_changed.service import schedule_for_subscription
    from kordant_jobs.store.people import subscriptions

    def act(connection: Connection, subscription_id: UUID) -> None:
        subscriptions.move(connection, subscription_id, SubscriptionStatus.ACTIVE)
        schedule_for_subscription(connection, subscription_id, requested_by=_by())

    _act(subscription, act, as_json=as_json)


@subscribers_app.command()
def cancel(subscription: SubscriptionId, as_json: AsJson = False) -> None:
    """End a subscription: nothing runs for it any more, nothing waits; what it was told stays on record."""
    _rest(subscription, SubscriptionStatus.CANCELLED, as_json=as_json)
