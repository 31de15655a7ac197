"""A scan on a real database over an invented county that comes as files: found is what was planted, and once."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.hometitle_scan import service
from kordant_jobs.jobs.hometitle_scan.service import SINCE_LAST, Recorded, Window
from kordant_jobs.lab.world.county import START, YEARS, County
from kordant_jobs.lab.world.county_files import NAME, description, write_csv
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import matching, records, watches
from kordant_jobs_tests.adapters.counties.test_drivers import serving_four
from kordant_jobs_tests.jobs.hometitle_scan import killed_scan
from kordant_jobs_tests.jobs.people import Person, subscribe

LATE = START + timedelta(days=YEARS * 365 - 200)


@dataclass
class Bench:
    db: Engine
    keyring: Keyring
    counties: Counties
    county: County
    person: Person

    @property
    def folder(self) -> Path:
        return self.counties.drop / NAME

    def publish(self, name: str, chosen: Any) -> None:
        write_csv(self.county, [one for one in self.county.records if chosen(one)], self.folder / f"{name}.csv")

    def watch(self, *wanted: watches.NewWatch, person: Person | None = None) -> list[UUID]:
        with self.db.begin() as connection:
            subscription_id = (person or self.person).subscription_id
            return watches.add(connection, self.keyring, subscription_id, wanted)

    def watch_lots(self, lots: range | list[int]) -> None:
        self.watch(*(watches.NewWatch(county=NAME, parcel=self.county.parcel(lot)) for lot in lots))

    def scan(self, window: Window = SINCE_LAST) -> Recorded:
        plan = service.plan_scan(Scope(), window, db=self.db, keyring=self.keyring, counties=self.counties)
        with Progress(self.db, "test") as progress:
            for chunk in plan.chunks:
                service.compare(chunk, db=self.db, keyring=self.keyring, counties=self.counties, progress=progress)
        return service.record(plan, db=self.db, counties=self.counties)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.db.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def everything(self) -> list[list[tuple[Any, ...]]]:
        return [
            self.rows("SELECT key, event, recorded_on, content_hash FROM kordant.property_instruments ORDER BY 1"),
            self.rows("SELECT i.key, f.watch_id, f.event, f.severity, f.is_told, f.reasons, f.case_key FROM "
                      "kordant.property_findings f JOIN kordant.property_instruments i ON i.id = f.instrument_id "
                      "ORDER BY 1, 2"),
            self.rows("SELECT finding_id, severity, why FROM kordant.alerts ORDER BY 1"),
            self.rows("SELECT alert_id, channel, category FROM kordant.notification_outbox ORDER BY 1, 2"),
        ]  # fmt: skip


@pytest.fixture
def bench(db: Engine, keyring: Keyring, tmp_path: Path) -> Bench:
    counties = Counties({NAME: replace_latency(4000)}, tmp_path / "drop")
    return Bench(db, keyring, counties, County(11, lots=200, documents=1500, frauds=12), subscribe(db, keyring))


def replace_latency(days: int) -> Any:
    return description().model_copy(update={"latency_days": days})


def alerts(bench: Bench) -> list[tuple[Any, ...]]:
    return bench.rows(
        "SELECT i.key, a.severity FROM kordant.alerts a JOIN kordant.property_findings f ON f.id = a.finding_id "
        "JOIN kordant.property_instruments i ON i.id = f.instrument_id ORDER BY 1"
    )


def test_every_planted_fraud_is_a_critical_alert_and_no_more_is_critical(bench: Bench) -> None:
    bench.publish("history", lambda one: one.recorded_on < START)
    bench.watch_lots(range(200))
    first = bench.scan()
    assert first.new_alerts == 0  # what came with the first load is history
    bench.publish("news", lambda one: one.recorded_on >= START)
    bench.scan()
    planted = {one.key for one in bench.county.records if one.truth.fraud and one.truth.loud}
    critical = {key for key, severity in alerts(bench) if severity == "critical"}
    loud = {one.key for one in bench.county.records if one.truth.loud}
    assert planted <= critical
    assert len(critical - loud) <= 2


def test_a_second_scan_and_a_late_correction_tell_nothing_twice(bench: Bench) -> None:
    bench.publish("history", lambda one: one.recorded_on < LATE)
    bench.watch_lots(range(200))
    bench.scan()
    bench.publish("news", lambda one: one.recorded_on >= LATE)
    assert bench.scan().new_alerts > 0
    before = bench.everything()
    assert bench.scan().new_alerts == 0
    assert bench.everything() == before
    bench.county.records[-1] = replace(bench.county.records[-1], amount=bench.county.records[-1].amount + 1)
    bench.publish("news", lambda one: one.recorded_on >= LATE)
    assert bench.scan().new_alerts == 0


@pytest.mark.parametrize("known_before", [True, False])
def test_a_document_that_is_corrected_into_a_critical_one_alerts_once(bench: Bench, known_before: bool) -> None:
    """Of the past that came with the first load, or alerted as low before."""
    forged = next(one for one in bench.county.records if one.truth.fraud == "forged-quitclaim-nominal")
    place = bench.county.records.index(forged)
    bench.counties = replace(bench.counties, by_id={NAME: replace_latency(1)})  # else all of the past is lately
    bench.county.records[place] = replace(forged, takers=forged.givers)  # the index names the owners on both sides
    past = (lambda _: True) if known_before else (lambda one: one.key != forged.key)
    bench.publish("all", past)
    bench.watch_lots(list(forged.lots))
    bench.scan()
    bench.publish("all", lambda _: True)
    bench.scan()
    severities = [severity for key, severity in alerts(bench) if key == forged.key]
    assert severities == ([] if known_before else ["low"])
    bench.county.records[place] = forged
    bench.publish("all", lambda _: True)
    assert bench.scan().new_alerts >= 1
    assert ("critical",) in bench.rows(
        "SELECT a.severity FROM kordant.notification_outbox o JOIN kordant.alerts a ON a.id = o.alert_id"
    )
    bench.county.records[place] = replace(forged, amount=forged.amount + 1)
    bench.publish("all", lambda _: True)
    assert bench.scan().new_alerts == 0
    severities = sorted(severity for key, severity in alerts(bench) if key == forged.key)
    assert severities == (["critical"] if known_before else ["critical", "low"])


def test_a_day_scanned_again_alerts_what_was_not_and_leaves_verdicts_and_watermarks(bench: Bench) -> None:
    bench.publish("history", lambda one: one.recorded_on < LATE)
    bench.watch_lots(range(200))
    bench.scan()
    bench.publish("news", lambda one: one.recorded_on >= LATE)
    alerts = bench.scan().new_alerts
    assert alerts > 0
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    everything = len(bench.rows("SELECT 1 FROM kordant.alerts"))
    for table in ("notification_outbox", "alerts", "property_findings"):  # as if the scans of that day had failed
        with bench.db.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM kordant.{table}"))
    kept = "SELECT * FROM kordant.scan_watermarks", "SELECT * FROM kordant.property_verdicts"
    before = [bench.rows(query) for query in kept]
    day_before = bench.scan(Window(since=today - timedelta(days=2), until=today - timedelta(days=1)))
    assert (day_before.new_alerts, bench.rows("SELECT count(*) FROM kordant.property_findings")) == (0, [(0,)])
    again = bench.scan(Window(since=today - timedelta(days=1), until=today + timedelta(days=1)))
    assert again.new_alerts == everything
    assert (again.clean, again.found, again.unknown) == (0, 0, 0)
    assert [bench.rows(query) for query in kept] == before


def test_a_new_parcel_is_looked_up_in_what_is_kept(bench: Bench) -> None:
    bench.publish("all", lambda one: True)
    bench.watch_lots([0])
    bench.scan()
    bench.watch_lots([1])
    bench.scan()
    kept = bench.rows("SELECT count(DISTINCT watch_id) FROM kordant.property_findings")
    assert kept == [(2,)]


def test_one_document_over_many_lots_is_one_document_and_a_finding_a_lot(bench: Bench) -> None:
    wide = next(one for one in bench.county.records if len(one.lots) > 1)
    bench.publish("wide", lambda one: one.key == wide.key)
    bench.watch_lots(list(wide.lots))
    bench.scan()
    assert bench.rows("SELECT count(*) FROM kordant.property_instruments") == [(1,)]
    assert bench.rows("SELECT count(*) FROM kordant.property_findings") == [(len(wide.lots),)]


def test_an_owner_is_found_by_name_alone_and_not_me_is_remembered(bench: Bench) -> None:
    deed = next(one for one in bench.county.records if one.truth.relation == "stranger" and not one.truth.fraud
                and one.recorded_on >= LATE and len(one.giver_ids) == 1
                and bench.county.people.all[one.giver_ids[0]].middle)  # fmt: skip
    bench.publish("history", lambda one: one.recorded_on < START)
    bench.watch(watches.NewWatch(county=NAME, owners=(bench.county.people.all[deed.giver_ids[0]].full,)))
    bench.scan()
    bench.publish("news", lambda one: one.key == deed.key)
    assert bench.scan().new_alerts == 1
    [(finding,)] = bench.rows("SELECT id FROM kordant.property_findings WHERE is_told AND is_news")
    with bench.db.begin() as connection:
        assert matching.not_me(connection, finding, said_by="test")
    bench.county.records.append(replace(deed, key=deed.key + "B"))
    bench.publish("more", lambda one: one.key == deed.key + "B")
    assert bench.scan().new_alerts == 0


def test_a_county_that_cannot_be_read_is_unknown_and_stops_no_other(bench: Bench) -> None:
    bench.publish("all", lambda one: True)
    other = bench.counties.by_id[NAME].model_copy(update={"id": "silent"})
    bench.counties = replace(bench.counties, by_id={**bench.counties.by_id, "silent": other})
    bench.watch_lots([0])
    bench.watch(watches.NewWatch(county="silent", parcel="3000010001"))
    bench.scan()
    found = dict(bench.rows("SELECT county, verdict FROM kordant.property_verdicts"))
    assert found["silent"] == "unknown"
    assert found[NAME] in {"clean", "found"}


def test_a_file_without_a_column_makes_the_county_unknown_until_it_is_mended(bench: Bench) -> None:
    bench.publish("all", lambda one: True)
    (bench.folder / "other.csv").write_text("document,kind\n1,DEED\n")
    bench.watch_lots([0])
    bench.scan()
    verdicts = "SELECT verdict, reason FROM kordant.property_verdicts"
    assert bench.rows(verdicts) == [("unknown", "rows_not_understood")]
    (bench.folder / "other.csv").unlink()
    bench.scan()
    assert bench.rows(verdicts)[0][0] in {"clean", "found"}


@pytest.mark.parametrize(("with_number", "verdict"), [(1, "unknown"), (3, "clean")])
def test_a_county_whose_documents_mostly_name_no_parcel_is_never_clean(
    bench: Bench, with_number: int, verdict: str
) -> None:
    bench.folder.mkdir(parents=True)
    lines = [f"D{n},DEED,2024-01-02,2024-01-01,1,{'3000990001' if n < with_number else ''},A B,C D," for n in range(4)]
    (bench.folder / "all.csv").write_text(
        "document,type,recorded,executed,price,parcels,from,to,refers\n" + "\n".join(lines)
    )
    bench.watch_lots([0])
    bench.scan()
    assert bench.rows("SELECT verdict FROM kordant.property_verdicts") == [(verdict,)]


def test_a_first_read_that_broke_off_is_unknown_and_goes_on_from_there(bench: Bench) -> None:
    with serving_four(400, page=100) as (fake, reader):
        described = reader.county.model_copy(update={"latency_days": 4000})
        bench.counties = Counties({described.id: described}, bench.counties.drop, server=reader.tables.server)
        bench.watch(watches.NewWatch(county=described.id, parcel="000000001"))
        pages = iter(range(100))

        def break_off() -> None:
            fake.traps.errors_first = 10**6 if next(pages) == 14 else 0

        fake.traps.after_page = break_off
        assert bench.scan().unknown == 1
        [(kept,)] = bench.rows("SELECT count(*) FROM kordant.property_instruments")
        assert 0 < kept < 400
        fake.traps.after_page, fake.traps.errors_first = None, 0
        asked = len(fake.asked)
        bench.scan()
        assert bench.rows("SELECT count(*), count(DISTINCT key) FROM kordant.property_instruments") == [(400, 400)]
        assert bench.rows("SELECT count(*) FROM kordant.property_instruments WHERE is_first_load") == [(400,)]
        again = [unquote_plus(one.path) for one in fake.asked[asked:] if "resource/main" in one.path]
        assert all("IS NOT NULL" in path or "doc > 'D" in path for path in again)  # none from the beginning
        assert bench.rows("SELECT watermarks -> 'instruments' FROM kordant.county_states") == [("1",)]


def test_a_feed_that_stopped_is_unknown_and_named_for_the_operator(bench: Bench) -> None:
    bench.counties = replace(bench.counties, by_id={NAME: replace_latency(30)})
    bench.publish("old", lambda one: one.recorded_on < START)
    bench.watch_lots([0])
    recorded = bench.scan()
    assert (recorded.unknown, recorded.clean, len(recorded.stale)) == (1, 0, 1)


def test_no_name_and_no_parcel_number_is_in_clear(bench: Bench) -> None:
    bench.publish("all", lambda one: True)
    bench.watch(watches.NewWatch(county=NAME, parcel=bench.county.parcel(0), owners=("Zebulon Canary",)))
    bench.scan()
    tables = bench.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'kordant'")
    text = "".join(str(bench.rows(f'SELECT row_to_json(t)::text FROM kordant."{name}" t')) for (name,) in tables)
    names = {party for one in bench.county.records[:200] for party in (*one.givers, *one.takers)}
    assert not [name for name in names if name in text]
    assert bench.county.parcel(0) not in text
    assert "Canary" not in text


def test_a_forgotten_subscriber_leaves_nothing(bench: Bench) -> None:
    from kordant_jobs.store.people.subscribers import forget

    bench.publish("all", lambda one: True)
    bench.watch_lots([0, 1])
    bench.scan()
    with bench.db.begin() as connection:
        forget(connection, bench.person.subscriber_id)
    for table in ("watched_properties", "property_findings", "property_verdicts", "watched_name_keys", "alerts"):
        assert bench.rows(f"SELECT count(*) FROM kordant.{table}") == [(0,)]


CLEARED = ("notification_outbox", "alerts", "property_findings", "property_instruments", "property_verdicts",
           "county_states", "scan_watermarks")  # fmt: skip


def _kept(bench: Bench) -> list[list[tuple[Any, ...]]]:
    """Everything that scans wrote, by what it says and not by its ids and times."""
    return [
        bench.rows("SELECT key, number, code, event, form, recorded_on, executed_on, amount, refers_to, content_hash, "
                   "is_first_load FROM kordant.property_instruments ORDER BY key"),
        bench.rows("SELECT l.parcel_index, i.key FROM kordant.property_lots l JOIN kordant.property_instruments i "
                   "ON i.id = l.instrument_id ORDER BY 1, 2"),
        bench.rows("SELECT n.key_index, i.key FROM kordant.property_name_keys n JOIN kordant.property_instruments i "
                   "ON i.id = n.instrument_id ORDER BY 1, 2"),
        bench.rows("SELECT i.key, f.watch_id, f.event, f.severity, f.is_told, f.is_news, f.reasons, f.case_key, "
                   "f.before_key, a.severity, a.why::text, o.channel, o.category FROM kordant.property_findings f "
                   "JOIN kordant.property_instruments i ON i.id = f.instrument_id "
                   "LEFT JOIN kordant.alerts a ON a.finding_id = f.id "
                   "LEFT JOIN kordant.notification_outbox o ON o.alert_id = a.id ORDER BY 1, 2, 12"),
        bench.rows("SELECT subscription_id, county, verdict, reason, data_as_of, watched, findings "
                   "FROM kordant.property_verdicts ORDER BY 1, 2"),
        bench.rows("SELECT county, watermarks, freshness, data_as_of, rows, reason FROM kordant.county_states"),
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("commit", 1),
        ("after_cursor_execute", 14),
        *(pytest.param("commit", number, marks=pytest.mark.slow) for number in (0, 2, 3, 4, 5, 6)),
        *(pytest.param("after_cursor_execute", number, marks=pytest.mark.slow) for number in (8, 24)),
    ],
)
def test_a_scan_killed_at_any_moment_and_run_again_leaves_the_rows_of_a_clean_one(
    bench: Bench, event: str, number: int
) -> None:
    bench.watch_lots(range(60))
    history, news = (lambda one: one.recorded_on < LATE), (lambda one: one.recorded_on >= LATE)
    bench.publish("history", history)
    bench.scan()
    bench.publish("news", news)
    bench.scan()
    clean = _kept(bench)
    with bench.db.begin() as connection:
        for table in CLEARED:
            connection.execute(sa.text(f"DELETE FROM kordant.{table}"))
    (bench.folder / "news.csv").rename(bench.folder / "news.later")
    bench.scan()
    (bench.folder / "news.later").rename(bench.folder / "news.csv")
    url = bench.db.url.render_as_string(hide_password=False)
    killed = subprocess.run(
        [sys.executable, "-m", killed_scan.__name__, url, str(bench.counties.drop), event, str(number)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    bench.scan()
    assert _kept(bench) == clean
    assert [row for row in clean[3] if row[9] == "critical"]


def test_states_keep_the_sources_own_watermark(bench: Bench) -> None:
    bench.publish("all", lambda one: True)
    bench.watch_lots([0])
    bench.scan()
    with bench.db.connect() as connection:
        state = records.states(connection)[NAME]
    assert state.data_as_of == max(one.recorded_on for one in bench.county.records)
    assert state.reason is None


@pytest.mark.slow
def test_thirty_days_with_corrections_moved_rows_and_a_pause_tell_everything_once(bench: Bench) -> None:
    """A day here is ninety of the county's, so that each brings some documents."""
    step = timedelta(days=90)
    began = START + timedelta(days=YEARS * 365) - 30 * step
    bench.publish("history", lambda one: one.recorded_on < began)
    bench.watch_lots(range(0, 200, 2))
    bench.scan()
    for day in range(1, 31):
        if not 8 <= day < 22:  # two weeks without a new file
            bench.publish("news", lambda one, until=began + day * step: began <= one.recorded_on < until)
        if day % 5 == 0:  # rows move, and an amount is corrected
            bench.county.records.reverse()
            bench.county.records[day] = replace(
                bench.county.records[day], amount=bench.county.records[day].amount + day
            )
        bench.scan()
    alerts = bench.rows(
        "SELECT f.watch_id, i.key FROM kordant.alerts a JOIN kordant.property_findings f ON f.id = a.finding_id "
        "JOIN kordant.property_instruments i ON i.id = f.instrument_id"
    )
    assert len(alerts) == len(set(alerts)) > 50
    untold = bench.rows(
        "SELECT count(*) FROM kordant.property_findings f WHERE is_told AND is_news "
        "AND NOT EXISTS (SELECT 1 FROM kordant.alerts a WHERE a.finding_id = f.id)"
    )
    assert untold == [(0,)]
