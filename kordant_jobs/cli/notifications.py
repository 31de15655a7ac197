"""Commands for notifications: kordant-jobs notifications list | show | retry | give-up | channels | preview | …, and
for what subscribers chose: suppress | preferences | addresses | …
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import time
from email.utils import parseaddr
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from kordant_jobs.cli.arguments import Subscriber, actor, id_of, one_of, read_line, refuse_words
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.notifications.addresses import BadAddress, check_address
from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus
from kordant_jobs.domain.notifications.choices import DEFAULT_MODE, Category, Mode
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import listing as notifications
from kordant_jobs.store.notifications import pauses
from kordant_jobs.store.notifications.choices import ChosenHours
from kordant_jobs.store.notifications.pauses import Pause
from kordant_jobs.store.notifications.tables import contact_addresses, notification_outbox
from kordant_jobs.store.people.tables import subscribers, subscriptions

notifications_app = typer.Typer(help="Notifications: what waits, went out and did not.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Notifications by id, as `notifications list` shows them.")]
ChannelName = Annotated[str | None, typer.Option("--channel", help="email, fcm, apns, web_push or sms.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")]


def _notification_id(connection: Connection, text: str) -> UUID:
    return id_of(connection, notification_outbox.c.id, text, "notification", "`kordant-jobs notifications list`")


@notifications_app.command("list")
def list_notifications(
    status: Annotated[str | None, typer.Option(help="Only this state: " + ", ".join(OutboxStatus) + ".")] = None,
    channel: ChannelName = None,
    subscription: Annotated[str | None, typer.Option(help="Only this subscription's, by id.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List notifications with their state, the newest first, and the number in each state."""
    with open_session() as session, session.db.connect() as connection:
        found = notifications.find(
            connection,
            status=one_of(OutboxStatus, status, "--status") if status else None,
            channel=one_of(Channel, channel, "--channel") if channel else None,
            subscription_id=id_of(connection, subscriptions.c.id, subscription, "subscription")
            if subscription
            else None,
            limit=limit,
        )
        counts = notifications.counts(connection)
    if as_json:
        totals = [{"channel": one, "status": state, "count": number} for one, state, number in counts]
        print_json({"counts": totals, "notifications": [asdict(one) for one in found]})
        return
    rows = [(x.id, x.channel, x.category, x.status, x.attempts, f"{x.due_at:%m-%d %H:%M}", x.reason) for x in found]
    print_table(["id", "channel", "about", "state", "tries", "due (UTC)", "reason"], rows)
    out.print("\n" + ("; ".join(f"{one} {state} {number:,}" for one, state, number in counts) or "nothing yet"))


@notifications_app.command()
def show(
    notification: Annotated[str, typer.Argument(help="Its id, or its message's.")], as_json: AsJson = False
) -> None:
    """Show everything about a notification, or about all notifications of one message. No address is shown."""
    with open_session() as session, session.db.connect() as connection:
        found = notifications.find(connection, ids=[_notification_id(connection, notification)])
    if not found:
        raise SettingsError(f"there is no notification {notification}. See `kordant-jobs notifications list`.")
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        print_facts({name: value for name, value in asdict(one).items() if value is not None})
        out.print()


def _move(ids: Sequence[str], to: OutboxStatus, reason: str | None, *, as_json: bool) -> None:
    with open_session() as session, session.db.begin() as connection:
        wanted = [_notification_id(connection, one) for one in ids]
        moved = notifications.move(connection, wanted, to, reason=reason)
    left = [one for one in wanted if one not in moved]
    if as_json:
        print_json({"moved": moved, "left": left})
    else:
        out.print(f"{len(moved):,} {to}")
        for one in left:
            err.print(f"{one}: left as it is; only failed{' or dead' if to is OutboxStatus.QUEUED else ''} ones move")
    if left:
        raise SystemExit(1)


@notifications_app.command()
def retry(ids: Ids, as_json: AsJson = False) -> None:
    """Queue failed or dead notifications again. One that may have arrived may then arrive twice."""
    _move(ids, OutboxStatus.QUEUED, None, as_json=as_json)


@notifications_app.command("give-up")
def give_up(
    ids: Ids, reason: Annotated[str, typer.Option(help="Why.")] = "given up by an operator", as_json: AsJson = False
) -> None:
    """Give up failed notifications."""
    _move(ids, OutboxStatus.DEAD, reason, as_json=as_json)


@notifications_app.command()
def channels(as_json: AsJson = False) -> None:
    """List the channels: which are configured, which setting enables the others, and which are paused since they cannot
    work."""
    from kordant_jobs.adapters.messengers import NEEDED, channels_on

    with open_session() as session, session.db.connect() as connection:
        on = channels_on(session.settings)
        found = pauses.pauses(connection)
    if as_json:
        print_json(
            [
                {
                    "channel": one,
                    "on": one in on,
                    "setting": NEEDED.get(one),
                    "pause": asdict(found[one]) if one in found else None,
                }
                for one in Channel
            ]
        )
        return
    rows = [(one, "yes" if one in on else "no", NEEDED.get(one), _pause_words(found.get(one))) for one in Channel]
    print_table(["channel", "on", "setting", "paused"], rows)


def _pause_words(pause: Pause | None) -> str:
    if pause is None:
        return ""
    until = "is tried again" if pause.is_over else f"until {pause.paused_until:%m-%d %H:%M} UTC"
    return f"{until}: {pause.reason}"


@notifications_app.command()
def resume(channel: Annotated[str, typer.Argument(help="email, fcm, apns, web_push or sms.")]) -> None:
    """End the pause of a channel after its set-up was corrected. Without this it is tried again at least hourly."""
    with open_session() as session, session.db.begin() as connection:
        was = pauses.resume(connection, one_of(Channel, channel, "channel"))
    out.print("it goes on" if was else "it was not paused")


@notifications_app.command()
def preview(
    ids: Ids,
    html: Annotated[bool, typer.Option("--html", help="The HTML part instead of the text.")] = False,
) -> None:
    """Preview a notification, without the name and with identifiers masked; several ids: as a digest of them."""
    from kordant_jobs.adapters.messengers import open_signer
    from kordant_jobs.jobs.notifications_send.channel_senders import mail_from_of
    from kordant_jobs.jobs.notifications_send.preview import preview as text_of

    with open_session() as session, session.db.connect() as connection:
        sender = mail_from_of(session.settings, session.keyring, open_signer(session.settings))
        wanted = [_notification_id(connection, one) for one in ids]
        subject, texts = text_of(connection, session.keyring, wanted, sender=sender)
    if html:
        print(texts["text/html"])  # noqa: T201 - markup, not for rich
    else:
        print(f"{subject}\n\n{texts['text/plain']}")  # noqa: T201 - may hold brackets that rich would read


@notifications_app.command()
def bounce() -> None:
    """Read a bounce (RFC 3464) from standard input, for an alias of a mail server. Exit code 1: it is for none of our
    mails."""
    from kordant_jobs.adapters.mail import bounces
    from kordant_jobs.jobs.notifications_send import receipts

    content = sys.stdin.buffer.read(bounces.BOUNCE_MAX_BYTES)
    with open_session() as session:
        domain = parseaddr(session.settings.mail_from)[1].rpartition("@")[2]
        try:
            receipt = bounces.read_bounce(content, domain=domain)
        except bounces.NoReceipt:
            err.print("this is no bounce of a mail of ours")
            raise SystemExit(1) from None
        with session.db.begin() as connection:
            updated = receipts.take(connection, session.keyring, receipt) if receipt else 0
    out.print("1 notification" if updated == 1 else f"{updated} notifications")


@notifications_app.command()
def serve(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="On loopback; a proxy that ends TLS leads to it. Else KORDANT_PUBLIC_PORT."
        ),
    ] = None,
) -> None:
    """Serve reports, the unsubscribe page, callbacks of Twilio, bounces and webhooks, and /health. KORDANT_PUBLIC_URL
    must be set; `up` then starts this too."""
    from kordant_jobs.adapters.report_storage import open_report_storage
    from kordant_jobs.pages.app import PagesContext, application
    from kordant_jobs.pages.limits import serve as serve_pages

    with open_session() as session:
        settings = session.settings
        if not settings.public_url:
            raise SettingsError("KORDANT_PUBLIC_URL is unset: say under which https address the world reaches this.")
        token, secret = settings.twilio_auth_token, settings.webhook_secret
        context = PagesContext(
            db=session.db,
            keyring=session.keyring,
            public_url=settings.public_url,
            mail_domain=parseaddr(settings.mail_from)[1].rpartition("@")[2],
            report_storage=open_report_storage(settings),
            twilio_token=token.get_secret_value() if token else None,
            webhook_secret=secret.get_secret_value() if secret else None,
            bank_secrets=settings.bank_secrets,
        )
        # No access log: the links stand for persons, and open reports.
        where = port or settings.public_port
        serve_pages(application(context), port=where, host=settings.bind)


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
