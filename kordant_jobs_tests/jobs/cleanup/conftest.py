"""What the clean-up works with in these tests, and rows of its kinds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.jobs.cleanup import service
from kordant_jobs.jobs.cleanup.elsewhere import Means
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import records
from kordant_jobs_tests.jobs.people import Person

NOW = datetime.now(UTC)


@pytest.fixture
def means(db: Engine, keyring: Keyring, tmp_path: Path) -> Means:
    return Means(
        db=db,
        keyring=keyring,
        banks=Banks(),
        report_storage=LocalReportStorage(tmp_path / "reports"),
        corpus=Corpus(tmp_path / "corpus"),
        maildir=tmp_path / "mails",
        run_files=tmp_path / "runs",
    )


def add_verdicts(db: Engine, person: Person, *days_old: int) -> None:
    rows = [
        {"s": person.subscription_id, "at": NOW - timedelta(days=days), "source": f"source {number}"}
        for number, days in enumerate(days_old)
    ]
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, exposures, "
                "new_exposures, covered_until, checked_at) VALUES (:s, :source, :at, 'clean', 0, 0, :at, :at)"
            ),
            rows,
        )


def count_rows(db: Engine, table: str) -> int:
    with db.connect() as connection:
        found: int = connection.execute(sa.text(f"SELECT count(*) FROM kordant.{table}")).scalar_one()
    return found


def clean_up(means: Means, *kinds: str, plan_id: UUID | None = None) -> dict[str, service.Cleaned]:
    made = service.plan(means, kinds=kinds, plan_id=plan_id)
    done = [service.clean(made, kind, means=means, progress=lambda *_: None) for one in made.chunks for kind in one]
    return {one.kind: one for one in done}


def figures_of(db: Engine) -> Any:
    with db.connect() as connection:
        return records.reports(connection, limit=1)[0].figures


def add_closed_account(db: Engine, *, transactions: int) -> None:
    """An account that no connection reads, closed for two months, with transactions of this year."""
    with db.begin() as connection:
        connection.execute(
            sa.text("""
            WITH e AS (INSERT INTO kordant.entities (id, kind) VALUES (gen_random_uuid(), 'household') RETURNING id),
            a AS (INSERT INTO kordant.bank_accounts
                (id, entity_id, kind, currency, institution, identity_index, created_at)
                SELECT gen_random_uuid(), id, 'checking', 'BRL', '1', 'x', now() - interval '60 days' FROM e
                RETURNING id, entity_id)
            INSERT INTO kordant.transactions (id, account_id, entity_id, alias, state, booked_on, amount, currency,
                                              type, content_hash, extra_hash)
            SELECT gen_random_uuid(), a.id, a.entity_id, decode(md5(n::text), 'hex'), 'posted', current_date, -1, 'BRL',
                   'pix', '', '' FROM a, generate_series(1, :rows) n
            """),
            {"rows": transactions},
        )
