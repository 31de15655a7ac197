"""The report of a subscription whose entity has accounts shows them, and is made again when they change."""

from __future__ import annotations

import shutil
import subprocess
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.insights_refresh import service as insights
from kordant_jobs.jobs.reports_generate import service
from kordant_jobs.jobs.reports_generate.rules import Period, ReportKind
from kordant_jobs.lab.households.fill import entity_id
from kordant_jobs.lab.households.generator import World
from kordant_jobs.store.insights import reporting
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports.tables import reports
from kordant_jobs_tests.databases import Emptied
from kordant_jobs_tests.jobs.people import Person


def test_a_report_says_nothing_of_the_day_and_the_month_after_its_period(
    db: Engine, keyring: Keyring, world: World, filled: tuple[Emptied, Person]
) -> None:
    owner, start, end = filled[1].subscription_id, date(2025, 8, 1), date(2025, 9, 1)
    made = """
        INSERT INTO kordant.insights (entity_id, kind, dedup_key, facts, confidence, about_on, material_hash)
        SELECT :entity, kind, key, jsonb_build_object('key', key), 1, cast(about AS date), ''
        FROM (VALUES ('unusual', '08-31', '2025-08-31'), ('unusual', '09-01', '2025-09-01'),
                     ('unusual', '08-01', '2025-08-01'), ('unusual', '07-31', '2025-07-31'),
                     ('fees', '2025-08', NULL), ('fees', '2025-09', NULL),
                     ('forecast', '30', NULL), ('forecast', 'below zero', '2025-08-20')) AS v (kind, key, about)
    """
    with db.begin() as connection:
        connection.execute(sa.text(made), {"entity": entity_id(world, 0)})
        found = reporting.money_facts(connection, keyring, [owner], start=start, end=end)
    assert [one["facts"]["key"] for one in found.lines[owner]] == ["2025-08", "30", "08-01", "08-31"]


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_a_report_shows_cash_flow_what_repeats_and_payees(
    db: Engine, keyring: Keyring, world: World, filled: tuple[Emptied, Person], tmp_path: Path
) -> None:
    now = datetime.combine(world.as_of, time(12), ZONE).astimezone(UTC)
    plan = insights.plan(named=(), force=False, db=db, now=now)
    for chunk in plan.chunks:
        insights.refresh(plan, chunk, db=db, progress=lambda done, what: None)
    first = date(world.as_of.year, world.as_of.month, 1)
    end = first + timedelta(days=monthrange(first.year, first.month)[1])
    period = Period(kind=ReportKind.MONTHLY, start_on=first, end_on=end)
    scope = service.ReportScope(subscription_ids=(filled[1].subscription_id,))
    (ids,) = service.plan(scope, period, db=db).chunks
    storage = LocalReportStorage(tmp_path)

    def make() -> service.ReportSummary:
        return service.generate(ids, period, db=db, keyring=keyring, storage=storage, progress=Progress(db, "run"))

    assert (make().made, make().unchanged) == (1, 1)
    with db.connect() as connection:
        (key,) = connection.execute(sa.select(reports.c.storage_key)).one()
    found = subprocess.run(["pdftotext", str(tmp_path / key), "-"], capture_output=True, check=True, text=True)
    said = " ".join(found.stdout.split())
    for words in ("Your accounts", "What repeats", "every month, next on", "R$"):
        assert words in said, said
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.insights SET status = 'dismissed' WHERE kind = 'recurring'"))
    assert make().made == 1
