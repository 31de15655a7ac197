"""What tests of a scan work with: a drop folder, a corpus, a database, and a look at all that a scan leaves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.drop_folder import DropFolder
from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.darkwatch_scan import service
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.jobs.darkwatch_scan.service import Recorded, ScanPlan
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.store.darkwatch.scans import Scope
from kordant_jobs.store.people.keyring import Keyring

SETTLED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A database, a drop folder and a corpus to scan with."""

    db: Engine
    keyring: Keyring
    box: DropBox
    corpus: Corpus

    @property
    def folder(self) -> Path:
        """The drop folder."""
        assert isinstance(self.box.place, DropFolder)
        return self.box.place.folder

    def drop(self, name: str, content: str | bytes) -> Path:
        """Put a finished file into the drop folder."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (SETTLED, SETTLED))
        return path

    def plan(self, scope: Scope | None = None, **window: Any) -> ScanPlan:
        """Plan a scan, of everybody unless told."""
        catalogue: BreachCatalogue | None = window.pop("catalogue", None)
        since, until = window.get("since"), window.get("until")
        plan = service.plan_scan(
            scope or Scope(),
            since=since,
            until=until,
            db=self.db,
            keyring=self.keyring,
            box=self.box,
            catalogue=catalogue,
        )
        return plan

    def match(self, plan: ScanPlan) -> service.ChunkResult:
        """Match every chunk of a plan."""
        progress = Progress(self.db, "test")
        progress.start(0, "")
        return service.total(
            [
                service.match_chunk(
                    plan, c, db=self.db, keyring=self.keyring, box=self.box, corpus=self.corpus, progress=progress
                )
                for c in plan.chunks
            ]
        )

    def scan(self, scope: Scope | None = None, **window: Any) -> tuple[service.ChunkResult, Recorded]:
        """A whole scan."""
        plan = self.plan(scope, **window)
        return self.match(plan), service.record(plan, db=self.db)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.db.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """What a scan leaves behind, but for ids and clock readings."""
        return {
            name: self.rows(query)
            for name, query in {
                "exposures": "SELECT item_id, breach_name, secret, judgement, first_seen_at, last_seen_at"
                " FROM kordant.exposures ORDER BY 1, 2",
                "evidence": "SELECT e.item_id, e.breach_name, v.dump_id, v.line, v.occurrences"
                " FROM kordant.exposure_evidence v JOIN kordant.exposures e ON e.id = v.exposure_id ORDER BY 1, 2, 3",
                "alerts": "SELECT e.item_id, e.breach_name, a.severity, a.why::text FROM kordant.alerts a"
                " JOIN kordant.exposures e ON e.id = a.exposure_id ORDER BY 1, 2",
                "outbox": "SELECT count(*), count(DISTINCT alert_id) FROM kordant.notification_outbox",
                "verdicts": "SELECT subscription_id, source, verdict, reason, exposures FROM kordant.source_verdicts"
                " ORDER BY 1, 2",
                "dumps": "SELECT id, status, lines, records, bad_lines::text FROM kordant.breach_dumps ORDER BY 1",
            }.items()
        }


def bench_in(folder: Path, db: Engine, keyring: Keyring) -> Bench:
    """A bench whose files live in `folder`."""
    limits = DumpLimits(max_bytes=1 << 30, max_ratio=200)
    box = DropBox(place=DropFolder(folder / "drop"), keep_files=False, limits=limits, phone_region="US")
    return Bench(db=db, keyring=keyring, box=box, corpus=Corpus(folder / "corpus"))
