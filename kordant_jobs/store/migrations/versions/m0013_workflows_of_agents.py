"""Workflows of agents, their executions and steps; change sets say what they are about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "definition",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="typed steps, checked when it was proposed",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="what a person approved"),
        sa.Column("state", sa.Text(), server_default="draft", nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('draft', 'approved', 'retired')", name=op.f("workflows_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("workflows_pkey")),
        sa.UniqueConstraint("agent_id", "name", "version", name=op.f("workflows_agent_id_name_version_key")),
        schema="kordant",
        comment="Workflows of agents, a row a version. Only an approved one is carried out.",
    )
    op.create_table(
        "workflow_executions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="of the definition that it began with"),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("entity_key", sa.Text(), nullable=True),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="ids and plain values"),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("at_step", sa.Integer(), server_default="0", nullable=False, comment="the place of the next step"),
        sa.Column(
            "looks",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it looked at what it waits for",
        ),
        sa.Column("next_request_id", sa.Uuid(), nullable=True, comment="the request that takes it on after a wait"),
        sa.Column("reason", sa.Text(), nullable=True, comment="the rule, or a closed word"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'stopped', 'denied', 'failed')",
            name=op.f("workflow_executions_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["kordant.workflows.id"],
            name=op.f("workflow_executions_workflow_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("workflow_executions_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("workflow_executions_agent_id_started_at_idx"),
        "workflow_executions",
        ["agent_id", "started_at"],
        unique=False,
        schema="kordant",
    )
    op.create_index(
        op.f("workflow_executions_workflow_id_idx"),
        "workflow_executions",
        ["workflow_id"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "workflow_steps",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True, comment="what a trigger queued"),
        sa.Column("change_id", sa.Uuid(), nullable=True, comment="what a person decides"),
        sa.Column("rule", sa.Text(), nullable=True, comment="what refused it"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'done', 'denied', 'failed', 'skipped')", name=op.f("workflow_steps_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["kordant.workflow_executions.id"],
            name=op.f("workflow_steps_execution_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution_id", "place", name=op.f("workflow_steps_pkey")),
        schema="kordant",
        comment="A step's row and its effect are one transaction.",
    )
    op.add_column(
        "change_sets", sa.Column("kind", sa.Text(), server_default="schedule_change", nullable=False), schema="kordant"
    )
    op.create_check_constraint(
        op.f("change_sets_kind_check"),
        "change_sets",
        "kind IN ('schedule_change', 'workflow', 'gate')",
        schema="kordant",
    )
    op.alter_column(
        "change_sets",
        "tier",
        existing_type=sa.TEXT(),
        comment="of a workflow its id, of a gate the execution's",
        existing_nullable=False,
        schema="kordant",
    )
    op.alter_column(
        "change_sets",
        "base_version",
        existing_type=sa.INTEGER(),
        comment="of a gate the step's place",
        existing_nullable=False,
        schema="kordant",
    )


def downgrade() -> None:
    op.alter_column(
        "change_sets",
        "base_version",
        existing_type=sa.INTEGER(),
        comment=None,
        existing_comment="of a gate the step's place",
        existing_nullable=False,
        schema="kordant",
    )
    op.alter_column(
        "change_sets",
        "tier",
        existing_type=sa.TEXT(),
        comment=None,
        existing_comment="of a workflow its id, of a gate the execution's",
        existing_nullable=False,
        schema="kordant",
    )
    op.drop_column("change_sets", "kind", schema="kordant")
    op.drop_table("workflow_steps", schema="kordant")
    op.drop_index(op.f("workflow_executions_workflow_id_idx"), table_name="workflow_executions", schema="kordant")
    op.drop_index(
        op.f("workflow_executions_agent_id_started_at_idx"), table_name="workflow_executions", schema="kordant"
    )
    op.drop_table("workflow_executions", schema="kordant")
    op.drop_table("workflows", schema="kordant")
