"""Tables of voices. Sound, embeddings and names are sealed under the subscriber's own key; deleting the key erases
them."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.voice.verdicts import Band, ClipStatus, Match, Reason, Synthesis
from kordant_jobs.postgres.schema import SCHEMA, belongs_to, choice, moment, table

voice_settings = table(
    "voice_settings",
    belongs_to("subscriber_id", "subscribers", primary_key=True),
    Column("always_alert", Boolean, nullable=False, server_default=text("false")),
    comment="What a subscriber chose: to be told of every clip.",
)

voice_consents = table(
    "voice_consents",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    Column("person_encrypted", LargeBinary, nullable=False, comment="whose voice it is, as the subscriber calls them"),
    Column("given_by_encrypted", LargeBinary, nullable=False, comment="who agreed: the person, or who may for them"),
    Column("given_on", Date, nullable=False),
    Column("text_version", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    moment("recorded_at", default_now=True),
    moment("withdrawn_at", nullable=True),
    Index(None, "subscriber_id"),
    comment="Consents to process a voice, which is biometric data. Withdrawn ones are kept as a proof.",
)

voice_enrolments = table(
    "voice_enrolments",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    belongs_to("consent_id", "voice_consents"),
    Column("model", Text, nullable=False, comment="id and hash: embeddings of another model are never compared"),
    Column("embeddings_encrypted", LargeBinary, nullable=False, comment="JSON: a band, then its numbers in base64"),
    Column("clips", Integer, nullable=False),
    Column("speech_s", Float, nullable=False),
    moment("created_at", default_now=True),
    UniqueConstraint("consent_id", "model"),
    Index(None, "subscriber_id"),
    comment="Voices of a subscriber's family.",
)

analysis_jobs = table(
    "analysis_jobs",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("subscriber_id", "subscribers"),
    Column("content_key", LargeBinary, nullable=False, comment="keyed hash of the file: the same clip is one row"),
    Column("ending", Text, nullable=False, comment="of its name, where it is a known one; else empty"),
    Column("bytes", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    moment("created_at", default_now=True),
    Column("held_until_at", DateTime(timezone=True), comment="not analysed before, after something went wrong"),
    moment("analysed_at", nullable=True),
    UniqueConstraint("subscription_id", "content_key"),
    Index(None, "subscriber_id"),
    Index(None, "created_at", postgresql_where=text("analysed_at IS NULL")),
    comment="Clips to analyse, and those that were.",
)

analysis_sound = table(
    "analysis_sound",
    Column("id", Uuid, primary_key=True),
    belongs_to("job_id", "analysis_jobs"),
    belongs_to("subscriber_id", "subscribers"),
    Column("piece", Integer, nullable=False, comment="which, from 0"),
    Column("content_encrypted", LargeBinary, nullable=False, comment="base64 of up to 1 MiB of the file"),
    moment("created_at", default_now=True),
    UniqueConstraint("job_id", "piece"),
    Index(None, "subscriber_id"),
    comment="The files of clips, in pieces: until they are analysed, or longer where the operator keeps them.",
)

voice_analyses = table(
    "voice_analyses",
    Column("id", Uuid, primary_key=True),
    belongs_to("job_id", "analysis_jobs"),
    belongs_to("subscription_id", "subscriptions"),
    choice("status", ClipStatus),
    choice("reason", Reason, nullable=True),
    choice("match", Match, nullable=True, comment="null: nobody is enrolled, or nothing can be said"),
    Column(
        "enrolment_id",
        Uuid,
        ForeignKey(f"{SCHEMA}.voice_enrolments.id", ondelete="SET NULL"),
        comment="the member it is most like",
    ),
    Column("score", Float),
    Column("margin", Float, comment="by how much the best member leads the second"),
    choice("synthesis", Synthesis, nullable=True),
    Column("screen_score", Float, comment="the median of the windows'"),
    Column(
        "windows",
        JSONB,
        nullable=False,
        comment="of each window where it begins, in seconds, its score, and what that alone says",
    ),
    choice("band", Band, nullable=True),
    Column("seconds", Float),
    Column("speech_s", Float),
    Column("voices", Integer, nullable=False, server_default="0"),
    Column("is_whole", Boolean, nullable=False, server_default=text("true")),
    Column("speaker_model", Text),
    Column("detector", Text),
    moment("analysed_at", default_now=True),
    UniqueConstraint("job_id"),
    Index(None, "subscription_id", "analysed_at"),
    Index(None, "enrolment_id", postgresql_where=text("enrolment_id IS NOT NULL")),
    CheckConstraint("status <> 'unknown' OR reason IS NOT NULL", name="unknown_has_a_reason"),
    comment="What was said of a clip: scores and closed words, no sound and no embedding.",
)
