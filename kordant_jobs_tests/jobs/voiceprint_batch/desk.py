"""A subscriber with an enrolled grandmother, and clips that come in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.voice.analysis import enrolment_clip
from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.domain.voice.enrolment import EnrolmentClip, centroids
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.jobs.voiceprint_batch import service
from kordant_jobs.jobs.voiceprint_batch.service import Analysed
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice import clips, enrolments
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.voices import GRANDMOTHER, shared_models, spoken

PERSON = "Grandma Quimby"


@lru_cache(maxsize=1)
def grandmothers_clips() -> tuple[EnrolmentClip, ...]:
    """Her clips, measured once a process."""
    return tuple(enrolment_clip(f"{n}", [spoken(GRANDMOTHER, n)], shared_models()) for n in (11, 12, 13))


@dataclass
class Desk:
    db: Engine
    keyring: Keyring
    person: Person
    deaf: bool = False
    given: LoadedModels | None = None

    @property
    def voice_models(self) -> LoadedModels:
        if self.given is not None:
            return self.given
        return LoadedModels(models=None, problem="no models") if self.deaf else LoadedModels(models=shared_models())

    def enrol(self) -> UUID:
        models = shared_models()
        with self.db.begin() as connection:
            return enrolments.add(
                connection,
                self.keyring,
                self.person.subscriber_id,
                enrolments.Consent(person=PERSON, given_by=PERSON, given_on=date(2026, 11, 1), recorded_by="test"),
                centroids(grandmothers_clips()),
                model=models.speaker_manifest.tag,
                clips=3,
                speech_s=21.0,
            )

    def give(self, content: bytes, ending: str = "wav", person: Person | None = None) -> UUID:
        with self.db.begin() as connection:
            owner = (person or self.person).subscription_id
            return clips.add(connection, self.keyring, owner, io.BytesIO(content), ending=ending)

    def run(self, **more: Any) -> Analysed:
        with self.db.connect() as connection:
            waiting = clips.pending(connection, has_models=not self.deaf, limit=100)
        with Progress(self.db, "test") as progress:
            return service.analyse(
                waiting, db=self.db, keyring=self.keyring, loaded=self.voice_models, progress=progress, **more
            )

    def rows(self, query: str, **values: object) -> list[Any]:
        with self.db.connect() as connection:
            return list(connection.execute(sa.text(query), values).all())

    def said(self, clip: UUID) -> Any:
        [row] = self.rows("SELECT * FROM kordant.voice_analyses WHERE job_id = :id", id=clip)
        return row


def desk_of(db: Engine, keyring: Keyring, **more: Any) -> Desk:
    return Desk(db=db, keyring=keyring, person=subscribe(db, keyring, **more))
