"""A pushed range: proved, matched by keyed hash only, scanned at once, alerted once however often it comes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.domain.identifiers import sha1_hex
from kordant_jobs.jobs.darkwatch_scan import service, sources
from kordant_jobs.jobs.darkwatch_scan.range_notifications import (
    MAX_BYTES,
    SIGNATURE,
    Accepted,
    NotificationRefused,
    accept_range_notification,
)
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp
from kordant_jobs.lab.fakes.sources.server import FakeServer
from kordant_jobs.pages.hooks import PATH, range_webhook
from kordant_jobs.postgres import database
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.asgi import Client
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import Person, subscribe

SECRET = SecretStr("s3cret")
BEARER = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    with db.begin() as connection:
        price_list.ensure(connection)
    return bench_in(tmp_path, db, keyring)


@pytest.fixture
def hibp() -> Iterator[FakeServer]:
    with FakeHibp(rpm=60_000).server() as server:
        yield server


def _watch(bench: Bench, address: str, tier: str = "premium") -> Person:
    person = subscribe(bench.db, bench.keyring, address, tier=tier)
    with bench.db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.watchlist_items SET range_index = :index WHERE id = :id"),
            {"index": bench.keyring.range_index(sha1_hex(address)), "id": person.items[address]},
        )
    return person


def _body(*addresses: str, breach: str = "Adobe") -> bytes:
    digests = [sha1_hex(one) for one in addresses]
    suffixes = [digest[6:] for digest in digests] + [f"{n:034X}" for n in range(300)]
    told = {"breachName": breach, "hashPrefix": digests[0][:6], "hashSuffixes": suffixes}
    return json.dumps(told).encode()


def _accept(bench: Bench, body: bytes, headers: dict[str, str] | None = None) -> Accepted:
    def take(connection: Connection) -> Accepted:
        return accept_range_notification(
            connection, BEARER if headers is None else headers, body, keyring=bench.keyring, secret=SECRET
        )

    with bench.db.begin() as connection:
        return take(connection)


def _scan(bench: Bench, url: str) -> service.Recorded:
    on = Sources(on={Source.HIBP: Hibp(SecretStr(TEST_KEY), base_url=f"{url}/api/v3")})
    plan = bench.plan()
    sources.ask_sources(Scope(), on, db=bench.db, keyring=bench.keyring, budget_s=5)
    return service.record(plan, db=bench.db, sources=on)


def test_who_is_named_is_scanned_at_once_and_alerted_once(bench: Bench, hibp: FakeServer) -> None:
    person = _watch(bench, "ann@example.com")
    _watch(bench, "bob@example.com")
    first = _accept(bench, _body("ann@example.com"))
    assert (first.items, first.request_id is not None) == (1, True)
    [(job, ids, priority)] = bench.rows("SELECT job, payload -> 'subscription_ids', priority FROM kordant.job_requests")
    assert (job, ids) == ("darkwatch_scan", [str(person.subscription_id)])
    assert priority is not None
    assert _scan(bench, hibp.url).new_alerts == 1
    assert bench.rows("SELECT count(*) FROM kordant.source_hints") == [(0,)]
    assert _accept(bench, _body("ann@example.com")).items == 0
    assert _scan(bench, hibp.url).new_alerts == 0
    assert bench.rows("SELECT e.breach_name, count(*) FROM kordant.alerts a JOIN kordant.exposures e "
                      "ON e.id = a.exposure_id GROUP BY 1") == [("Adobe", 1)]  # fmt: skip


def test_a_tier_without_real_time_hears_of_it_with_its_next_scan(bench: Bench, hibp: FakeServer) -> None:
    _watch(bench, "ann@example.com", tier="basic")
    taken = _accept(bench, _body("ann@example.com"))
    assert (taken.items, taken.request_id) == (1, None)
    assert _scan(bench, hibp.url).new_alerts == 1


def test_the_unknown_breach_is_described_once(bench: Bench, hibp: FakeServer) -> None:
    for name in ("ann", "bob", "cat"):
        _watch(bench, f"{name}@example.com")
        _accept(bench, _body(f"{name}@example.com", breach="Gawker"))
    assert _scan(bench, hibp.url).new_alerts == 3
    assert len([one for one in hibp.log if "/breach/Gawker" in one.target]) == 1


def test_nothing_of_a_hash_is_kept(bench: Bench) -> None:
    _watch(bench, "ann@example.com")
    _accept(bench, _body("ann@example.com"))
    digest = sha1_hex("ann@example.com")
    tables = [name for (name,) in bench.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'kordant'")]
    for table in tables:
        text = " ".join(str(row) for row in bench.rows(f"SELECT t::text FROM kordant.{table} t"))
        assert digest[6:].lower() not in text.lower(), table


def _signed(body: bytes, key: str = "s3cret") -> dict[str, str]:
    return {SIGNATURE: "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (_body("ann@example.com"), {}, 401),
        (_body("ann@example.com"), {"Authorization": "Bearer wrong"}, 401),
        (_body("ann@example.com"), {"Authorization": "Basic s3cret"}, 401),
        (_body("ann@example.com"), _signed(_body("ann@example.com"), "wrong"), 401),
        (_body("ann@example.com"), BEARER | _signed(b"another body"), 401),
        (b"{}", BEARER, 400),
        (b"<html>", BEARER, 400),
        (b'{"breachName": "Adobe", "hashPrefix": "56715", "hashSuffixes": []}', BEARER, 400),
        (b'{"breachName": "Adobe", "hashPrefix": "567159", "hashSuffixes": ["xyz"]}', BEARER, 400),
        (b" " * (MAX_BYTES + 1), BEARER, 413),
    ],
)
def test_what_does_not_prove_itself_or_is_none_is_refused(
    bench: Bench, body: bytes, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(NotificationRefused) as refused:
        _accept(bench, body, headers)
    assert refused.value.status == status
    assert bench.rows("SELECT count(*) FROM kordant.job_requests") == [(0,)]
    client = Client(range_webhook(bench.db, bench.keyring, SECRET))
    assert client.post(PATH, content=body, headers=headers).status_code == status


def test_a_signature_is_as_good_as_the_token(bench: Bench) -> None:
    _watch(bench, "ann@example.com")
    body = _body("ann@example.com")
    client = Client(range_webhook(bench.db, bench.keyring, SECRET))
    answer = client.post(PATH, content=body, headers=_signed(body))
    assert (answer.status_code, answer.json()) == (200, {"queued": True})
    assert client.get(PATH).status_code == 405


def test_without_a_secret_nothing_is_taken(bench: Bench) -> None:
    client = Client(range_webhook(bench.db, bench.keyring, None))
    assert client.post(PATH, content=_body("a@b.example"), headers={"Authorization": "Bearer "}).status_code == 401


def test_when_it_cannot_be_queued_it_is_to_be_pushed_again(bench: Bench) -> None:
    gone = database.create_engine("postgresql://nobody@127.0.0.1:9/none")
    client = Client(range_webhook(gone, bench.keyring, SECRET))
    answer = client.post(PATH, content=_body("ann@example.com"), headers=BEARER)
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
