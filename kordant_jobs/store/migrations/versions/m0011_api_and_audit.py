"""Principals, tokens, grants, change sets, replies; the audit log and its triggers; indexes for lists of requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = ("api_replies", "change_sets", "agent_grants", "api_tokens", "principals", "audit_log")
_INDEXES = ("job_requests_caller_idx", "job_requests_of_tenant_idx", "job_requests_job_status_idx")
_FUNCTIONS = ("chain_audit", "refuse_audit_change", "audit_row_change")


def upgrade() -> None:
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("DROP TRIGGER scheduler_config_audit ON kordant.scheduler_config")
    op.execute("DROP TRIGGER job_pauses_audit ON kordant.job_pauses")
    for table in _TABLES:
        op.drop_table(table, schema="kordant")
    for index in _INDEXES:
        op.drop_index(index, "job_requests", schema="kordant")
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION kordant.{function}")
