"""Whole dumps through the whole scan: each input is registered, ingested, scanned for ten watched people and judged.

An input may be refused or read in part. It may not raise, fail the scan, or leave a person *clean* whose address is in
it as people and programs write addresses: in plain, with '%40', '&#64;' or '\\u0040', or as LDIF's base64.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.drop_folder import DropFolder
from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.lab.fuzz.mutations import worse
from kordant_jobs.lab.fuzz.outside import Fuzzed
from kordant_jobs.lab.world.forms import Form, forms, people
from kordant_jobs.postgres.database import create_engine
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.subscribers import NewItem, NewSubscriber

WATCHED = tuple(one.email.lower() for one in people(10))
LIMITS = DumpLimits(max_bytes=1 << 24, max_ratio=100, max_line_bytes=1 << 16, block_bytes=1 << 17)
_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
_SETTLED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_SIGNS = {"plain": b"@", "percent": b"%40", "entity": b"&#64;", "unicode": b"\\u0040"}
_BEFORE, _BEHIND = rb"(?<![\w.+%&'\x80-\xff\\/=-])", rb"(?![\w.@\x80-\xff\\&%=-])"
_LINE = re.compile(rb"[^\n]*\Z")
_CLEARED = (
    "exposure_evidence", "notification_outbox", "alerts", "alerted", "exposures", "source_verdicts", "scan_watermarks",
    "breach_dumps", "breaches",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScanFuzzResult:
    """The result of one input: the dump's status, and the people with the verdict *clean* who are in the dump."""

    status: str
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class World:
    """A database with ten subscribers, each watching an address, and a folder."""

    db: Engine
    keyring: Keyring
    folder: Path
    subscriptions: dict[str, UUID]

    @classmethod
    def made(cls, db: Engine, keyring: Keyring, folder: Path) -> World:
        """Add the subscribers."""
        made = {address: uuid4() for address in WATCHED}
        new = [
            NewSubscriber(
                id=uuid4(), subscription_id=subscription, tier="premium", locale="en", time_zone="UTC",
                name="Ann Example", contact=address, created_at=_SINCE,
                items=(NewItem(id=uuid4(), kind="email", canonical=address, verified_at=_SINCE, created_at=_SINCE),),
            )
            for address, subscription in made.items()
        ]  # fmt: skip
        with db.begin() as connection:
            subscribers.add(connection, new, keyring)
        return cls(db=db, keyring=keyring, folder=folder, subscriptions=made)

    def judge(self, content: bytes) -> ScanFuzzResult:
        """Drop one input, scan, and clear up. Raises whatever the scan raises."""
        shutil.rmtree(self.folder, ignore_errors=True)
        drop = self.folder / "drop"
        drop.mkdir(parents=True)
        path = drop / "dump.txt"
        path.write_bytes(content)
        os.utime(path, (_SETTLED, _SETTLED))
        box = DropBox(place=DropFolder(drop), keep_files=True, limits=LIMITS, phone_region="US")
        try:
            plan = service.plan_scan(
                Scope(), since=None, until=None, db=self.db, keyring=self.keyring, box=box, catalogue=None
            )
            corpus, progress = Corpus(self.folder / "corpus"), Progress(self.db, "fuzz")
            progress.start(0, "")
            for chunk in plan.chunks:
                service.match_chunk(
                    plan, chunk, db=self.db, keyring=self.keyring, box=box, corpus=corpus, progress=progress
                )
            service.record(plan, db=self.db)
            return self._judged(content)
        finally:
            with self.db.begin() as connection:
                for table in _CLEARED:
                    connection.execute(sa.text(f"DELETE FROM kordant.{table}"))  # noqa: S608 - names of ours

    def _judged(self, content: bytes) -> ScanFuzzResult:
        with self.db.connect() as connection:
            row = connection.execute(sa.text("SELECT status, reason FROM kordant.breach_dumps")).one_or_none()
            status, reason = row or ("not registered", None)
            if str(reason).startswith("A reader failed"):
                raise AssertionError(reason)
            verdicts = connection.execute(sa.text("SELECT subscription_id, verdict FROM kordant.source_verdicts"))
            clean = {subscription for subscription, verdict in verdicts if verdict == "clean"}
        missed = [one for one in standing(content) if self.subscriptions[one] in clean]
        return ScanFuzzResult(status=status, missed=tuple(missed))


def standing(content: bytes) -> list[str]:
    """The watched addresses that stand in a text beyond dispute: alone, between characters that are no part
    of an address; and not as the user of a URL."""
    lowered = content.lower()
    return [address for address in WATCHED if any(_stands(address, lowered))]


def _stands(address: str, content: bytes) -> Iterator[bool]:
    local, _, host = address.encode().partition(b"@")
    for sign in _SIGNS.values():
        for found in re.finditer(_BEFORE + re.escape(local + sign + host) + _BEHIND, content):
            line = _LINE.search(content, max(0, found.start() - 512), found.start())
            yield line is None or b"//" not in line[0]
    yield b"\nmail:: " + base64.b64encode(address.encode()).lower() + b"\n" in content


def seeds() -> list[Form]:
    """Every form of the people who are watched."""
    return list(forms(people(10)))


def planted(content: bytes, dice: Random) -> bytes:
    """`content` with one of the addresses put into it somewhere, in one of the ways in which it is looked for."""
    address = dice.choice(WATCHED).encode().replace(b"@", dice.choice(list(_SIGNS.values())))
    place = dice.randint(0, len(content))
    around = dice.choice((b"\n", b" ", b'"', b"\t", b"|", b"\r\n"))
    return content[:place] + around + address + around + content[place:]


def scans(count: int, seed: int, *, world: World) -> Fuzzed:
    """So many mutated forms; the first of those that broke something."""
    found, dice, known = Fuzzed(), Random(seed), seeds()  # noqa: S311 - dice
    for number in range(count):
        form = dice.choice(known)
        content = worse(form.content, dice) if dice.random() < 0.9 else form.content
        content = planted(content, dice) if dice.random() < 0.5 else content

        def act(content: bytes = content, name: str = form.name) -> str:
            judged = world.judge(content)
            if judged.missed:
                raise AssertionError(f"{name}: {len(judged.missed)} called clean though they stand in it")
            return judged.status

        found.judge(number, act)
    return found


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """A world on a database that is made in `folder` and goes away."""
    with EmbeddedPostgres(folder / "postgres") as postgres:
        db = create_engine(postgres.url("postgres"))
        migrate.upgrade(db)
        keyring = Keyring(bytes(range(32)))
        with db.begin() as connection:
            keyring.check(connection)
        yield World.made(db, keyring, folder / "world")
        db.dispose()
