"""`kordant-jobs chaos-notifications --channels`: senders of pushes and texts killed, judged by the services' ledgers.

As with mails, a sender is a process of its own that SIGKILL ends before or after any step, or from outside. The way
out that it begins with is drawn, so that every channel is struck. Where a service has a key by which a copy takes the
place of the first (APNs, Web Push), copies do no harm and are counted; where a copy shows (FCM, SMS), no one may get
more than one, and what may have arrived twice already is left to an operator with the reason.
"""

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.cli.runs import progress_bar
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.lab.chaos.message_services import CHANNELS, Services, services
from kordant_jobs.lab.chaos.strike import BY_THE_CLOCK, FREE, LATEST_S, killed
from kordant_jobs.lab.figures import Figure
from kordant_jobs.lab.world.mail import World
from kordant_jobs.lab.world.mail import world as open_world
from kordant_jobs.postgres import database
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox

MESSAGES_A_KILL = 8
"""Of each channel."""
STEPS_A_MESSAGE = 150
"""Steps of ours that one message takes, about."""
BATCH = 40
"""Claimed at once: fewer than the job's 200, so that kills strike amid sending rather than amid claiming."""


@dataclass(frozen=True, kw_only=True)
class ChannelBook:
    """One channel's messages by the service's ledger, beside our own rows."""

    channel: Channel
    copies_show: bool
    messages: int
    lost: int
    """Said to be sent and never taken, or neither sent nor left to an operator."""
    copies: int
    """Messages that the service took again."""
    too_often: int
    """Receivers who got a message more than twice, where copies show."""
    left: int
    """Left to an operator: it may have arrived, and is not sent again by itself."""


@dataclass(frozen=True, kw_only=True)
class MessageBooks:
    """All channels after a campaign."""

    kills: int
    struck_in_time: int
    channels: Sequence[ChannelBook]

    def figures(self) -> list[Figure]:
        """Against their goals."""

        def figure(key: str, value: float, goal: float | None = None) -> Figure:
            return Figure(key=key, value=value, unit="", goal=goal)

        found = [figure("kills", self.kills), figure("kills_amid_work", self.struck_in_time)]
        for book in self.channels:
            name = book.channel.value
            found += [figure(f"{name}_messages", book.messages), figure(f"{name}_lost", book.lost, 0)]
            found += [figure(f"{name}_copies", book.copies), figure(f"{name}_left_to_operator", book.left)]
            if book.copies_show:
                found.append(figure(f"{name}_more_than_one_copy", book.too_often, 0))
        return found


def run_campaign(kills: int, seed: int, *, receivers: int | None = None, quiet: bool = False) -> MessageBooks:
    """Kill this number of senders, each channel having a message for `receivers` (default: 8 for each kill), let a last
    sender finish, and compare.

    Raises:
        KordantError: the world could not be made, or the last sender did not empty the outbox.
    """
    chance = Random(seed)  # noqa: S311 - the same seed, the same kills
    receivers = receivers or max(40, kills * MESSAGES_A_KILL)
    steps = 2 * STEPS_A_MESSAGE * receivers * len(CHANNELS) // max(1, kills)
    struck = 0
    with progress_bar() as bar, services() as reached, open_world(receivers) as world:
        bar.disable = quiet
        task = bar.add_task("chaos", total=kills, note="killing senders")
        with world.db.begin() as connection:
            names = _give_addresses(connection, world, reached)
        for number in range(kills):
            clocked = number % BY_THE_CLOCK == BY_THE_CLOCK - 1
            first = chance.randrange(len(CHANNELS))
            world.db.dispose()  # a forked process must not find our connections
            struck += killed(
                partial(_send, world, reached, first),
                fuse=None if clocked else chance.randint(1, steps),
                after_s=chance.uniform(0, LATEST_S),
            )
            with world.db.begin() as connection:
                connection.execute(sa.text(FREE))
            bar.update(task, advance=1)
        summary = _send(world, reached, 0)
        if summary.put_back or summary.deferred or summary.dead:
            raise KordantError(f"the last sender did not send all: {summary}")
        return MessageBooks(kills=kills, struck_in_time=struck, channels=_compare(world, reached, names))


def _send(world: World, reached: Services, first: int) -> service.SendSummary:
    if profile := sys.getprofile():
        threading.setprofile(profile)  # what threads of a sender do are steps too
    senders = reached.senders()
    db = database.create_engine(world.url)
    try:
        with Progress(db, "chaos") as progress:
            return service.send_due(
                db=db,
                keyring=world.keyring,
                senders=senders[first:] + senders[:first],
                limit=10**9,
                batch=BATCH,
                progress=progress,
            )
    finally:
        db.dispose()


def _give_addresses(connection: Connection, world: World, reached: Services) -> dict[object, str]:
    """Everybody has an address of each channel, and waits for the alert there. Returns names in ledgers by address."""
    names: dict[object, str] = {}
    people = connection.execute(sa.text("SELECT id FROM kordant.subscribers ORDER BY id")).scalars().all()
    for number, subscriber_id in enumerate(people):
        for channel in CHANNELS:
            address, named = reached.address(channel, number)
            address_id = notification_choices.add_address(connection, world.keyring, subscriber_id, channel, address)
            names[address_id] = named
    alerts = connection.execute(sa.text("SELECT id FROM kordant.alerts")).scalars().all()
    outbox.queue(connection, alerts, Category.BREACH)
    connection.execute(sa.text("DELETE FROM kordant.notification_outbox WHERE channel = 'email'"))
    return names


def _compare(world: World, reached: Services, names: dict[object, str]) -> list[ChannelBook]:
    ledgers = {Channel(name): Counter(ledger) for name, ledger in reached.ledgers().items()}
    with world.db.connect() as connection:
        rows = connection.execute(sa.text("SELECT channel, address_id, status FROM kordant.notification_outbox")).all()
    shows = {sender.channel: sender.copies_show for sender in reached.senders()}
    books = []
    for channel, took in ledgers.items():
        mine = [row for row in rows if row.channel == channel]
        lost = sum(row.status != "failed" and (row.status != "sent" or not took[names[row.address_id]]) for row in mine)
        books.append(
            ChannelBook(
                channel=channel,
                copies_show=shows[channel],
                messages=len(mine),
                lost=lost,
                copies=sum(took.values()) - len(took),
                too_often=sum(count > 2 for count in took.values()),
                left=sum(row.status == "failed" for row in mine),
            )
        )
    return books
