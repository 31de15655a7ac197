"""Invented families for the demo: an enrolled grandmother, and clips, one of them a synthetic voice like hers."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.voice.analysis import enrolment_clip
from kordant_jobs.adapters.voice.models.files import load_models
from kordant_jobs.domain.voice.enrolment import CLIPS_MIN, centroids
from kordant_jobs.lab.voices.speaking import InventedVoice, as_wav, speak
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice import clips, enrolments

GRANDMOTHER, STRANGER = 4, 8
"""Seeds of two voices that are far apart."""


def add_clips(db: Engine, keyring: Keyring, settings: Settings, subscription_ids: Sequence[UUID]) -> None:
    """Add three clips to each subscription: of the grandmother's voice, of a stranger's, and one that is too short. If
    the models are installed, the grandmother is enrolled first."""
    models = load_models(settings.models, settings.voice_detector).models
    voice, stranger = InventedVoice.of(GRANDMOTHER), InventedVoice.of(STRANGER)
    files = [as_wav(speak(voice, 8, 1)), as_wav(speak(stranger, 8, 2)), as_wav(speak(voice, 1, 3))]
    if models is not None:
        spoken = [(speak(voice, 9, 11 + number) * 32767).astype(np.int16) for number in range(CLIPS_MIN)]
        enrolled = [enrolment_clip(str(number), [one], models) for number, one in enumerate(spoken)]
    for subscription_id in subscription_ids:
        with db.begin() as connection:
            query = sa.text("SELECT subscriber_id FROM kordant.subscriptions WHERE id = :id")
            subscriber_id = connection.execute(query, {"id": subscription_id}).scalar_one()
            if models is not None:
                consent = enrolments.Consent(
                    person="Grandma", given_by="Grandma", given_on=datetime.now(UTC).date(), recorded_by="demo"
                )
                enrolments.add(
                    connection,
                    keyring,
                    subscriber_id,
                    consent,
                    centroids(enrolled),
                    model=models.speaker_manifest.tag,
                    clips=len(enrolled),
                    speech_s=sum(one.speech_s for one in enrolled),
                )
            for file in files:
                clips.add(connection, keyring, subscription_id, io.BytesIO(file), ending="wav")


def count_results(db: Engine) -> dict[str, int]:
    """The number of clips by result: the status, or for analysed clips the match and signs of synthesis."""
    query = """
        SELECT CASE WHEN status = 'ok' THEN coalesce(match, 'not compared') ||
                    CASE WHEN synthesis = 'signs_of_synthesis' THEN ' with signs of synthesis' ELSE '' END
               ELSE status || coalesce(' (' || reason || ')', '') END AS said, count(*) AS clips
        FROM kordant.voice_analyses GROUP BY 1 ORDER BY 1
    """
    with db.connect() as connection:
        return {row.said.replace("_", " "): row.clips for row in connection.execute(sa.text(query))}
