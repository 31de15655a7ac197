"""What a stealer log says beyond an address: where somebody logged in, and that a device is infected."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.jobs.notifications_send.alert_message import stolen_classes
from kordant_jobs.store.darkwatch import evidence
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.darkwatch_scan.bench import Bench, bench_in
from kordant_jobs_tests.jobs.people import subscribe

BLOCKS = """URL: https://www.shop.example/login?next=/
Username: ann@example.com
Password: Tulip-77

URL: android://k3y==@com.bank.app/
Username: ann@example.com
Password: Tulip-78

URL: https://other.example/
Username: bob@example.com
Password: Tulip-79
"""
LINES = """https://www.shop.example/login:ann@example.com:Tulip-77
android://k3y==@com.bank.app/:ann@example.com:Tulip-78
https://other.example:8443/a:bob@example.com:Tulip-79
"""


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    return bench_in(tmp_path, db, keyring)


@pytest.mark.parametrize("text", [BLOCKS, LINES])
def test_the_sites_stand_in_the_evidence_and_in_the_alert(bench: Bench, text: str) -> None:
    before = subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("passwords.txt", text)
    bench.scan()
    later = subscribe(bench.db, bench.keyring, "ann@example.com", "carl@example.com")
    bench.scan()
    for person in (before, later):
        with bench.db.connect() as connection:
            [exposed] = evidence.of_subscription(connection, person.subscription_id)
        assert exposed.places[0].sites == ("com.bank.app", "shop.example")
        assert exposed.severity == "critical"
    alerts = bench.rows("SELECT why::text FROM kordant.alerts")
    assert len(alerts) == 2
    assert all("com.bank.app" in why and "other.example" not in why for (why,) in alerts)


def test_the_day_of_a_log_is_that_of_its_folder(bench: Bench) -> None:
    for who in ("ann@example.com", "bob@example.com", "carl@example.com"):
        subscribe(bench.db, bench.keyring, who)
    folders = {"BR[9F1C] [2022-06-05T15_34_51-07_00]": "ann", "DE[7A] [2023-02-30]": "bob", "US[2024.03.09]": "carl"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for folder, name in folders.items():
            block = f"URL: https://shop.example/\nUsername: {name}@example.com\nPassword: Tulip-77\n\n"
            archive.writestr(f"{folder}/Passwords.txt", block)
    bench.drop("logs.zip", packed.getvalue())
    bench.scan()
    query = (
        "SELECT e.id FROM kordant.exposures e JOIN kordant.exposure_evidence v ON v.exposure_id = e.id ORDER BY v.line"
    )
    with bench.db.connect() as connection:
        [found] = [evidence.of_exposures(connection, [one for (one,) in bench.rows(query)])]
    days = {place.line or 0: place.logged_on for one in found for place in one.places}
    assert [days[line] for line in sorted(days)] == [date(2022, 6, 5), None, date(2024, 3, 9)]
    assert "9F1C" not in str(bench.rows("SELECT ledger FROM kordant.breach_dumps"))


def test_a_site_makes_an_address_alone_urgent(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com", "dora@example.com")
    bench.drop("a.csv", "url,email\nhttps://shop.example/,ann@example.com\nhttps://shop.example/,eve@example.com\n")
    bench.drop("b.csv", "id,email\n1,dora@example.com\n2,eve@example.com\n")
    bench.scan()
    assert bench.rows(
        "SELECT v.sites, a.severity FROM kordant.alerts a JOIN kordant.exposure_evidence v USING (exposure_id) "
        "ORDER BY v.sites"
    ) == [([], "low"), (["shop.example"], "high")]


def test_a_bare_mention_claims_no_password(bench: Bench) -> None:
    subscribe(bench.db, bench.keyring, "ann@example.com")
    bench.drop("notes.txt", "We met ann@example.com at the station, and then went home.\n" * 3)
    bench.scan()
    [(secret, why)] = bench.rows(
        "SELECT e.secret, a.why::text FROM kordant.alerts a JOIN kordant.exposures e ON e.id = a.exposure_id"
    )
    assert secret == "mentioned"
    assert "secret_in_dump" not in why
    with bench.db.connect() as connection:
        ids = list(connection.execute(sa.text("SELECT id FROM kordant.notification_outbox")).scalars())
        [row] = outbox.alert_rows(connection, ids)
    assert "Passwords" not in stolen_classes(row)
