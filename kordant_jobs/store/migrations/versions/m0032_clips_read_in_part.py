"""Of a clip that was read in part, too little speech is unknown."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

CHECK = "voice_analyses_reason_check"
REASONS = (
    "model_missing", "sound_gone", "detector_failed", "analysis_failed", "not_sound", "no_sound_stream", "too_large",
    "decoder_crashed", "decoder_timed_out",
)  # fmt: skip


def upgrade() -> None:
    _allow(*REASONS, "partly_read")


def downgrade() -> None:
    op.execute("UPDATE kordant.voice_analyses SET reason = 'analysis_failed' WHERE reason = 'partly_read'")
    _allow(*REASONS)


def _allow(*reasons: str) -> None:
    listed = ", ".join(f"'{one}'" for one in reasons)
    op.drop_constraint(op.f(CHECK), "voice_analyses", schema="kordant")
    op.create_check_constraint(op.f(CHECK), "voice_analyses", f"reason IN ({listed})", schema="kordant")
