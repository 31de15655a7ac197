"""The content of notifications about clips, still sealed. The outbox claims and marks notifications."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.pending import VoiceRow
from kordant_jobs.store.notifications import outbox

_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS}, a.severity, o.alert_id, a.why, a.created_at AS alerted_at,
       j.id AS clip_id, j.created_at AS received_at, v.seconds, v.status, v.reason, v.match, v.synthesis, v.band,
       v.voices, v.is_whole, v.windows, e.consent_id, vc.person_encrypted
FROM kordant.notification_outbox o
JOIN kordant.alerts a ON a.id = o.alert_id
JOIN kordant.voice_analyses v ON v.id = a.analysis_id
JOIN kordant.analysis_jobs j ON j.id = v.job_id
LEFT JOIN kordant.voice_enrolments e ON e.id = v.enrolment_id
LEFT JOIN kordant.voice_consents vc ON vc.id = e.consent_id
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants


def notices(connection: Connection, ids: Sequence[UUID]) -> list[VoiceRow]:
    """The content of the notifications in `ids` that are about clips, the longest overdue first."""
    rows = connection.execute(sa.text(_ROWS), {"ids": [str(one) for one in ids]})
    return [VoiceRow(**{**row._mapping, "windows": tuple(word for _, _, word in row.windows)}) for row in rows]
