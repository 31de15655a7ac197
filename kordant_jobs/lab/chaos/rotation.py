"""`kordant-jobs chaos-rotation`: `keys rotate`, killed again and again, judged by opening every encrypted value.

Each call is a process of its own, as an operator starts it, with its own database and key file. The first kill strikes
once the new key is in the file, the last one when no data is left under the old key, the others in between.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Connection, Engine

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.privacy.owners import KEY_TABLES
from kordant_jobs.privacy.verification import opened
from kordant_jobs.store import migrate
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring, key_id
from kordant_jobs.store.people.master_key import keyring_of, make_key_file, read_key_file
from kordant_jobs.store.people.tables import keyring_check, subscriber_keys, watchlist_items

ITEMS_EACH = 2
"""Watched items of a subscriber, at least and on average."""
LOOK_S = 0.005
GIVEN_UP_AFTER_S = 300.0
SAMPLED = 20
"""Old wrapped keys that are searched in the database's files."""

Values = dict[tuple[str, UUID], bytes | None]
"""A hash of each encrypted value by column and row; None: it does not open."""


@dataclass(kw_only=True)
class Site:
    """The database and the key file of one campaign."""

    db: Engine
    data: Path
    key_file: Path
    environ: Mapping[str, str]

    @property
    def keyring(self) -> Keyring:
        """The keyring with the keys that are in the file now."""
        keyring = keyring_of(read_key_file(self.key_file))
        with self.db.connect() as connection:
            keyring.adopt(connection)
        return keyring

    def start(self) -> subprocess.Popen[str]:
        """Start `keys rotate`."""
        command = [sys.executable, "-m", "kordant_jobs.cli", "keys", "rotate", "--json"]
        return subprocess.Popen(command, cwd=CHECKOUT, env=self.environ, stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.DEVNULL)  # fmt: skip

    def under(self, master_key_id: str) -> int:
        """The number of wrapped keys, the index root among them, under one master key."""
        tables = (*KEY_TABLES, keyring_check)
        with self.db.connect() as connection:
            return sum(
                connection.execute(
                    sa.select(sa.func.count()).select_from(one).where(one.c.master_key_id == master_key_id)
                ).scalar_one()
                for one in tables
            )


@dataclass(kw_only=True)
class Books:
    """The results of a campaign."""

    items: int
    values: int
    amid_work: int = 0
    """Kills that found their process at work."""
    unreadable: list[int] = field(default_factory=list)
    """Values that did not open, or opened as another text, after each kill and at the end."""
    under_old_key: int = 0
    found_in_files: int = 0
    """Old wrapped keys, of a sample, that are still in the database's files."""
    values_per_s: float = 0.0
    items_per_s: float = 0.0

    def figures(self, kills: int) -> list[Figure]:
        """Against their goals."""

        def figure(key: str, value: float, goal: float | None = None, unit: str = "") -> Figure:
            return Figure(key=key, value=value, unit=unit, goal=goal)

        return [
            figure("items", self.items),
            figure("values", self.values),
            Figure(key="kills_amid_work", value=self.amid_work, unit="", goal=kills, direction="min"),
            figure("unreadable_after_a_kill", max(self.unreadable[:-1], default=0), 0),
            figure("unreadable_at_the_end", self.unreadable[-1], 0),
            figure("keys_under_the_old_one", self.under_old_key, 0),
            figure("old_keys_in_files", self.found_in_files, 0),
            figure("values_per_s", self.values_per_s, unit="1/s"),
            figure("items_per_s", self.items_per_s, unit="1/s"),
        ]


@contextmanager
def _site(items: int, seed: int) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="kordant-rotation-") as folder:
        state = Path(folder)
        with EmbeddedPostgres(state) as postgres:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("KORDANT_")}
            environ |= {"KORDANT_STATE_DIR": folder, "KORDANT_DATABASE_URL": postgres.url()}
            db, data = database.create_engine(postgres.url()), postgres.status().data_dir
            if data is None:
                raise KordantError("the embedded Postgres does not say where its files are.")
            site = Site(db=db, data=data, key_file=state / "master.key", environ=environ)
            migrate.upgrade(db)
            keyring = keyring_of(make_key_file(site.key_file))
            with db.begin() as connection:
                keyring.check(connection)
                people = make_population(seed, -(-items // ITEMS_EACH))
                subscribers.add(connection, new_subscribers(people, datetime.now(UTC)), keyring)
            try:
                yield site
            finally:
                db.dispose()


def values_of(connection: Connection, keyring: Keyring) -> Values:
    """Every encrypted value of subscribers and entities."""
    return {
        (one.place, one.row_id): None
        if one.text is None
        else hashlib.blake2b(one.text.encode(), digest_size=16).digest()
        for one in opened(connection, keyring)
    }


def _differing(site: Site, before: Values) -> int:
    with site.db.connect() as connection:
        now = values_of(connection, site.keyring)
    return len(before.keys() ^ now.keys()) + sum(now[one] != before[one] for one in before.keys() & now.keys())


def _killed_at(site: Site, old: str, left: int | None) -> bool:
    """Start a rotation and kill it once at most `left` keys are under the old one; None: once the new key is in the
    file. True when it was at work."""
    process, deadline = site.start(), time.monotonic() + GIVEN_UP_AFTER_S
    while process.poll() is None and time.monotonic() < deadline:
        if len(read_key_file(site.key_file)) > 1 if left is None else site.under(old) <= left:
            break
        time.sleep(LOOK_S)
    process.kill()
    process.communicate()
    return process.returncode < 0


def _finished(site: Site) -> dict[str, Any]:
    process = site.start()
    printed, _ = process.communicate()
    if process.returncode:
        raise KordantError(f"`keys rotate` ended with code {process.returncode}.")
    found: dict[str, Any] = json.loads(printed)
    return found


def run_campaign(items: int, kills: int, seed: int) -> Books:
    """Rotate the key of so many watched items (or a few more) with kills, and again without any, for its speed.

    Raises:
        KordantError: a rotation that was not killed failed.
    """
    with _site(items, seed) as site:
        (old_key,) = read_key_file(site.key_file)
        old = key_id(old_key)
        with site.db.connect() as connection:
            before = values_of(connection, site.keyring)
            count = connection.execute(sa.select(sa.func.count()).select_from(watchlist_items)).scalar_one()
            sample = list(connection.execute(sa.select(subscriber_keys.c.wrapped_key).limit(SAMPLED)).scalars())
        _checkpoint(site.db)
        if _in_files(site.data, sample) != SAMPLED:
            raise KordantError("the old keys cannot be found in the database's files even before the rotation.")
        books, owners = Books(items=count, values=len(before)), site.under(old)
        for number in range(kills):
            left = None if number == 0 else 1 + int(owners * (kills - 1 - number) / kills)  # 1: the index root
            books.amid_work += _killed_at(site, old, left)
            books.unreadable.append(_differing(site, before))
            err.print(f"kill {number + 1}: {site.under(old):,} keys left under the old one", highlight=False)
        _finished(site)
        books.unreadable.append(_differing(site, before))
        books.under_old_key = site.under(old) + (old_key in read_key_file(site.key_file))
        books.found_in_files = _in_files(site.data, sample)
        whole = _finished(site)
        books.values_per_s = whole["values"] / whole["seconds"]
        books.items_per_s = count / whole["seconds"]
        books.unreadable.append(_differing(site, before))
        return books


def _checkpoint(db: Engine) -> None:
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))


def _in_files(data: Path, sample: list[bytes]) -> int:
    """The number of these byte strings that are in a file of the database, its log included."""
    left = set(map(bytes, sample))
    for path in data.rglob("*"):
        if left and path.is_file():
            content = path.read_bytes()
            left -= {one for one in left if one in content}
    return len(set(map(bytes, sample))) - len(left)


def chaos_rotation(
    items: Annotated[int, typer.Option(min=1, help="Watched items, at least.")] = 100_000,
    kills: Annotated[int, typer.Option(min=1, help="How often the rotation is killed.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same subscribers.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Kill `keys rotate` again and again, and open every encrypted value after each kill and at the end; then rotate
    once more without kills, for the speed. Some minutes with 100,000 items. Exit code 1: a value does not open, or
    something is under the old key."""
    raise SystemExit(finish("chaos-rotation", lambda: run_campaign(items, kills, seed).figures(kills), as_json=as_json))
