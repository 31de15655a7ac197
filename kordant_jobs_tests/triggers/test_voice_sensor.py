"""A clip that was given or dropped asks for one run, for the tiers that have real time; a refused file asks once."""

from __future__ import annotations

import io
import os
import time
from uuid import UUID

import dagster as dg
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.voiceprint_batch import VoiceprintBatch
from kordant_jobs.definitions import defs
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice import clips
from kordant_jobs.triggers.sensors import voice_sensor
from kordant_jobs_tests.jobs.people import subscribe

NO_MODELS = LoadedModels(models=None, problem="no models")


def tick(db: Engine) -> list[dg.RunRequest]:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            instance=instance, resources={"db": db, "voice_models": NO_MODELS}, definitions=defs
        ) as context,
    ):
        answer = voice_sensor.evaluate_tick(context)
        serialize_value(answer)
        return list(answer.run_requests or ())


def asked(request: dg.RunRequest) -> list[str]:
    ids: list[str] = request.run_config["ops"]["plan"]["config"]["subscription_ids"]
    return ids


def drop(settings: Settings, subscription_id: UUID, *, age_s: float = 60.0) -> None:
    settings.voice_drop.mkdir(parents=True, exist_ok=True)
    path = settings.voice_drop / f"{subscription_id}.wav"
    path.write_bytes(b"RIFF")
    moment = time.time() - age_s
    os.utime(path, (moment, moment))


def test_a_given_clip_asks_for_its_realtime_subscription_and_none_while_a_run_is_under_way(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    assert tick(db) == []
    premium, basic = subscribe(db, keyring), subscribe(db, keyring, tier="basic")
    with db.begin() as connection:
        for person in (premium, basic):
            clips.add(connection, keyring, person.subscription_id, io.BytesIO(b"RIFF"), ending="wav")
    [request] = tick(db)
    assert asked(request) == [str(premium.subscription_id)]
    assert request.run_key is None
    with db.begin() as connection:
        enqueue(connection, VoiceprintBatch(), requested_by="test")
    assert tick(db) == []


def test_a_settled_dropped_file_asks_and_the_same_files_ask_with_the_same_key(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    person = subscribe(db, keyring)
    drop(settings, person.subscription_id, age_s=0)
    assert tick(db) == []
    drop(settings, person.subscription_id)
    [first], [second] = tick(db), tick(db)
    assert asked(first) == [str(person.subscription_id)]
    assert first.run_key
    assert first.run_key == second.run_key
    assert str(person.subscription_id) not in first.run_key
