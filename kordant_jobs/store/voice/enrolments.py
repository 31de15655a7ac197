"""Enrolled voices and the consents to them: add, extend, read, remove."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.voice.enrolment import CONSENT_TEXT, joined
from kordant_jobs.domain.voice.verdicts import Band, Embedding, Enrolled
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.voice.tables import voice_consents, voice_enrolments, voice_settings


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A consent in clear: whose voice, who agreed, when, and to which text. It is only passed to `add`, which seals
    it."""

    person: str = field(repr=False)
    given_by: str = field(repr=False)
    given_on: date
    recorded_by: str
    text_version: str = CONSENT_TEXT


def add(
    connection: Connection,
    keyring: Keyring,
    subscriber_id: UUID,
    consent: Consent,
    centroids: Mapping[Band, Embedding],
    *,
    model: str,
    clips: int,
    speech_s: float,
) -> UUID:
    """Add an enrolment with its consent, both sealed.

    Raises:
        SettingsError: there is no such subscriber.
    """
    keys = _keys_for_writing(connection, keyring, subscriber_id)
    consent_id, enrolment_id = uuid7(), uuid7()
    columns = voice_consents.c
    connection.execute(
        sa.insert(voice_consents).values(
            id=consent_id,
            subscriber_id=subscriber_id,
            person_encrypted=keys.seal(subscriber_id, columns.person_encrypted, consent_id, consent.person),
            given_by_encrypted=keys.seal(subscriber_id, columns.given_by_encrypted, consent_id, consent.given_by),
            given_on=consent.given_on,
            text_version=consent.text_version,
            recorded_by=consent.recorded_by,
        )
    )
    connection.execute(
        sa.insert(voice_enrolments).values(
            id=enrolment_id,
            subscriber_id=subscriber_id,
            consent_id=consent_id,
            model=model,
            embeddings_encrypted=_sealed(keys, subscriber_id, enrolment_id, centroids),
            clips=clips,
            speech_s=speech_s,
        )
    )
    return enrolment_id


def extend(
    connection: Connection,
    keyring: Keyring,
    subscriber_id: UUID,
    enrolment_id: UUID,
    added: Mapping[Band, Embedding],
    *,
    clips: int,
    speech_s: float,
) -> None:
    """Add clips of the same person to an enrolment, under the same consent."""
    keys, table = _keys_for_writing(connection, keyring, subscriber_id), voice_enrolments
    row = connection.execute(sa.select(table).where(table.c.id == enrolment_id).with_for_update()).one()
    column = table.c.embeddings_encrypted
    before = _unpacked(keys.open(subscriber_id, column, row.id, row.embeddings_encrypted))
    values = {
        "embeddings_encrypted": _sealed(keys, subscriber_id, enrolment_id, joined(before, row.clips, added, clips)),
        "clips": row.clips + clips,
        "speech_s": row.speech_s + speech_s,
    }
    connection.execute(sa.update(table).where(table.c.id == enrolment_id).values(values))


def lock(connection: Connection, subscriber_id: UUID) -> None:
    """Lock the enrolments of a subscriber's family until the transaction ends: a second caller waits."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:id))"), {"id": f"voices {subscriber_id}"})


def _keys_for_writing(connection: Connection, keyring: Keyring, subscriber_id: UUID) -> SubscriberKeys:
    keys = keyring.load_keys(connection, [subscriber_id], for_writing=True)
    if subscriber_id not in keys:
        raise SettingsError(f"there is no subscriber {subscriber_id}: `kordant-jobs subscribers create` makes one.")
    return keys


def _sealed(keys: SubscriberKeys, owner: UUID, enrolment_id: UUID, centroids: Mapping[Band, Embedding]) -> bytes:
    packed = {band: base64.b64encode(one.astype("<f4").tobytes()).decode() for band, one in centroids.items()}
    return keys.seal(owner, voice_enrolments.c.embeddings_encrypted, enrolment_id, json.dumps(packed))


def of_subscriber(connection: Connection, keyring: Keyring, subscriber_id: UUID, *, model: str) -> list[Enrolled]:
    """The family's enrolments of one model; embeddings of different models cannot be compared."""
    table, person = voice_enrolments, voice_consents.c.person_encrypted
    keys = keyring.load_keys(connection, [subscriber_id])
    query = (
        sa.select(table, person)
        .join(voice_consents, voice_consents.c.id == table.c.consent_id)
        .where(table.c.subscriber_id == subscriber_id, table.c.model == model)
        .order_by(table.c.id)
    )
    rows = connection.execute(query).all() if subscriber_id in keys else []
    column = table.c.embeddings_encrypted
    return [
        Enrolled(
            id=row.id,
            person=keys.open(subscriber_id, person, row.consent_id, row.person_encrypted),
            by_band=_unpacked(keys.open(subscriber_id, column, row.id, row.embeddings_encrypted)),
        )
        for row in rows
    ]


def _unpacked(text: str) -> dict[Band, Embedding]:
    return {
        Band(band): np.frombuffer(base64.b64decode(packed), "<f4").astype(np.float32)
        for band, packed in json.loads(text).items()
    }


def listed(connection: Connection, keyring: Keyring, subscriber_id: UUID) -> list[dict[str, Any]]:
    """The family's enrolments in clear, to be shown to their subscriber, the oldest first. Keys of a row: enrolment,
    person, clips, speech_s, consent, agreed, model."""
    keys, consents = keyring.load_keys(connection, [subscriber_id]), voice_consents.c
    query = (
        sa.select(
            voice_enrolments,
            consents.person_encrypted,
            consents.given_by_encrypted,
            consents.given_on,
            consents.text_version,
        )
        .join(voice_consents, consents.id == voice_enrolments.c.consent_id)
        .where(voice_enrolments.c.subscriber_id == subscriber_id)
        .order_by(voice_enrolments.c.created_at)
    )
    return [
        {
            "enrolment": str(row.id),
            "person": keys.open(subscriber_id, consents.person_encrypted, row.consent_id, row.person_encrypted),
            "clips": row.clips,
            "speech_s": round(row.speech_s, 1),
            "consent": f"{row.given_on.isoformat()}, text {row.text_version}",
            "agreed": keys.open(subscriber_id, consents.given_by_encrypted, row.consent_id, row.given_by_encrypted),
            "model": row.model,
        }
        for row in (connection.execute(query).all() if subscriber_id in keys else ())
    ]


def remove(connection: Connection, enrolment_ids: Sequence[UUID]) -> int:
    """Delete enrolments for good, and mark their consents as withdrawn. Returns their number."""
    ids = list(enrolment_ids)
    gone = connection.execute(
        sa.delete(voice_enrolments).where(voice_enrolments.c.id.in_(ids)).returning(voice_enrolments.c.consent_id)
    ).scalars()
    withdrawn = sa.update(voice_consents).where(voice_consents.c.id.in_(list(gone)))
    return connection.execute(withdrawn.values(withdrawn_at=sa.func.now())).rowcount


def set_always_alert(connection: Connection, subscriber_id: UUID, wanted: bool) -> None:
    """Set whether a subscriber wants an alert for every clip."""
    statement = insert(voice_settings).values(subscriber_id=subscriber_id, always_alert=wanted)
    changed = {"always_alert": statement.excluded.always_alert}
    connection.execute(statement.on_conflict_do_update(index_elements=["subscriber_id"], set_=changed))
