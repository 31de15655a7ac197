"""What a subscriber reads of a finding: who, from whom, for how much, and the owner before; never in a subject."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.preview import preview
from kordant_jobs.lab.world.county import START, County
from kordant_jobs.lab.world.county_files import NAME, description
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.hometitle_scan.test_service import Bench
from kordant_jobs_tests.jobs.people import subscribe


@pytest.mark.parametrize(
    ("locale", "subject", "before"),
    [
        ("en", "Property alert", "Owner by the deed before"),
        ("pt-BR", "Alerta de imóvel", "Proprietário pela escritura anterior"),
    ],
)
def test_a_mail_says_who_took_what_from_whom(
    db: Engine, keyring: Keyring, tmp_path: Path, locale: str, subject: str, before: str
) -> None:
    county = County(11, lots=200, documents=1500, frauds=12)
    counties = Counties({NAME: description()}, tmp_path / "drop")
    bench = Bench(db, keyring, counties, county, subscribe(db, keyring, locale=locale))
    forged = next(one for one in county.records if one.truth.fraud == "forged-quitclaim-nominal")
    bench.publish("history", lambda one: one.recorded_on < forged.recorded_on)
    bench.watch_lots(list(forged.lots))
    bench.scan()
    bench.publish("news", lambda one: one.key == forged.key)
    assert bench.scan().new_alerts == 1
    [(notice,)] = bench.rows(
        f"SELECT o.id FROM kordant.notification_outbox o JOIN kordant.alerts a ON a.id = o.alert_id "
        f"JOIN kordant.property_findings f ON f.id = a.finding_id JOIN kordant.property_instruments i "
        f"ON i.id = f.instrument_id WHERE i.key = '{forged.key}'"
    )
    with db.connect() as connection:
        said, texts = preview(connection, keyring, [notice], sender=MailFrom(header="Kordant <alerts@kordant.example>"))
    text = texts["text/plain"]
    assert said.startswith(subject)
    assert not any(name in said for name in (*forged.givers, *forged.takers))
    assert all(name in text for name in (*forged.givers, *forged.takers, before, forged.key))
    assert f"https://recorder.example/{forged.key}" in text
    assert county.parcel(forged.lots[0]) not in text
    assert {"en": "Records as of", "pt-BR": "Registros até"}[locale] in text
    assert datetime.now(UTC).date() > START
