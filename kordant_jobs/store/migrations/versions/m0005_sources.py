"""Outside sources: how each stands, what it said of whom; judgements with their reasons; 'not me'."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SOURCES = ("dumps", "hibp", "xposedornot", "leakcheck")
VERDICTS = ("clean", "exposed", "unknown")
REASONS = (
    "key_refused", "forbidden", "bad_request", "rate_limited", "unavailable", "timed_out", "unreachable",
    "redirected", "unreadable", "too_large", "circuit_open", "not_asked",
)  # fmt: skip
BREACH_SOURCES = ("hibp", "dump", "paste", "xposedornot", "leakcheck")
JUDGEMENTS = ("alert", "withheld_sensitive", "withheld_unverified", "not_a_breach", "not_me")
RULES = (
    "breach", "stealer_log", "malware", "sensitive_to_its_owner", "sensitive_and_not_verified", "unverified",
    "fabricated", "retired", "spam_list", "not_me",
)  # fmt: skip
_AT = sa.DateTime(timezone=True)


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _check(table: str, column: str, values: Iterable[str]) -> sa.CheckConstraint:
    return sa.CheckConstraint(_one_of(column, values), name=op.f(f"{table}_{column}_check"))


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"kordant.{to}.id"], name=op.f(f"{table}_{column}_fkey"), ondelete="CASCADE"
    )


def _widen(table: str, column: str, values: Iterable[str]) -> None:
    op.drop_constraint(op.f(f"{table}_{column}_check"), table, schema="kordant", type_="check")
    op.create_check_constraint(op.f(f"{table}_{column}_check"), table, _one_of(column, values), schema="kordant")


def upgrade() -> None:
    _widen("breaches", "source", BREACH_SOURCES)
    _widen("exposures", "judgement", JUDGEMENTS)
    op.add_column(
        "exposures", sa.Column("judgement_reason", sa.Text(), nullable=True, comment="by which rule"), schema="kordant"
    )
    op.create_check_constraint(
        op.f("exposures_judgement_reason_check"), "exposures", _one_of("judgement_reason", RULES), schema="kordant"
    )
    op.add_column(
        "watchlist_items",
        sa.Column(
            "range_index",
            sa.LargeBinary(),
            nullable=True,
            comment="16 bytes: keyed hash of the SHA-1 that range notifications go by",
        ),
        schema="kordant",
    )
    op.create_index(
        op.f("watchlist_items_range_index_idx"),
        "watchlist_items",
        ["range_index"],
        schema="kordant",
        postgresql_where=sa.text("range_index IS NOT NULL"),
    )
    _states()
    _what_they_said()
    for name, comment, columns in (
        (
            "alerted",
            "Each identifier and breach is told once, also when the item was removed and added again.",
            [sa.Column("alerted_at", _AT, server_default=sa.text("now()"), nullable=False)],
        ),
        (
            "dismissals",
            "'Not me': of this identifier in this breach the subscriber hears no more.",
            [
                sa.Column("said_by", sa.Text(), nullable=False),
                sa.Column("said_at", _AT, server_default=sa.text("now()"), nullable=False),
            ],
        ),
    ):
        op.create_table(
            name,
            sa.Column("subscription_id", sa.Uuid(), nullable=False),
            sa.Column("blind_index", sa.LargeBinary(), nullable=False),
            sa.Column("breach_name", sa.Text(), nullable=False),
            *columns,
            _belongs(name, "subscription_id", "subscriptions"),
            sa.PrimaryKeyConstraint("subscription_id", "blind_index", "breach_name", name=op.f(f"{name}_pkey")),
            schema="kordant",
            comment=comment,
        )
    op.execute(
        sa.text("""
        INSERT INTO kordant.alerted (subscription_id, blind_index, breach_name, alerted_at)
        SELECT a.subscription_id, i.blind_index, e.breach_name, min(a.created_at)
        FROM kordant.alerts a JOIN kordant.exposures e ON e.id = a.exposure_id
        JOIN kordant.watchlist_items i ON i.id = e.item_id
        WHERE i.blind_index IS NOT NULL GROUP BY 1, 2, 3
    """)
    )


def _states() -> None:
    op.create_table(
        "source_states",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "failures",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="one after the other, without an answer",
        ),
        sa.Column("last_reason", sa.Text(), nullable=True),
        sa.Column("open_until", _AT, nullable=True),
        sa.Column("last_ok_at", _AT, nullable=True),
        sa.Column("last_failed_at", _AT, nullable=True),
        sa.Column("told_off_at", _AT, nullable=True),
        sa.Column(
            "terms",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="what the plan of the key allows",
        ),
        sa.Column("terms_at", _AT, nullable=True),
        _check("source_states", "source", SOURCES),
        _check("source_states", "last_reason", REASONS),
        sa.PrimaryKeyConstraint("source", name=op.f("source_states_pkey")),
        schema="kordant",
        comment="How each outside source stands, for all processes: a circuit breaker a row.",
    )
    op.create_table(
        "breach_lookups",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("looked_up_at", _AT, nullable=False),
        _check("breach_lookups", "source", SOURCES),
        sa.PrimaryKeyConstraint("source", "reference", name=op.f("breach_lookups_pkey")),
        schema="kordant",
        comment="Breaches that a source was asked to describe: not asked again at once when it knew none.",
    )


def _what_they_said() -> None:
    op.create_table(
        "source_checks",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            comment="without an answer, one after the other",
        ),
        sa.Column("asked_at", _AT, nullable=False),
        sa.Column("retry_at", _AT, nullable=True),
        _check("source_checks", "source", SOURCES),
        _check("source_checks", "verdict", VERDICTS),
        _check("source_checks", "reason", REASONS),
        sa.CheckConstraint(
            "(verdict = 'unknown') = (reason IS NOT NULL)", name=op.f("source_checks_unknown_has_a_reason_check")
        ),
        _belongs("source_checks", "item_id", "watchlist_items"),
        sa.PrimaryKeyConstraint("item_id", "source", name=op.f("source_checks_pkey")),
        schema="kordant",
    )
    op.create_index("source_checks_retry_idx", "source_checks", ["source", "retry_at"], schema="kordant")
    op.create_table(
        "source_evidence",
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False, comment="the source's own stable key for the breach"),
        sa.Column(
            "data_classes",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="as the source told them",
        ),
        sa.Column("first_seen_at", _AT, nullable=False),
        sa.Column("last_seen_at", _AT, nullable=False),
        _check("source_evidence", "source", SOURCES),
        _belongs("source_evidence", "exposure_id", "exposures"),
        sa.PrimaryKeyConstraint("exposure_id", "source", "reference", name=op.f("source_evidence_pkey")),
        schema="kordant",
    )
    op.create_table(
        "source_hints",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("told_at", _AT, server_default=sa.text("now()"), nullable=False),
        _check("source_hints", "source", SOURCES),
        _belongs("source_hints", "item_id", "watchlist_items"),
        sa.PrimaryKeyConstraint("item_id", "source", "reference", name=op.f("source_hints_pkey")),
        schema="kordant",
        comment="What a source pushed and no scan has taken up yet.",
    )


def downgrade() -> None:
    """What only outside sources said goes with them: the older checks allow no such breaches and judgements."""
    for table in (
        "dismissals", "alerted", "source_hints", "source_evidence", "source_checks", "breach_lookups",
        "source_states",
    ):  # fmt: skip
        op.drop_table(table, schema="kordant")
    op.drop_index(op.f("watchlist_items_range_index_idx"), table_name="watchlist_items", schema="kordant")
    op.drop_column("watchlist_items", "range_index", schema="kordant")
    op.drop_column("exposures", "judgement_reason", schema="kordant")
    op.execute(sa.text("UPDATE kordant.exposures SET judgement = 'not_a_breach' WHERE judgement LIKE '%unverified'"))
    op.execute(
        sa.text(
            "UPDATE kordant.exposures SET judgement = 'alert', dismissed_at = coalesce(dismissed_at, now()) "
            "WHERE judgement = 'not_me'"
        )
    )
    op.execute(sa.text("DELETE FROM kordant.breaches WHERE source NOT IN ('hibp', 'dump')"))
    _widen("exposures", "judgement", ("alert", "withheld_sensitive", "not_a_breach"))
    _widen("breaches", "source", ("hibp", "dump"))
