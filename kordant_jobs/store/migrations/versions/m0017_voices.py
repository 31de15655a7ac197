"""Voices: enrolments with their consents, clips, and what is said of them; alerts may be about a clip."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "voice_consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column(
            "person_encrypted",
            sa.LargeBinary(),
            nullable=False,
            comment="whose voice it is, as the subscriber calls them",
        ),
        sa.Column(
            "given_by_encrypted",
            sa.LargeBinary(),
            nullable=False,
            comment="who agreed: the person, or who may for them",
        ),
        sa.Column("given_on", sa.Date(), nullable=False),
        sa.Column("text_version", sa.Text(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("voice_consents_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("voice_consents_pkey")),
        schema="kordant",
        comment="Consents to process a voice, which is biometric data. Withdrawn ones are kept as a proof.",
    )
    op.create_index(
        op.f("voice_consents_subscriber_id_idx"), "voice_consents", ["subscriber_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "voice_settings",
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("always_alert", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("voice_settings_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("voice_settings_pkey")),
        schema="kordant",
        comment="What a subscriber chose: to be told of every clip.",
    )
    op.create_table(
        "analysis_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column(
            "content_key", sa.LargeBinary(), nullable=False, comment="keyed hash of the file: the same clip is one row"
        ),
        sa.Column("ending", sa.Text(), nullable=False, comment="of its name, where it is a known one; else empty"),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("analysed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("analysis_jobs_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("analysis_jobs_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("analysis_jobs_pkey")),
        sa.UniqueConstraint(
            "subscription_id", "content_key", name=op.f("analysis_jobs_subscription_id_content_key_key")
        ),
        schema="kordant",
        comment="Clips to analyse, and those that were.",
    )
    op.create_index(
        op.f("analysis_jobs_created_at_idx"),
        "analysis_jobs",
        ["created_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("analysed_at IS NULL"),
    )
    op.create_index(
        op.f("analysis_jobs_subscriber_id_idx"), "analysis_jobs", ["subscriber_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "voice_enrolments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column(
            "model", sa.Text(), nullable=False, comment="id and hash: embeddings of another model are never compared"
        ),
        sa.Column(
            "embeddings_encrypted", sa.LargeBinary(), nullable=False, comment="JSON: a band, then its numbers in base64"
        ),
        sa.Column("clips", sa.Integer(), nullable=False),
        sa.Column("speech_s", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["consent_id"],
            ["kordant.voice_consents.id"],
            name=op.f("voice_enrolments_consent_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("voice_enrolments_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("voice_enrolments_pkey")),
        sa.UniqueConstraint("consent_id", "model", name=op.f("voice_enrolments_consent_id_model_key")),
        schema="kordant",
        comment="Voices of a subscriber's family.",
    )
    op.create_index(
        op.f("voice_enrolments_subscriber_id_idx"),
        "voice_enrolments",
        ["subscriber_id"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "analysis_sound",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("piece", sa.Integer(), nullable=False, comment="which, from 0"),
        sa.Column("content_encrypted", sa.LargeBinary(), nullable=False, comment="base64 of up to 1 MiB of the file"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["kordant.analysis_jobs.id"], name=op.f("analysis_sound_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("analysis_sound_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("analysis_sound_pkey")),
        sa.UniqueConstraint("job_id", "piece", name=op.f("analysis_sound_job_id_piece_key")),
        schema="kordant",
        comment="The files of clips, in pieces: until they are analysed, or longer where the operator keeps them.",
    )
    op.create_index(
        op.f("analysis_sound_subscriber_id_idx"), "analysis_sound", ["subscriber_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "voice_analyses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("match", sa.Text(), nullable=True, comment="null: nobody is enrolled, or nothing can be said"),
        sa.Column("enrolment_id", sa.Uuid(), nullable=True, comment="the member it is most like"),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("margin", sa.Float(), nullable=True, comment="by how much the best member leads the second"),
        sa.Column("synthesis", sa.Text(), nullable=True),
        sa.Column("screen_score", sa.Float(), nullable=True, comment="the median of the windows'"),
        sa.Column(
            "windows",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="pairs: where a window begins, in seconds, and its score",
        ),
        sa.Column("band", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("speech_s", sa.Float(), nullable=True),
        sa.Column("voices", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_whole", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("speaker_model", sa.Text(), nullable=True),
        sa.Column("detector", sa.Text(), nullable=True),
        sa.Column("analysed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("band IN ('wide', 'phone')", name=op.f("voice_analyses_band_check")),
        sa.CheckConstraint(
            "match IN ('consistent', 'inconclusive', 'not_consistent')", name=op.f("voice_analyses_match_check")
        ),
        sa.CheckConstraint(
            "reason IN ('model_missing', 'sound_gone', 'detector_failed', 'analysis_failed', 'not_sound', "
            "'no_sound_stream', 'too_large', 'decoder_crashed', 'decoder_timed_out')",
            name=op.f("voice_analyses_reason_check"),
        ),
        sa.CheckConstraint(
            "status <> 'unknown' OR reason IS NOT NULL", name=op.f("voice_analyses_unknown_has_a_reason_check")
        ),
        sa.CheckConstraint(
            "status IN ('ok', 'insufficient_speech', 'undecodable', 'unknown')",
            name=op.f("voice_analyses_status_check"),
        ),
        sa.CheckConstraint(
            "synthesis IN ('signs_of_synthesis', 'inconclusive', 'no_signs_found')",
            name=op.f("voice_analyses_synthesis_check"),
        ),
        sa.ForeignKeyConstraint(
            ["enrolment_id"],
            ["kordant.voice_enrolments.id"],
            name=op.f("voice_analyses_enrolment_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["kordant.analysis_jobs.id"], name=op.f("voice_analyses_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("voice_analyses_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("voice_analyses_pkey")),
        sa.UniqueConstraint("job_id", name=op.f("voice_analyses_job_id_key")),
        schema="kordant",
        comment="What was said of a clip: scores and closed words, no sound and no embedding.",
    )
    op.create_index(
        op.f("voice_analyses_enrolment_id_idx"),
        "voice_analyses",
        ["enrolment_id"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("enrolment_id IS NOT NULL"),
    )
    op.create_index(
        op.f("voice_analyses_subscription_id_analysed_at_idx"),
        "voice_analyses",
        ["subscription_id", "analysed_at"],
        unique=False,
        schema="kordant",
    )
    op.add_column("alerts", sa.Column("analysis_id", sa.Uuid(), nullable=True), schema="kordant")
    op.drop_constraint(op.f("alerts_about_one_thing_check"), "alerts", schema="kordant")
    op.create_check_constraint(
        op.f("alerts_about_one_thing_check"),
        "alerts",
        "num_nonnulls(exposure_id, finding_id, analysis_id) = 1",
        schema="kordant",
    )
    op.create_unique_constraint(op.f("alerts_analysis_id_key"), "alerts", ["analysis_id"], schema="kordant")
    op.create_foreign_key(
        op.f("alerts_analysis_id_fkey"),
        "alerts",
        "voice_analyses",
        ["analysis_id"],
        ["id"],
        source_schema="kordant",
        referent_schema="kordant",
        ondelete="CASCADE",
    )


def downgrade() -> None:
    op.execute("DELETE FROM kordant.alerts WHERE analysis_id IS NOT NULL")
    op.drop_constraint(op.f("alerts_about_one_thing_check"), "alerts", schema="kordant")
    op.create_check_constraint(
        op.f("alerts_about_one_thing_check"), "alerts", "num_nonnulls(exposure_id, finding_id) = 1", schema="kordant"
    )
    op.drop_constraint(op.f("alerts_analysis_id_fkey"), "alerts", schema="kordant", type_="foreignkey")
    op.drop_constraint(op.f("alerts_analysis_id_key"), "alerts", schema="kordant", type_="unique")
    op.drop_column("alerts", "analysis_id", schema="kordant")
    op.drop_index(op.f("voice_analyses_subscription_id_analysed_at_idx"), table_name="voice_analyses", schema="kordant")
    op.drop_index(
        op.f("voice_analyses_enrolment_id_idx"),
        table_name="voice_analyses",
        schema="kordant",
        postgresql_where=sa.text("enrolment_id IS NOT NULL"),
    )
    op.drop_table("voice_analyses", schema="kordant")
    op.drop_index(op.f("analysis_sound_subscriber_id_idx"), table_name="analysis_sound", schema="kordant")
    op.drop_table("analysis_sound", schema="kordant")
    op.drop_index(op.f("voice_enrolments_subscriber_id_idx"), table_name="voice_enrolments", schema="kordant")
    op.drop_table("voice_enrolments", schema="kordant")
    op.drop_index(op.f("analysis_jobs_subscriber_id_idx"), table_name="analysis_jobs", schema="kordant")
    op.drop_index(
        op.f("analysis_jobs_created_at_idx"),
        table_name="analysis_jobs",
        schema="kordant",
        postgresql_where=sa.text("analysed_at IS NULL"),
    )
    op.drop_table("analysis_jobs", schema="kordant")
    op.drop_table("voice_settings", schema="kordant")
    op.drop_index(op.f("voice_consents_subscriber_id_idx"), table_name="voice_consents", schema="kordant")
    op.drop_table("voice_consents", schema="kordant")
