"""Commands for subscribers' notification settings: kordant-jobs notifications suppress | unsuppress | suppressions |
preferences | addresses
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import time
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from kordant_jobs.cli.arguments import Subscriber, actor, id_of, one_of, read_line, refuse_words
from kordant_jobs.cli.notifications import ChannelName, Limit, notifications_app
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.notifications.addresses import BadAddress, check_address
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import DEFAULT_MODE, Category, Mode
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import listing as notifications
from kordant_jobs.store.notifications.choices import ChosenHours
from kordant_jobs.store.notifications.tables import contact_addresses
from kordant_jobs.store.people.tables import subscribers

__all__ = ["notifications_app"]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _known(connection: Connection, subscriber: str) -> UUID:
    subscriber_id = id_of(connection, subscribers.c.id, subscriber, "subscriber", "`kordant-jobs subscribers find`")
    if not notification_choices.is_known(connection, subscriber_id):
        raise SettingsError(f"there is no subscriber {subscriber_id}. `subscribers show` names a subscription's.")
    return subscriber_id


Address = Annotated[str | None, typer.Argument(help="`-`, or nothing: the address is asked for, or piped in.")]


def _typed(word: str | None, way: Channel) -> str:
    refuse_words([word] if word else [], "an address")
    return read_line(f"address ({way})")


def _checked(way: Channel, address: str) -> str:
    try:
        check_address(way, address)
    except BadAddress as error:
        raise SettingsError(f"this is no {way} address: {error}.") from None
    return address


@notifications_app.command()
def suppress(
    address: Address = None,
    channel: Annotated[str, typer.Option(help="email or sms.")] = Channel.EMAIL.value,
    reason: Annotated[str, typer.Option(help="Why; never a name or an address.")] = "asked for by an operator",
    as_json: AsJson = False,
) -> None:
    """Send no more messages to an address, for any subscriber. Only a keyed hash of it is stored."""
    way = one_of(Channel, channel, "--channel")
    typed = _checked(way, _typed(address, way))
    with open_session() as session, session.db.begin() as connection:
        key = notification_choices.address_key(session.keyring, way, typed)
        new = bool(notification_choices.suppress(connection, [key], reason=reason, by=actor()))
    print_json({"suppressed": True, "new": new}) if as_json else out.print("suppressed" if new else "it was already")


@notifications_app.command()
def unsuppress(
    address: Address = None,
    channel: Annotated[str, typer.Option(help="email or sms.")] = Channel.EMAIL.value,
    as_json: AsJson = False,
) -> None:
    """Allow messages to an address again. Those suppressed meanwhile are not sent."""
    way = one_of(Channel, channel, "--channel")
    typed = _checked(way, _typed(address, way))
    with open_session() as session, session.db.begin() as connection:
        key = notification_choices.address_key(session.keyring, way, typed)
        gone = notification_choices.unsuppress(connection, key)
    print_json({"was_suppressed": gone}) if as_json else out.print("it gets messages again" if gone else "it was not")


@notifications_app.command()
def suppressions(limit: Limit = 100, as_json: AsJson = False) -> None:
    """List suppressed addresses and the reasons; they are shown by their hash."""
    with open_session() as session, session.db.connect() as connection:
        found = notifications.suppressions_of(connection, limit=limit)
    rows = [{**asdict(one), "address_index": bytes(one.address_index).hex()} for one in found]
    if as_json:
        print_json(rows)
    else:
        print_table(["channel", "address", "reason", "by", "since"], [tuple(row.values()) for row in rows])


@notifications_app.command()
def preferences(
    subscriber: Subscriber,
    category: Annotated[str | None, typer.Option(help=", ".join(Category) + "; none: all of them.")] = None,
    channel: ChannelName = None,
    mode: Annotated[str | None, typer.Option(help="Set it: " + ", ".join(Mode) + ".")] = None,
    quiet: Annotated[str | None, typer.Option(help="Quiet hours as 22:00-07:00, or none.")] = None,
    digest_at: Annotated[str | None, typer.Option(help="When digests come, as 08:00.")] = None,
    digest_on: Annotated[str | None, typer.Option(help="The weekday of the weekly one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a subscriber's choices, or set one. Times are in the zone of their subscription."""
    with open_session() as session, session.db.begin() as connection:
        subscriber_id = _known(connection, subscriber)
        if mode:
            chosen = one_of(Mode, mode, "--mode")
            for one in [one_of(Category, category, "--category")] if category else list(Category):
                for way in [one_of(Channel, channel, "--channel")] if channel else list(Channel):
                    notification_choices.choose(
                        connection, subscriber_id, category=one, channel=way, mode=chosen, by=actor()
                    )
        if quiet or digest_at or digest_on:
            before = notification_choices.hours(connection, subscriber_id)
            notification_choices.set_hours(connection, subscriber_id, _hours(before, quiet, digest_at, digest_on))
        hours = notification_choices.hours(connection, subscriber_id)
        choices = notification_choices.choices(connection, subscriber_id)
    if as_json:
        listed = [{"category": one, "channel": way, "mode": said} for (one, way), said in choices.items()]
        print_json({"subscriber": subscriber_id, "chosen": listed, "hours": asdict(hours), "otherwise": DEFAULT_MODE})
        return
    print_table(
        ["about", *Channel],
        [(one, *(choices.get((one, way), f"({DEFAULT_MODE[way]})") for way in Channel)) for one in Category],
    )
    quiet_words = f"{hours.quiet_from:%H:%M}-{hours.quiet_until:%H:%M}" if hours.quiet_from else "none"
    day = WEEKDAYS[hours.digest_weekday - 1]
    print_facts({"quiet hours": quiet_words, "digests": f"{hours.digest_at:%H:%M}, weekly on {day}"})


def _hours(before: ChosenHours, quiet: str | None, digest_at: str | None, digest_on: str | None) -> ChosenHours:
    if quiet == "none":
        before = replace(before, quiet_from=None, quiet_until=None)
    elif quiet:
        start, dash, end = quiet.partition("-")
        if not dash:
            raise SettingsError(f"--quiet {quiet}: write 22:00-07:00, or none.")
        before = replace(before, quiet_from=_time(start, "--quiet"), quiet_until=_time(end, "--quiet"))
    if digest_at:
        before = replace(before, digest_at=_time(digest_at, "--digest-at"))
    if digest_on:
        if digest_on.lower() not in WEEKDAYS:
            raise SettingsError(f"--digest-on {digest_on}: choose one of {', '.join(WEEKDAYS)}.")
        before = replace(before, digest_weekday=WEEKDAYS.index(digest_on.lower()) + 1)
    return before


def _time(text: str, option: str) -> time:
    try:
        found = time.fromisoformat(text.strip())
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise SettingsError(f"{option}: {text!r} is no time of day; write it as 08:00.")
    return found


@notifications_app.command()
def addresses(
    subscriber: Subscriber,
    add: Annotated[str | None, typer.Option(help="`-`: a new one is asked for, or piped in.")] = None,
    channel: ChannelName = None,
    remove: Annotated[str | None, typer.Option(help="Use this one no more, by id.")] = None,
    as_json: AsJson = False,
) -> None:
    """List, add or remove a subscriber's push tokens, numbers and further addresses. They are shown by id, never in
    clear."""
    new: tuple[Channel, str] | None = None
    if add:
        if channel is None:
            raise SettingsError("--add needs --channel: email, fcm, apns, web_push or sms.")
        way = one_of(Channel, channel, "--channel")
        new = (way, _checked(way, _typed(add, way)))
    with open_session() as session, session.db.begin() as connection:
        subscriber_id = _known(connection, subscriber)
        if new:
            notification_choices.add_address(connection, session.keyring, subscriber_id, *new)
        if remove:
            gone = [(id_of(connection, contact_addresses.c.id, remove, "address"), None)]
            if not notification_choices.remove_addresses(connection, gone, "removed by an operator"):
                raise SettingsError(f"{remove} is no address that is in use.")
        found = notification_choices.addresses(connection, subscriber_id)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        rows = [(one.id, one.channel, f"{one.created_at:%Y-%m-%d}", one.removed_reason) for one in found]
        print_table(["id", "channel", "since", "removed because"], rows)
