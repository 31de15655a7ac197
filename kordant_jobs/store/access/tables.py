"""Tables of access: who there is, with which tokens and grants; what was proposed; which replies were given."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from kordant_jobs.domain.access.change_sets import ChangeKind, ChangeState
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.domain.access.workflows import ExecutionStatus, StepStatus, WorkflowState
from kordant_jobs.postgres.schema import SCHEMA, belongs_to, choice, moment, table

principals = table(
    "principals",
    Column("id", Text, primary_key=True, comment="agent:<id>, service:<id> or user:<id>; never a name or address"),
    choice("role", Role),
    Column("tenants", ARRAY(Text()), comment="null: any"),
    Column("entities", ARRAY(Text()), comment="null: any"),
    Column("owner", Text, comment="the person an agent belongs to"),
    Column("topics", ARRAY(Text()), comment="of which events it may publish; null: any that its role may"),
    moment("created_at", default_now=True),
    moment("disabled_at", nullable=True),
)

api_tokens = table(
    "api_tokens",
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

token_uses = table(
    "token_uses",
    Column("token_id", Text, ForeignKey(f"{SCHEMA}.api_tokens.id", ondelete="CASCADE"), primary_key=True),
    moment("used_at"),
    comment="When a token was last good for a call, to the hour.",
)

agent_grants = table(
    "agent_grants",
    Column("agent_id", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("max_priority", SmallInteger, nullable=False),
    Column("requests_per_hour", Integer, nullable=False),
    Column("granted_by", Text, nullable=False),
    moment("granted_at", default_now=True),
    Column("requests_per_day", Integer, comment="null: as many as the hours allow"),
    Column("concurrent", Integer, comment="open requests at once; null: any number"),
    moment("expires_at", nullable=True),
    Column("ask_first", Boolean, nullable=False, server_default="false",
           comment="a person approves the first request: a change set of kind first_trigger"),
    Column("version", Integer, nullable=False, server_default="1", comment="what a change set is based on"),
    Column("cpu_s_per_day", Integer, comment="CPU seconds of its runs in 24 hours; null: any number"),
)  # fmt: skip

change_sets = table(
    "change_sets",
    Column("id", Uuid, primary_key=True),
    choice("kind", ChangeKind, server_default=ChangeKind.SCHEDULE.value),
    Column("job", Text, nullable=False),
    Column(
        "tier", Text, nullable=False, comment="of a workflow its id, of a gate the execution's, of a grant the agent's"
    ),
    Column(
        "base_version", Integer, nullable=False, comment="of a gate the step's place; of a grant 0: there is none yet"
    ),
    Column("changes", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    choice("state", ChangeState, server_default=ChangeState.PROPOSED.value),
    Column("proposed_by", Text, nullable=False),
    Column("owner", Text, comment="the person the proposing agent belongs to"),
    moment("proposed_at", default_now=True),
    moment("expires_at"),
    Column("decided_by", Text),
    moment("decided_at", nullable=True),
    Index(None, "proposed_by"),
)

api_replies = table(
    "api_replies",
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

received_events = table(
    "received_events",
    Column("principal_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("request_ids", ARRAY(Uuid()), nullable=False, server_default="{}"),
    moment("at", default_now=True),
    Index(None, "at"),
    comment="Events by who sent them, source and id: each counts once for 7 days.",
)

workflows = table(
    "workflows",
    Column("id", Uuid, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", JSONB, nullable=False, comment="typed steps, checked when it was proposed"),
    Column("digest", Text, nullable=False, comment="what a person approved"),
    choice("state", WorkflowState, server_default=WorkflowState.DRAFT.value),
    Column("change_id", Uuid, nullable=False),
    moment("proposed_at", default_now=True),
    UniqueConstraint("agent_id", "name", "version"),
    comment="Workflows of agents, a row a version. Only an approved one is carried out.",
)

workflow_executions = table(
    "workflow_executions",
    Column("id", Uuid, primary_key=True),
    belongs_to("workflow_id", "workflows"),
    Column("digest", Text, nullable=False, comment="of the definition that it began with"),
    Column("agent_id", Text, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("tenant", Text),
    Column("entity_key", Text),
    Column("inputs", JSONB, nullable=False, comment="ids and plain values"),
    choice("status", ExecutionStatus, server_default=ExecutionStatus.RUNNING.value),
    Column("at_step", Integer, nullable=False, server_default="0", comment="the place of the next step"),
    Column("looks", Integer, nullable=False, server_default="0", comment="how often it looked at what it waits for"),
    Column("next_request_id", Uuid, comment="the request that takes it on after a wait"),
    Column("reason", Text, comment="the rule, or a closed word"),
    moment("started_at", default_now=True),
    moment("ended_at", nullable=True),
    Index(None, "workflow_id"),
    Index(None, "agent_id", "started_at"),
)

workflow_steps = table(
    "workflow_steps",
    belongs_to("execution_id", "workflow_executions", primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    choice("status", StepStatus),
    Column("output", JSONB, nullable=False, server_default="{}"),
    Column("request_id", Uuid, comment="what a trigger queued"),
    Column("change_id", Uuid, comment="what a person decides"),
    Column("rule", Text, comment="what refused it"),
    moment("started_at", default_now=True),
    moment("ended_at", nullable=True),
    comment="A step's row and its effect are one transaction.",
)
