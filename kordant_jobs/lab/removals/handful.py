"""A handful of simulated brokers for the demo: some subscribers ask them all, and two months pass in seconds."""

import base64
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.removals.brokers import ListSource
from kordant_jobs.jobs.removebrokers_process import service
from kordant_jobs.lab.removals.behaviour import Behaviour
from kordant_jobs.lab.removals.one_run import Site, signing_key
from kordant_jobs.lab.removals.servers import BrokerWorld, SimBroker
from kordant_jobs.lab.removals.simulation import broker_row, businesses_of
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.removals import catalogue, profiles, requests, rights
from kordant_jobs.store.removals.profiles import Profile

KINDS = (
    Behaviour.HONEST, Behaviour.LYING, Behaviour.NEVER, Behaviour.MORE_IDENTITY, Behaviour.PORTUGUESE,
    Behaviour.PROTOCOL, Behaviour.FORM_ONLY,
)  # fmt: skip
DAYS, STEP_DAYS = 64, 4
SEED = 1


def play_handful(db: Engine, keyring: Keyring, subscription_ids: Sequence[UUID]) -> None:
    """Have these subscribers ask a handful of brokers, two months ago."""
    began = datetime.now(UTC) - timedelta(days=DAYS)
    brokers = [SimBroker(number=number, behaviour=kind, cap=50) for number, kind in enumerate(KINDS)]
    verify_key = base64.b64encode(signing_key(SEED).public_key().public_bytes_raw()).decode()
    with (
        tempfile.TemporaryDirectory(prefix="kordant-demo-") as folder,
        BrokerWorld(brokers=brokers, inbox=Path(folder), now=began, verify_key=verify_key) as world,
    ):
        _ask(db, keyring, world, subscription_ids, began)
        site = Site(
            url="", master=base64.b64encode(os.urandom(32)).decode(), inbox=folder, mail=world.mail.url,
            web=world.web.url, domains=list(world.by_domain), seed=SEED,
        )  # fmt: skip
        outside = site.outside()
        for day in range(0, DAYS, STEP_DAYS):
            now = world.now = began + timedelta(days=day)
            world.deliver_replies()
            plan = service.plan(db=db, keyring=keyring, outside=outside, now=partial(_at, now))
            for chunk in plan.chunks:
                service.carry(chunk, db=db, keyring=keyring, outside=outside, now=now)
            world.read_mails()


def removal_states(db: Engine) -> dict[str, int]:
    """The number of requests by state."""
    with db.connect() as connection:
        rows = connection.execute(sa.text("SELECT state, count(*) FROM kordant.removal_requests GROUP BY 1 ORDER BY 1"))
        return {state: int(number) for state, number in rows}


def _at(moment: datetime) -> datetime:
    return moment


def _ask(db: Engine, keyring: Keyring, world: BrokerWorld, subscription_ids: Sequence[UUID], began: datetime) -> None:
    with db.begin() as connection:
        rows = [broker_row(broker) for broker in world.brokers]
        catalogue.import_rows(connection, ListSource.KORDANT, rows, now=began)
        rights.write_businesses(connection, businesses_of(world), now=began)
        ids = list(connection.execute(sa.text("SELECT id FROM kordant.brokers")).scalars())
        query = sa.select(subscriptions.c.id, subscriptions.c.subscriber_id)
        for row in connection.execute(query.where(subscriptions.c.id.in_(subscription_ids))).all():
            profile = Profile(
                subscriber_id=row.subscriber_id, country="US", state="CA", details={"city": "Fresno", "state": "CA"}
            )
            profiles.write(connection, keyring, profile, now=began)
            requests.create(connection, row.id, ids, now=began)
