"""`kordant-jobs chaos-notifications`: senders killed between any two steps, judged by the mail server's own ledger.

Each sender is a process of its own, forked, that runs the job's service; SIGKILL ends it before or after a step that
was drawn by the seed: a call of ours, of the database's driver, or of a socket. Every fifth is killed from outside, at
a moment. What it held is free again at once, as if its lease had run out.
"""

from dataclasses import dataclass
from random import Random
from typing import Annotated

import sqlalchemy as sa
import typer

from kordant_jobs.cli.output import err
from kordant_jobs.cli.runs import progress_bar
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.channel_senders import mail_sender
from kordant_jobs.lab.chaos import messages
from kordant_jobs.lab.chaos.strike import BY_THE_CLOCK, FREE, LATEST_S, killed
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.world.mail import SENDER, World
from kordant_jobs.lab.world.mail import world as open_world
from kordant_jobs.postgres import database

MAILS_A_KILL = 16
"""Notifications that wait, for each kill. A sender is ended within the steps of about twice as many, so that most kills
strike amid work and some before the first mail."""
STEPS_A_MAIL = 400
"""Steps that one mail takes, about: 330 singly, 700 as a digest of three."""
BATCH = 40
"""Claimed at once: fewer than the job's 200, so that kills strike amid sending rather than amid claiming."""

_DIGESTS = """
INSERT INTO kordant.breaches (name, source, title, domain, data_classes, breached_on)
SELECT 'Shop' || n, 'hibp', 'Shop ' || n, 'shop' || n || '.example', ARRAY['Email addresses'], '2024-05-01'
FROM generate_series(1, 2) n;
WITH one AS (
    SELECT DISTINCT ON (subscription_id) id AS item_id, subscription_id, kind FROM kordant.watchlist_items
    ORDER BY subscription_id, id
), few AS (
    SELECT * FROM one ORDER BY subscription_id LIMIT (SELECT count(*) / 4 FROM one)
), exposed AS (
    INSERT INTO kordant.exposures (id, item_id, breach_name, secret, judgement, first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), item_id, 'Shop' || n, 'none', 'alert', now(), now()
    FROM few, generate_series(1, 2) n RETURNING id, item_id
), queued AS (
    INSERT INTO kordant.alerts (id, subscription_id, exposure_id, severity, why)
    SELECT gen_random_uuid(), subscription_id, exposed.id, 'medium', '[]'::jsonb
    FROM exposed JOIN few USING (item_id) RETURNING id, subscription_id
)
INSERT INTO kordant.notification_outbox (id, alert_id, subscription_id, channel)
SELECT gen_random_uuid(), id, subscription_id, 'email' FROM queued;
UPDATE kordant.notification_outbox o SET held_for = 'daily'
FROM (SELECT subscription_id FROM kordant.notification_outbox GROUP BY 1 HAVING count(*) > 1) many
WHERE many.subscription_id = o.subscription_id;
UPDATE kordant.notification_outbox SET due_at = now() + interval '1 day' WHERE held_for IS NULL
"""
"""One subscriber in four waits for a digest of three alerts. The others wait until half of the kills are over, since
digests are sent after single messages."""

_REST = "UPDATE kordant.notification_outbox SET due_at = now() WHERE held_for IS NULL"

_BOOK = """
SELECT status, coalesce(mail_id, id) AS mail_id, interruptions FROM kordant.notification_outbox
"""


@dataclass(frozen=True, kw_only=True)
class Books:
    """The mails by the mail server's ledger, beside our own rows."""

    kills: int
    struck_in_time: int
    """The number of kills that hit a sender that was still running."""
    mails: int
    """Different messages that were due."""
    lost: int
    """Notifications that are not sent, or whose message the server never took."""
    copies: int
    """Messages that the server took again, under the same Message-ID."""
    doubled: int
    """Messages that the server took twice under different Message-IDs, or that were not in the outbox."""
    altered: int
    """Copies that say something else than the first."""
    counted: int
    """Possible copies by our own count."""

    def figures(self) -> list[Figure]:
        """Against their goals."""

        def figure(key: str, value: float, goal: float | None = None) -> Figure:
            return Figure(key=key, value=value, unit="", goal=goal)

        return [
            figure("kills", self.kills),
            figure("kills_amid_work", self.struck_in_time),
            figure("mails", self.mails),
            figure("lost", self.lost, 0),
            figure("doubled_after_message_id", self.doubled, 0),
            figure("altered", self.altered, 0),
            figure("copies_before_message_id", self.copies, self.counted),
            figure("copies_counted_by_us", self.counted),
        ]


def _send_all(world: World, url: str) -> service.SendSummary:
    db = database.create_engine(url)
    try:
        with Progress(db, "chaos") as progress:
            return service.send_due(
                db=db,
                keyring=world.keyring,
                senders=[mail_sender(world.transport, SENDER)],
                limit=10**9,
                batch=BATCH,
                progress=progress,
            )
    finally:
        db.dispose()


def run_campaign(kills: int, seed: int, *, mails: int | None = None, quiet: bool = False) -> Books:
    """Kill this number of senders of `mails` notifications (default: 16 for each kill), let a last sender finish, and
    compare.

    Raises:
        KordantError: the world could not be made, or the last sender did not empty the outbox.
    """
    chance = Random(seed)  # noqa: S311 - the same seed, the same kills
    mails = mails or max(50, kills * MAILS_A_KILL)
    steps = 2 * STEPS_A_MAIL * mails // max(1, kills)
    struck = 0
    with progress_bar() as bar, open_world(mails) as world:
        bar.disable = quiet
        task = bar.add_task("chaos", total=kills, note="killing senders")
        _do(world, _DIGESTS)
        for number in range(kills):
            if number == kills // 2:
                _do(world, _REST)
            clocked = number % BY_THE_CLOCK == BY_THE_CLOCK - 1
            fuse = None if clocked else chance.randint(1, steps)
            world.db.dispose()  # a forked process must not find our connections
            struck += killed(lambda: _send_all(world, world.url), fuse=fuse, after_s=chance.uniform(0, LATEST_S))
            _do(world, FREE)
            bar.update(task, advance=1)
        _do(world, _REST)
        summary = _send_all(world, world.url)
        if summary.put_back or summary.deferred or summary.dead or summary.failed:
            raise KordantError(f"the last sender did not send all: {summary}")
        return _compare(world, kills, struck)


def _do(world: World, statement: str) -> None:
    with world.db.begin() as connection:
        connection.execute(sa.text(statement))


def _compare(world: World, kills: int, struck: int) -> Books:
    entries = world.entries()
    bodies: dict[str, set[str]] = {}
    for message_id, body in entries:
        bodies.setdefault(message_id, set()).add(body)
    with world.db.connect() as connection:
        rows = connection.execute(sa.text(_BOOK)).all()
    due = {f"<{row.mail_id}@{SENDER.domain}>" for row in rows}
    lost = sum(row.status != "sent" or f"<{row.mail_id}@{SENDER.domain}>" not in bodies for row in rows)
    counted: dict[object, int] = {row.mail_id: row.interruptions for row in rows}
    return Books(
        kills=kills,
        struck_in_time=struck,
        mails=len(due),
        lost=lost,
        copies=len(entries) - len(bodies),
        doubled=len(set(bodies) - due),
        altered=sum(len(found) > 1 for found in bodies.values()),
        counted=sum(counted.values()),
    )


def chaos_notifications(
    kills: Annotated[int, typer.Option(min=1, help="How many senders are killed.")] = 500,
    seed: Annotated[int, typer.Option(help="Same seed, same steps.")] = 1,
    channels: Annotated[
        bool, typer.Option("--channels", help="Pushes and texts (FCM, APNs, Web Push, Twilio) instead of mails.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Kill senders of notifications between any two steps, and count messages in the services' own ledgers. Exit code
    1: one was lost, doubled or altered."""
    err.print(f"{kills} kills, seed {seed}")

    def figures() -> list[Figure]:
        run = messages.run_campaign if channels else run_campaign
        return run(kills, seed, quiet=as_json).figures()

    code = finish("chaos-notifications", figures, as_json=as_json)
    raise SystemExit(code)
