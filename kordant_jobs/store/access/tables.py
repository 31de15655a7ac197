"""Tables of access: who there is, with which tokens and grants; what was proposed; which replies were given."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from kordant_jobs.domain.access.change_sets import ChangeState
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.postgres.schema import metadata, moment, one_of

principals = Table(
    "principals",
    metadata,
    Column("id", Text, primary_key=True, comment="agent:<id>, service:<id> or user:<id>; never a name or address"),
    Column("role", Text, nullable=False),
    Column("tenants", ARRAY(Text()), comment="null: any"),
    Column("entities", ARRAY(Text()), comment="null: any"),
    Column("owner", Text, comment="the person an agent belongs to"),
    moment("created_at", default_now=True),
    moment("disabled_at", nullable=True),
    one_of("role", Role),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text()), nullable=False),
    moment("created_at", default_now=True),
    Column("created_by", Text, nullable=False),
    moment("expires_at"),
    moment("revoked_at", nullable=True),
    Index(None, "principal_id"),
)

agent_grants = Table(
    "agent_grants",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("max_priority", SmallInteger, nullable=False),
    Column("requests_per_hour", Integer, nullable=False),
    Column("granted_by", Text, nullable=False),
    moment("granted_at", default_now=True),
)

change_sets = Table(
    "change_sets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("base_version", Integer, nullable=False),
    Column("changes", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=ChangeState.PROPOSED.value),
    Column("proposed_by", Text, nullable=False),
    Column("owner", Text, comment="the person the proposing agent belongs to"),
    moment("proposed_at", default_now=True),
    moment("expires_at"),
    Column("decided_by", Text),
    moment("decided_at", nullable=True),
    one_of("state", ChangeState),
    Index(None, "proposed_by"),
)

api_replies = Table(
    "api_replies",
    metadata,
    Column("principal_id", Text, primary_key=True),
    Column("operation", Text, primary_key=True, comment="method and path"),
    Column("key", Text, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("reply", JSONB),
    moment("at", default_now=True),
    Index(None, "at"),
    comment="What was answered under an Idempotency-Key: the same again for 24 hours.",
)
