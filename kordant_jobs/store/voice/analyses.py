"""Analyses of clips: saved with their alert, and read for mails and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.domain.voice.verdicts import ChannelMeasurements, Verdict, is_alert
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice.clips import Clip
from kordant_jobs.store.voice.tables import analysis_jobs, analysis_sound, voice_analyses, voice_consents

_ALERT = """
INSERT INTO kordant.alerts (id, subscription_id, analysis_id, severity, why)
SELECT gen_random_uuid(), :subscription, :analysis, :severity, cast(:why AS jsonb)
ON CONFLICT (analysis_id) DO NOTHING RETURNING id
"""


def save(
    connection: Connection,
    clip: Clip,
    verdict: Verdict,
    measured: ChannelMeasurements | None,
    *,
    speaker_model: str | None,
    detector: str | None,
    is_final: bool = True,
    keep_sound: bool = False,
) -> tuple[bool, bool]:
    """Save the analysis of a clip with its alert, and delete its sound, in the caller's transaction. Returns whether it
    was saved (a final analysis is never replaced) and whether the subscriber is alerted. An analysis that is not final
    is replaced later: the clip stays pending with its sound, and there is no alert."""
    done = connection.execute(
        sa.update(analysis_jobs)
        .where(analysis_jobs.c.id == clip.id, analysis_jobs.c.analysed_at.is_(None))
        .values(analysed_at=sa.func.now() if is_final else None)
    )
    if not done.rowcount:
        return False, False
    compared = verdict.compared
    said = {
        "status": verdict.status,
        "reason": verdict.reason,
        "match": compared.match if compared else None,
        "enrolment_id": _standing(connection, compared.member) if compared else None,
        "score": compared.score if compared else None,
        "margin": compared.margin if compared else None,
        "synthesis": verdict.synthesis,
        "screen_score": verdict.screen_score,
        "windows": [[round(start, 2), round(score, 3), word.value] for start, score, word in verdict.windows],
        "band": measured.band if measured and measured.voices else None,
        "seconds": measured.seconds if measured else None,
        "speech_s": measured.speech_s if measured else None,
        "voices": verdict.voices,
        "is_whole": measured.is_whole if measured else True,
        "speaker_model": speaker_model,
        "detector": detector,
        "analysed_at": sa.func.now(),
    }
    row = {"id": uuid7(), "job_id": clip.id, "subscription_id": clip.subscription_id, **said}
    statement = insert(voice_analyses).values(row).on_conflict_do_update(index_elements=["job_id"], set_=said)
    analysis_id = connection.execute(statement.returning(voice_analyses.c.id)).scalar_one()
    if not is_final:
        return True, False
    if not keep_sound:
        connection.execute(sa.delete(analysis_sound).where(analysis_sound.c.job_id == clip.id))
    wanted = connection.execute(
        sa.text("SELECT always_alert FROM kordant.voice_settings WHERE subscriber_id = :id"), {"id": clip.subscriber_id}
    ).scalar()
    if not is_alert(verdict, always=bool(wanted)):
        return True, False
    urgent = is_alert(verdict, always=False)
    values = {
        "subscription": clip.subscription_id,
        "analysis": analysis_id,
        "severity": Severity.HIGH if urgent else Severity.MEDIUM,
        "why": '[{"code": "voice_like_a_member_with_signs"}]' if urgent else '[{"code": "every_clip_wanted"}]',
    }
    ids = list(connection.execute(sa.text(_ALERT), values).scalars())
    outbox.queue(connection, ids, Category.VOICE)
    return True, bool(ids)


def _standing(connection: Connection, enrolment_id: UUID) -> UUID | None:
    """The id of the enrolment, None if it was removed meanwhile."""
    query = "SELECT id FROM kordant.voice_enrolments WHERE id = :id FOR KEY SHARE"
    found: UUID | None = connection.execute(sa.text(query), {"id": enrolment_id}).scalar()
    return found


_LINES = """
SELECT a.subscription_id, a.id AS analysis_id, a.status, a.reason, a.match, a.synthesis, a.band, a.voices, a.is_whole,
       a.windows, j.id AS clip_id, j.created_at AS received_at, a.seconds, t.severity, c.id AS consent_id,
       c.person_encrypted
FROM kordant.voice_analyses a
JOIN kordant.analysis_jobs j ON j.id = a.job_id
LEFT JOIN kordant.alerts t ON t.analysis_id = a.id
LEFT JOIN kordant.voice_enrolments e ON e.id = a.enrolment_id AND a.match = 'consistent'
LEFT JOIN kordant.voice_consents c ON c.id = e.consent_id
WHERE a.subscription_id = ANY(cast(:ids AS uuid[]))
  AND j.created_at >= cast(:start AS date)::timestamp AT TIME ZONE 'UTC'
  AND j.created_at < cast(:end AS date)::timestamp AT TIME ZONE 'UTC'
ORDER BY j.created_at DESC, a.id
"""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """The analyses for reports. `clips`: by subscription, one row per clip, the newest first. `sealed`: by analysis,
    the sealed name of the member that it is consistent with, and the id of the consent that has it."""

    clips: dict[UUID, list[dict[str, Any]]]
    sealed: dict[UUID, tuple[UUID, bytes]] = field(repr=False)


def facts(connection: Connection, subscription_ids: Sequence[UUID], *, start: date, end: date) -> ClipFacts:
    """Read the analyses of the clips that these subscriptions received in `start` ≤ day (UTC) < `end`."""
    found = ClipFacts(clips={}, sealed={})
    values = {"ids": [str(one) for one in subscription_ids], "start": start, "end": end}
    for row in connection.execute(sa.text(_LINES), values):
        shown = dict(row._mapping)
        consent_id, sealed = shown.pop("consent_id"), shown.pop("person_encrypted")
        if consent_id is not None:
            found.sealed[row.analysis_id] = (consent_id, bytes(sealed))
        shown["windows"] = tuple(word for _, _, word in shown["windows"])
        found.clips.setdefault(shown.pop("subscription_id"), []).append(shown)
    return found


def verdict_of(connection: Connection, job_id: UUID) -> dict[str, Any] | None:
    """The analysis of a clip, as a row; None: there is none yet."""
    row = connection.execute(sa.select(voice_analyses).where(voice_analyses.c.job_id == job_id)).mappings().first()
    return dict(row) if row else None


def recent(connection: Connection, keyring: Keyring, subscription_id: UUID, limit: int) -> list[dict[str, Any]]:
    """The clips of a subscription with their analyses, the newest first, in clear, to be shown to their subscriber.
    `person`: the name of the member that a clip is consistent with."""
    query = """
        SELECT j.id AS clip, j.created_at AS received, coalesce(a.status, 'pending') AS status, a.reason, a.match,
               a.synthesis, a.score, a.band, a.seconds, a.speech_s, a.voices, a.is_whole, j.subscriber_id,
               c.id AS consent_id, c.person_encrypted AS person
        FROM kordant.analysis_jobs j LEFT JOIN kordant.voice_analyses a ON a.job_id = j.id
        LEFT JOIN kordant.voice_enrolments e ON e.id = a.enrolment_id AND a.match = 'consistent'
        LEFT JOIN kordant.voice_consents c ON c.id = e.consent_id
        WHERE j.subscription_id = :id ORDER BY j.created_at DESC LIMIT :limit
    """
    rows = [dict(row._mapping) for row in connection.execute(sa.text(query), {"id": subscription_id, "limit": limit})]
    keys = keyring.load_keys(connection, [row["subscriber_id"] for row in rows[:1]])
    for row in rows:
        owner, consent_id = row.pop("subscriber_id"), row.pop("consent_id")
        if consent_id is not None:
            row["person"] = keys.open(owner, voice_consents.c.person_encrypted, consent_id, row["person"])
    return rows
