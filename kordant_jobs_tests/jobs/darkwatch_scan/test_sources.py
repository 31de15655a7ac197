"""Outside sources within a scan: who is asked, how often, what is told, and what stays unknown."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.http import HttpLimits
from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.jobs.darkwatch_scan import service, sources
from kordant_jobs.jobs.darkwatch_scan.asked import Asked, ask_later
from kordant_jobs.jobs.darkwatch_scan.sources import Clock
from kordant_jobs.lab.fakes.sources.faults import Fault, FaultyServer
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp, breach
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck, FakeXposedOrNot
from kordant_jobs.lab.fakes.sources.server import FakeServer
from kordant_jobs.ports import Question
from kordant_jobs.store.darkwatch import breaches, judging, source_checks, source_states
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import watchlist_items
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

QUICK = HttpLimits(connect_s=0.3, read_s=0.3, total_s=0.4)


@dataclass
class Watch:
    """A clock that stands still but when it is waited by; waiting moves the tables' moments back instead."""

    db: Engine
    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """What was noted for later comes nearer by so much."""
        self.waits.append(seconds)
        self.now += seconds
        with self.db.begin() as connection:
            back = {"back": timedelta(seconds=seconds + 0.01)}
            for table, columns in (
                ("source_checks", ("retry_at", "asked_at")),
                ("source_states", ("open_until",)),
                ("rate_buckets", ("filled_at",)),
                ("breach_lookups", ("looked_up_at",)),
            ):
                for column in columns:
                    connection.execute(sa.text(f"UPDATE kordant.{table} SET {column} = {column} - :back"), back)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


@dataclass
class World:
    """A bench with a fake HIBP that may be asked often, and a watch."""

    bench: Bench
    hibp: FakeHibp
    server: FakeServer
    watch: Watch

    def sources(self, **more: Any) -> Sources:
        return Sources(on={Source.HIBP: Hibp(SecretStr(TEST_KEY), base_url=f"{self.server.url}/api/v3", **more)})

    def scan(self, sources_: Sources | None = None, budget_s: float = 1.5) -> tuple[list[Asked], service.Recorded]:
        bench, chosen = self.bench, sources_ or self.sources()
        plan = bench.plan()
        bench.match(plan)
        asked = sources.ask_sources(
            Scope(), chosen, db=bench.db, keyring=bench.keyring, budget_s=budget_s, clock=self.watch.clock
        )
        return asked, service.record(plan, db=bench.db, sources=chosen)

    def verdicts(self, source: Source = Source.HIBP) -> list[tuple[Any, ...]]:
        return self.bench.rows(
            f"SELECT verdict, reason FROM kordant.source_verdicts WHERE source = '{source}' ORDER BY subscription_id"
        )

    def catalogue(self) -> None:
        """Have the whole catalogue imported."""
        import json

        content = json.dumps(list(self.hibp.breaches.values())).encode()
        with self.bench.db.begin() as connection:
            found, rejected = parse_catalogue(content)
            breaches.save_catalogue(connection, content, found, rejected=rejected)
            connection.execute(sa.text("UPDATE kordant.breaches SET known_at = now() - interval '1 day'"))


@pytest.fixture
def world(db: Engine, keyring: Keyring, tmp_path: Path) -> Iterator[World]:
    fake = FakeHibp(rpm=60_000)
    fake.accounts |= {"ann@example.com": ("Adobe", "Gawker"), "cat@example.com": ("AdultFriendFinder", "OldForum")}
    with fake.server() as server:
        yield World(bench=bench_in(tmp_path, db, keyring), hibp=fake, server=server, watch=Watch(db))


def test_what_a_source_says_becomes_exposures_alerts_with_the_reason_and_verdicts(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com", "bob@example.com")
    subscribe(world.bench.db, world.bench.keyring, "dan@example.com")
    [asked], recorded = world.scan()
    assert (asked.asked, asked.exposed, asked.clean, asked.left) == (3, 1, 2, 0)
    assert recorded.new_alerts == 2
    [(why,), _] = world.bench.rows("SELECT why FROM kordant.alerts ORDER BY why::text")
    assert next(reason["code"] for reason in why) == "identifier_at_source"
    assert sorted(verdict for verdict, _ in world.verdicts()) == ["clean", "exposed"]
    evidence = world.bench.rows("SELECT source, reference, first_seen_at = last_seen_at FROM kordant.source_evidence")
    assert sorted(evidence) == [("hibp", "Adobe", True), ("hibp", "Gawker", True)]
    assert sorted(world.bench.rows("SELECT name, title FROM kordant.breaches")) == [
        ("Adobe", "Adobe"),
        ("Gawker", "Gawker"),
    ]


def test_our_own_corpus_is_not_exposed_by_what_another_source_says(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.bench.drop("x.txt", "nobody@example.com:a\n")
    world.scan()
    assert (world.verdicts(Source.DUMPS), world.verdicts()) == ([("clean", None)], [("exposed", None)])


def test_who_has_an_answer_is_not_asked_again_until_there_is_news(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.catalogue()
    world.scan()
    before = len(world.server.log)
    [asked], recorded = world.scan()
    assert (asked.asked, recorded.new_alerts, len(world.server.log)) == (0, 0, before)
    world.hibp.breaches["Fresh"] = breach("Fresh", AddedDate="2026-11-20T00:00:00Z")
    world.hibp.accounts["ann@example.com"] = ("Adobe", "Gawker", "Fresh")
    with world.bench.db.begin() as connection:
        connection.execute(sa.text("INSERT INTO kordant.breaches (name, source, title, is_verified) "
                                   "VALUES ('Fresh', 'hibp', 'Fresh', true)"))  # fmt: skip
    [asked], recorded = world.scan()
    assert (asked.asked, asked.new_exposures, recorded.new_alerts) == (1, 1, 1)


def test_a_plan_with_k_anonymity_is_asked_by_prefix_only(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    [asked], _ = world.scan()
    assert asked.exposed == 1
    about_people = [one.target for one in world.server.log if "account" in one.target]
    assert all("/breachedaccount/range/" in target for target in about_people)
    assert len(about_people) == 1


def test_the_rate_of_the_plan_is_kept_by_all_and_what_is_left_is_unknown_and_queued(world: World) -> None:
    world.hibp.rpm = 2
    for number in range(5):
        subscribe(world.bench.db, world.bench.keyring, f"p{number}@example.com")
    asked, _ = world.scan(budget_s=4.0)
    assert (asked[0].asked, asked[0].left, asked[0].why) == (1, 4, UnknownReason.RATE_LIMITED)
    assert sorted(world.verdicts(), key=str) == [("clean", None)] + [("unknown", "not_asked")] * 4
    first = ask_later(asked, db=world.bench.db)
    assert first is not None
    assert ask_later(asked, db=world.bench.db) == first
    [(ids, waits)] = world.bench.rows(
        "SELECT jsonb_array_length(payload -> 'subscription_ids'), run_at >= now() + interval '25 s' "
        "FROM kordant.job_requests"
    )
    assert (ids, waits) == (4, True)


def test_a_source_that_allows_a_few_an_hour_is_not_tried_every_minute(world: World) -> None:
    accounts = {f"p{number}@example.com": ("Tesco",) for number in range(7)}
    for address in accounts:
        subscribe(world.bench.db, world.bench.keyring, address)
    with FakeXposedOrNot(accounts=dict(accounts)).server() as server:
        slow = Sources(on={Source.XPOSEDORNOT: XposedOrNot(server.url)})
        asked, _ = world.scan(slow, budget_s=30)
    assert (asked[0].asked, asked[0].left) == (5, 2)
    assert ask_later(asked, db=world.bench.db) is not None
    [(wait_s,)] = world.bench.rows("SELECT extract(epoch FROM run_at - now())::float FROM kordant.job_requests")
    assert 60 < wait_s <= 180


def test_a_hiccup_is_asked_again_within_the_scan(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    sources.under_its_terms(world.sources().on[Source.HIBP], db=world.bench.db)
    world.hibp.hiccups = 1
    [asked], recorded = world.scan(budget_s=10)
    assert (asked.asked, asked.unknown, asked.exposed, recorded.new_alerts) == (2, 1, 1, 2)
    assert world.verdicts() == [("exposed", None)]


def test_retry_after_is_kept_to_by_everybody(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.hibp.allowance = 1  # the question after the plan is refused: come again in 2 seconds
    [asked], _ = world.scan(budget_s=1)
    assert (asked.unknown, asked.why) == (1, UnknownReason.RATE_LIMITED)
    assert world.verdicts() == [("unknown", "rate_limited")]
    with world.bench.db.begin() as connection:
        state = source_states.state_of(connection, Source.HIBP)
    assert state.open_until is not None
    assert state.last_failed_at is not None
    assert (state.failures, state.open_until - state.last_failed_at) == (0, timedelta(seconds=2))


def test_a_source_that_is_down_is_left_alone_and_probed_by_one_question(db: Engine, keyring: Keyring) -> None:
    for number in range(12):
        subscribe(db, keyring, f"p{number}@example.com")
    watch = Watch(db)
    with FaultyServer(Fault.ERROR_500) as server:
        down = Sources(on={Source.LEAKCHECK: LeakCheck(base_url=f"{server.url}/api")})

        def ask(budget_s: float) -> Asked:
            return sources.ask_sources(Scope(), down, db=db, keyring=keyring, budget_s=budget_s, clock=watch.clock)[0]

        first = ask(25)
        assert (first.unknown, server.asked) == (source_states.OPEN_AFTER, source_states.OPEN_AFTER)
        assert ask(5).asked == 0
        watch.sleep(31)
        assert ask(5).asked == 1
        assert ask(31).asked == 0
    with db.begin() as connection:
        state = source_states.state_of(connection, Source.LEAKCHECK)
    assert (state.failures, state.last_reason) == (6, UnknownReason.UNAVAILABLE)


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.SILENCE, Fault.PAGE, Fault.RESET, Fault.LIMITED])
def test_a_failing_source_never_makes_anybody_clean_and_the_scan_goes_on(world: World, fault: Fault) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.bench.drop("x.txt", "ann@example.com:a\n")
    with FaultyServer(fault) as server:
        bad = Hibp(SecretStr(TEST_KEY), base_url=server.url, limits=QUICK)
        _, recorded = world.scan(Sources(on={Source.HIBP: bad}))
    assert recorded.new_alerts == 1
    [(verdict, reason)] = world.verdicts()
    assert (verdict, bool(reason)) == ("unknown", True)


def test_a_breach_without_a_description_is_looked_up_once_and_then_alerted(world: World) -> None:
    """The range search gives names only. One that is in no catalogue yet is asked for once, then left for a while."""
    world.hibp.accounts["ann@example.com"] = ("Adobe",)
    row = dict(world.hibp.breaches["Adobe"])
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com", "x@example.com")
    world.hibp.accounts["x@example.com"] = ("Adobe",)
    hidden = world.hibp.answer

    def without(asked: Any) -> Any:
        from kordant_jobs.lab.fakes.sources.server import Reply

        return Reply(status=404) if "/breach/" in asked.path else hidden(asked)

    with FakeServer(without) as server:
        unknown = Sources(on={Source.HIBP: Hibp(SecretStr(TEST_KEY), base_url=f"{server.url}/api/v3")})
        world.scan(unknown)
        assert len([one for one in server.log if "/breach/" in one.target]) == 1
    assert world.verdicts() == [("unknown", "unreadable")]
    world.watch.sleep(301)
    _, recorded = world.scan()
    assert recorded.new_alerts == 2
    assert world.bench.rows("SELECT title FROM kordant.breaches") == [(row["Title"],)]
    assert len([one for one in world.server.log if "/breach/" in one.target]) == 1


def test_the_same_breach_under_another_name_is_alerted_once(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "found@example.com")
    world.hibp.accounts["found@example.com"] = ("Adobe",)
    with FakeLeakCheck().server() as leaks, FakeXposedOrNot().server() as exposed:
        _, recorded = world.scan()
        everybody = Sources(
            on={
                Source.LEAKCHECK: LeakCheck(base_url=f"{leaks.url}/api"),
                Source.XPOSEDORNOT: XposedOrNot(exposed.url),
            }
        )
        _, again = world.scan(everybody)
    assert (recorded.new_alerts, again.new_alerts) == (1, 3)
    names = [name for (name,) in world.bench.rows("SELECT breach_name FROM kordant.exposures ORDER BY 1")]
    assert names == ["Adobe", "leakcheck:Evony.com", "xposedornot:KiwiFarms", "xposedornot:Tesco"]
    told = world.bench.rows("SELECT source FROM kordant.source_evidence v JOIN kordant.exposures e "
                            "ON e.id = v.exposure_id WHERE breach_name = 'Adobe' ORDER BY 1")  # fmt: skip
    assert told == [("hibp",), ("leakcheck",)]


def test_a_source_that_is_off_is_said_once(world: World) -> None:
    off = Sources(off={Source.HIBP: "no key: set KORDANT_HIBP_API_KEY"})
    db = world.bench.db
    assert [len(sources.report_unconfigured(off, db=db)) for _ in range(3)] == [1, 0, 0]
    assert sources.report_unconfigured(world.sources(), db=db) == []
    assert len(sources.report_unconfigured(off, db=db)) == 1


def test_not_me_is_for_good_also_when_the_item_is_added_again(world: World) -> None:
    person = subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    db = world.bench.db
    world.scan()
    [(exposure_id,)] = world.bench.rows("SELECT id FROM kordant.exposures WHERE breach_name = 'Adobe'")
    with db.begin() as connection:
        assert judging.not_me(connection, exposure_id, said_by="ann")
        connection.execute(sa.text("UPDATE kordant.watchlist_items SET removed_at = now()"))
        connection.execute(
            sa.text("INSERT INTO kordant.watchlist_items (id, subscription_id, subscriber_id, kind, "
                    "identifier_encrypted, blind_index, verified_at) SELECT gen_random_uuid(), subscription_id, "
                    "subscriber_id, kind, identifier_encrypted, blind_index, now() FROM kordant.watchlist_items")
        )  # fmt: skip
        [(item, sealed)] = connection.execute(
            sa.text("SELECT id, identifier_encrypted FROM kordant.watchlist_items WHERE removed_at IS NULL")
        ).all()
        keys = world.bench.keyring.load_keys(connection, [person.subscriber_id])
        assert sealed
        connection.execute(
            sa.text("UPDATE kordant.watchlist_items SET identifier_encrypted = :sealed WHERE id = :id"),
            {
                "id": item,
                "sealed": keys.seal(
                    person.subscriber_id, watchlist_items.c.identifier_encrypted, item, "ann@example.com"
                ),
            },
        )
    _, recorded = world.scan()
    assert recorded.new_alerts == 0
    found = dict(world.bench.rows(f"SELECT breach_name, judgement FROM kordant.exposures WHERE item_id = '{item}'"))
    assert found == {"Adobe": "not_me", "Gawker": "alert"}


def test_a_breach_that_is_not_verified_waits_until_it_is(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.hibp.accounts["ann@example.com"] = ("Unverified",)
    _, recorded = world.scan()
    assert recorded.new_alerts == 0
    assert world.bench.rows("SELECT judgement, judgement_reason FROM kordant.exposures") == [
        ("withheld_unverified", "unverified")
    ]
    with world.bench.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.breaches SET is_verified = true"))
    assert world.scan()[1].new_alerts == 1


def test_two_scans_at_once_ask_about_everybody_once(world: World) -> None:
    for number in range(120):
        subscribe(world.bench.db, world.bench.keyring, f"person{number}@example.com")
    sources_ = world.sources(pastes=False)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(_asked_of_all, world, sources_) for _ in range(2)]
        [one], [other] = (scan.result() for scan in both)
    accounts = [asked.target for asked in world.server.log if "/breachedaccount/" in asked.target]
    assert len(accounts) == len(set(accounts)) == 120
    assert one.asked + other.asked == 120
    assert world.bench.rows("SELECT count(*), count(retry_at) FROM kordant.source_checks") == [(120, 0)]


def _asked_of_all(world: World, sources_: Sources) -> list[Asked]:
    return sources.ask_sources(Scope(), sources_, db=world.bench.db, keyring=world.bench.keyring, budget_s=60)


def test_what_a_killed_scan_had_claimed_is_asked_again_later(world: World) -> None:
    subscribe(world.bench.db, world.bench.keyring, "ann@example.com")
    world.scan()
    item_id, now = world.bench.rows("SELECT item_id, now() FROM kordant.source_checks")[0]
    with world.bench.db.begin() as connection:
        connection.execute(sa.text("DELETE FROM kordant.source_checks"))
        mine = Question(item_id=item_id, kind=IdentifierKind.EMAIL, canonical="ann@example.com")
        source_checks.claim(connection, Source.HIBP, [mine], now=now)
    [asked], _ = world.scan()
    assert (asked.asked, asked.left) == (0, 1)
    with world.bench.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.job_leases SET expires_at = now() WHERE name LIKE 'ask %'"))
    [asked], _ = world.scan()
    assert (asked.asked, asked.left) == (1, 0)
