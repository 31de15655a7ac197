"""`kordant-jobs simulate-removals`: months of removal requests with simulated brokers on real servers, judged by the
brokers' own ledgers and by ends that are written down beforehand."""

import base64
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Engine

from kordant_jobs.cli.output import err
from kordant_jobs.domain.removals.brokers import BrokerRow, ListSource
from kordant_jobs.jobs.removebrokers_process import service
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.removals.behaviour import SCRIPTS, behaviours
from kordant_jobs.lab.removals.one_run import Site, killed_run, signing_key
from kordant_jobs.lab.removals.servers import BrokerWorld, SimBroker
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.subscribers import NewSubscriber
from kordant_jobs.store.removals import catalogue, profiles, requests, rights
from kordant_jobs.store.removals.profiles import Profile

BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)
AFTER_A_KILL = timedelta(minutes=15)
"""The lease of what a killed run held is over by then."""
COOL_DOWN_DAYS = 25
AT_A_TIME = 4
"""Chunks that are carried at the same time, each with connections of its own, as by several runs at once. A run of
Dagster carries one after the other."""
STEPS_MOST = 20_000
"""A kill strikes within so many steps of a run: calls of ours, of the driver, of sockets. One a day is tried until as
many as are wanted struck amid work."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a simulation."""

    subscribers: int = 1000
    brokers: int = 100
    days: int = 180
    cap: int = 50
    kills: int = 0


@dataclass(kw_only=True)
class Books:
    """The results of a simulation. Every list is of faults."""

    requests: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)
    over_cap: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    copies: int = 0
    phished: int = 0
    kills: int = 0
    replies: int = 0
    for_a_person: int = 0
    mails: int = 0
    seconds: float = 0.0
    states: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """All faults."""
        phished = [f"{self.phished} phishing links opened"] if self.phished else []
        return [*self.untrue, *self.over_cap, *self.duplicates, *self.late, *phished]


@dataclass(kw_only=True)
class Simulation:
    """A database, brokers and a clock."""

    site: Site
    db: Engine
    keyring: Keyring
    world: BrokerWorld
    names: dict[UUID, str]

    def run(self, now: datetime) -> tuple[int, int]:
        """Run the job once, some chunks at a time. Returns the number of replies, and of those that need an
        operator."""

        def carry(chunk: tuple[UUID, ...]) -> None:
            service.carry(chunk, db=self.db, keyring=self.keyring, outside=self.site.outside(), now=now)

        plan = service.plan(db=self.db, keyring=self.keyring, outside=self.site.outside(), now=lambda: now)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(carry, plan.chunks))
        return plan.mailbox.read, plan.mailbox.for_a_person


@contextmanager
def simulation(size: Size, seed: int) -> Iterator[Simulation]:
    """A world of this size, its requests made and not yet sent."""
    chance = Random(seed)  # noqa: S311 - no secret
    kinds = behaviours(size.brokers)
    chance.shuffle(kinds)
    verify_key = base64.b64encode(signing_key(seed).public_key().public_bytes_raw()).decode()
    brokers = [SimBroker(number=number, behaviour=kind, cap=size.cap) for number, kind in enumerate(kinds)]
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with (
        tempfile.TemporaryDirectory(prefix="kordant-sim-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings=fast) as postgres,
        BrokerWorld(brokers=brokers, inbox=Path(folder) / "inbox", now=BEGIN, verify_key=verify_key) as world,
    ):
        site = Site(
            url=postgres.url(), master=base64.b64encode(os.urandom(32)).decode(), inbox=str(world.inbox),
            mail=world.mail.url, web=world.web.url, domains=list(world.by_domain), seed=seed,
        )  # fmt: skip
        db = database.create_engine(site.url)
        migrate.upgrade(db)
        made = Simulation(site=site, db=db, keyring=site.keyring(), world=world, names={})
        _fill(made, size)
        yield made
        db.dispose()


def broker_row(broker: SimBroker) -> BrokerRow:
    """A simulated broker as a list of ours has it."""
    script = SCRIPTS[broker.behaviour]
    recipe: dict[str, Any] = {
        "daily_cap": broker.cap,
        "search": {
            "url": f"https://{broker.domain}/search?q={{first_name}}+{{last_name}}",
            "result": ".card", "name": ".name", "no_results": ".none",
        },
    }  # fmt: skip
    if script.protocol:
        recipe["drp_business_id"] = broker.domain.removesuffix(".com")
    return BrokerRow(
        source=ListSource.KORDANT,
        key=broker.domain,
        name=f"Simulated {broker.number}",
        domains=(broker.domain,),
        emails=(f"privacy@{broker.domain}",),
        opt_out_url=f"https://{broker.domain}/optout" if script.form else "",
        categories=("people-search",),
        recipe=recipe,
    )


def businesses_of(world: BrokerWorld) -> list[dict[str, Any]]:
    """The directory of those that speak the Data Rights Protocol."""
    return [
        {
            "id": (name := one.domain.removesuffix(".com")),
            "api_base": f"{world.web.url}/drp/{name}",
            "supported_actions": ["deletion"],
            "supported_verifications": ["email"],
        }
        for one in world.brokers
        if SCRIPTS[one.behaviour].protocol
    ]


def _fill(made: Simulation, size: Size) -> None:
    people = [
        NewSubscriber(
            id=UUID(int=number + 1), subscription_id=UUID(int=1_000_000 + number), tier="premium", locale="en",
            time_zone="UTC", name=f"Ann P{number:05d}", contact=f"p{number}@mail.example", created_at=BEGIN, items=(),
        )
        for number in range(size.subscribers)
    ]  # fmt: skip
    with made.db.begin() as connection:
        made.keyring.check(connection)
        subscribers.add(connection, people, made.keyring)
        rows = [broker_row(broker) for broker in made.world.brokers]
        catalogue.import_rows(connection, ListSource.KORDANT, rows, now=BEGIN)
        rights.write_businesses(connection, businesses_of(made.world), now=BEGIN)
        brokers = list(connection.execute(sa.text("SELECT id FROM kordant.brokers")).scalars())
        for person in people:
            made.names[person.id] = person.name
            profile = Profile(
                subscriber_id=person.id, country="US", state="CA", details={"city": "Fresno", "state": "CA"},
                permission=b"%PDF-1.7 a permission",
            )  # fmt: skip
            profiles.write(connection, made.keyring, profile, now=BEGIN)
            requests.create(connection, person.subscription_id, brokers, now=BEGIN)
        connection.execute(sa.text("ANALYZE"))


_LATE = """
SELECT r.id, b.key, r.state, r.answer_by_on, r.next_at FROM kordant.removal_requests r
JOIN kordant.brokers b ON b.id = r.broker_id
WHERE (r.state IN ('sent', 'acknowledged', 'in_progress') AND r.answer_by_on < :today - 1)
   OR (r.state = 'extended' AND r.extended_by_on < :today - 1)
   OR (r.state = 'sent' AND NOT r.answered AND r.reminders = 0 AND r.confirm_by_on < :today - 1)
   OR (r.next_at < :now - interval '1 day' AND r.state <> 'queued')
LIMIT 20
"""


def play(made: Simulation, size: Size, seed: int, *, each: Callable[[int], None] | None = None) -> Books:
    """Let the days pass, a run a day, and judge."""
    books, chance = Books(), Random(seed + 1)  # noqa: S311 - no secret
    for day in range(size.days):
        now = made.world.now = BEGIN + timedelta(days=day)
        made.world.deliver_replies()
        if books.kills < size.kills:
            books.kills += killed_run(asdict(made.site), now, step=int(STEPS_MOST ** chance.random()))
            now += AFTER_A_KILL
            made.world.now = now
        replies, for_a_person = made.run(now)
        books.replies += replies
        books.for_a_person += for_a_person
        made.world.read_mails()
        with made.db.connect() as connection:
            rows = connection.execute(sa.text(_LATE), {"today": now.date(), "now": now})
            books.late += [f"day {day}: {row.key} {row.state} {row.answer_by_on} {row.next_at}" for row in rows]
        if each is not None:
            each(day)
    _judge(made, size, books)
    return books


def _judge(made: Simulation, size: Size, books: Books) -> None:
    query = """
        SELECT r.subscriber_id, b.key, r.state FROM kordant.removal_requests r
        JOIN kordant.brokers b ON b.id = r.broker_id
    """
    with made.db.connect() as connection:
        rows = connection.execute(sa.text(query)).all()
    books.requests, books.mails = len(rows), len(made.world.mail.received)
    books.phished = made.world.phished
    for row in rows:
        broker, name = made.world.by_domain[row.key], made.names[row.subscriber_id]
        books.states[row.key, name] = row.state
        books.ends[f"{broker.behaviour.value}: {row.state}"] += 1
        case = broker.cases.get(name)
        listed = case.is_listed(broker, made.world.now) if case else SCRIPTS[broker.behaviour].lists
        if row.state not in SCRIPTS[broker.behaviour].ends:
            books.untrue.append(f"{row.key} ({broker.behaviour.value}): {row.state}")
        elif row.state == "verified_removed" and listed:
            books.untrue.append(f"{row.key}: verified_removed, yet {name} is listed")
    for broker in made.world.brokers:
        books.over_cap += [f"{broker.domain} {day}: {n}" for day, n in broker.by_day.items() if n > size.cap]
        for name, case in broker.cases.items():
            books.copies += case.copies
            days = sorted(case.requests.values())
            close = [b for a, b in pairwise(days) if (b.date() - a.date()).days < COOL_DOWN_DAYS]
            again = [one for one in close if SCRIPTS[broker.behaviour].relists_after is None]
            books.duplicates += [f"{broker.domain} {name}: asked again on {one:%Y-%m-%d}" for one in again]


def _played(size: Size, seed: int) -> Books:
    """One whole play, with a line of progress every ten days."""
    kind = f"{size.kills} kills" if size.kills else "no kills"
    began = time.monotonic()

    def show_progress(day: int) -> None:
        if (day + 1) % 10 == 0:
            err.print(
                f"seed {seed}, {kind}: day {day + 1} of {size.days}, {time.monotonic() - began:.0f} s", markup=False
            )

    with simulation(size, seed) as made:
        return play(made, size, seed, each=show_progress)


def measure(size: Size, seed: int) -> list[Figure]:
    """Play, and at the same time play again with kills where some are wanted; the ends must be the same.

    Raises:
        KordantError: something is not true at the end.
    """
    calm = replace(size, kills=0)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        plays = [pool.submit(_played, one, seed) for one in ([calm, size] if size.kills else [calm])]
        books, *killed = [one.result() for one in plays]
    every = [books, *killed]
    different = sum(one.states[key] != state for one in killed for key, state in books.states.items())
    faults = [fault for one in every for fault in one.faults]
    for fault in faults[:20]:
        err.print(fault, markup=False)
    for end, number in sorted(books.ends.items()):
        err.print(f"  {number:7,}  {end}", markup=False)

    def figure(key: str, value: float, goal: float | None = None) -> Figure:
        return Figure(key=key, value=value, unit="", goal=goal)

    return [
        figure("requests", books.requests),
        figure("mails_to_brokers", books.mails),
        figure("replies", books.replies),
        figure("replies_for_a_person", books.for_a_person),
        figure("untrue_ends", sum(len(one.untrue) for one in every), 0),
        figure("days_over_a_cap", sum(len(one.over_cap) for one in every), 0),
        figure("duplicate_requests", sum(len(one.duplicates) for one in every), 0),
        figure("deadlines_missed", sum(len(one.late) for one in every), 0),
        figure("phishing_links_opened", sum(one.phished for one in every), 0),
        figure("kills_amid_work", sum(one.kills for one in killed)),
        figure("ends_changed_by_kills", different, 0),
        figure("copies_under_one_message_id", sum(one.copies for one in every)),
        figure("faults", len(faults), 0),
    ]


def simulate_command(
    subscribers_: Annotated[
        int, typer.Option("--subscribers", min=1, help="Subscribers, each asks every broker.")
    ] = 1000,
    brokers: Annotated[int, typer.Option(min=1, help="Simulated brokers; four in ten never answer.")] = 100,
    days: Annotated[int, typer.Option(min=1, help="Days, a run a day.")] = 180,
    cap: Annotated[int, typer.Option(min=1, help="Messages a day to one broker.")] = 50,
    kills: Annotated[int, typer.Option(min=0, help="Kills, each amid the run of another day.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same brokers and kills.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Months of removal requests with simulated brokers (honest, slow, lying, …) on real servers and our own clock."""
    size = Size(subscribers=subscribers_, brokers=brokers, days=days, cap=cap, kills=kills)
    raise SystemExit(finish("removals", lambda: measure(size, seed), as_json=as_json))
