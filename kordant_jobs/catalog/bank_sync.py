"""bank_sync in the catalogue: its payload, its limits, and its schedule."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from kordant_jobs.domain.schedules.cron import Fold
from kordant_jobs.domain.schedules.rows import Overlap, ScheduleRow
from kordant_jobs.engine import JobRow, MergeRule, Payload, Priority, union

EVERY_S = 900


class BankSync(Payload):
    """Read bank connections that are due, or those with these ids. A webhook makes its connection due and requests a
    run."""

    job: ClassVar[str] = "bank_sync"
    merging: ClassVar[Mapping[str, MergeRule]] = {
        "connection_ids": union,
        "also_due": max,
        "user_is_present": min,
    }

    connection_ids: tuple[UUID, ...] = Field(
        (), max_length=10_000, description="These connections, whether they are due or not."
    )
    also_due: bool = Field(True, description="Those that are due, too.")
    user_is_present: bool = Field(False, description="Their owner asks for it just now, and waits.")


ROW = JobRow(
    name="bank_sync",
    alias="bank.sync",
    purpose="bank connections that are due: accounts, transactions, bills and balances; consents watched",
    started_by="every 15 minutes; a webhook of a provider; a file in the drop folder; by hand",
    payload=BankSync,
    priority=Priority.NORMAL,
    timeout_s=1800,
    sla_s=3600,
    cpu_s=1800,
    memory_mb=2048,
    concurrency=1,
    batch_size=1_000,
)

SCHEDULES = (ScheduleRow(job=ROW.name, cron="*/15 * * * *", fold=Fold.TWICE, overlap=Overlap.SKIP),)
