"""Clips on a real database: each gets its row, once; what fails stops no other; nothing of a voice lies open."""

from __future__ import annotations

import io
import os
import wave
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.drop_folder import DropFolder, DropStore, is_being_written
from kordant_jobs.adapters.voice.decoding import Decoder, Samples
from kordant_jobs.adapters.voice.drop_folder import dropped_clips, left_behind
from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.domain.voice.models import RATE
from kordant_jobs.errors import PermanentError, SettingsError
from kordant_jobs.jobs.voiceprint_batch import service
from kordant_jobs.jobs.voiceprint_batch.rules import ATTEMPTS_MAX
from kordant_jobs.lab.voices.speaking import InventedVoice, as_wav, speak
from kordant_jobs.privacy.held import stored_data
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention import deleting
from kordant_jobs.store.retention.kinds import TABLES
from kordant_jobs.store.voice import clips, enrolments
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.voiceprint_batch.desk import PERSON, Desk, desk_of
from kordant_jobs_tests.voices import GRANDMOTHER, STRANGER, shared_models, spoken, spoken_wav


@pytest.fixture
def desk(db: Engine, keyring: Keyring) -> Desk:
    shared_models()
    return desk_of(db, keyring)


def test_clips_of_a_member_of_a_stranger_and_of_no_use_each_get_their_row(desk: Desk) -> None:
    enrolment = desk.enrol()
    ours, strangers = desk.give(spoken_wav(GRANDMOTHER, 1)), desk.give(spoken_wav(STRANGER, 1))
    message, empty = desk.give(b"Dear Grandma\n" * 9), desk.give(b"")
    done = desk.run()
    assert (done.clips, done.undecodable, done.failed) == (4, 2, 0)
    row = desk.said(ours)
    assert (row.status, row.match, row.enrolment_id) == ("ok", "consistent", enrolment)
    assert row.synthesis == "signs_of_synthesis"  # it is one of the 1990s' kind
    assert row.score > 0.65
    assert row.windows
    assert desk.said(strangers).match == "not_consistent"
    assert {desk.said(one).status for one in (message, empty)} == {"undecodable"}
    assert desk.rows("SELECT count(*) AS n FROM kordant.analysis_sound")[0].n == 0
    assert desk.run().clips == 0


def test_whatever_comes_has_a_clear_status_and_the_batch_goes_on(desk: Desk) -> None:
    chance, at = np.random.default_rng(1), np.arange(64_000)
    chord = sum(np.sin(at * step) for step in (0.1, 0.126, 0.15)) / 4
    no_speech = {
        "silence": np.zeros(64_000),
        "noise": chance.standard_normal(64_000) / 5,
        "tone": np.sin(at * 0.2) / 2,
        "chord": chord * np.sin(at / 4_000) ** 2,
        "half a second": speak(InventedVoice.of(GRANDMOTHER), 0.5, 1),
    }
    quiet = {name: desk.give(as_wav(np.asarray(sound, np.float32))) for name, sound in no_speech.items()}
    whole = spoken_wav(GRANDMOTHER, 1)
    broken = {
        "cut": desk.give(whole[:30_000]),
        "header": desk.give(whole[:44]),
        "three bytes": desk.give(b"\xff\xfb\x90"),
    }
    good = desk.give(whole)
    assert desk.run().failed == 0
    assert {name: desk.said(clip).status for name, clip in quiet.items()} == dict.fromkeys(quiet, "insufficient_speech")
    assert {name: desk.said(clip).status for name, clip in broken.items()} == {
        "cut": "unknown", "header": "undecodable", "three bytes": "undecodable"
    }  # fmt: skip
    assert desk.said(good).status == "ok"


def test_the_same_clip_twice_is_one_row_and_says_the_same(desk: Desk) -> None:
    first, second = desk.give(spoken_wav(STRANGER, 1)), desk.give(spoken_wav(STRANGER, 1))
    assert first == second
    assert desk.rows("SELECT count(*) AS n FROM kordant.analysis_jobs")[0].n == 1
    desk.run()
    again = desk.give(spoken_wav(STRANGER, 1))
    assert (again, desk.run().clips) == (first, 0)
    other = subscribe(desk.db, desk.keyring)
    theirs = desk.give(spoken_wav(STRANGER, 1), person=other)
    desk.run()
    mine, same = desk.said(first), desk.said(theirs)
    assert (mine.screen_score, mine.windows) == (same.screen_score, same.windows)
    [keys] = desk.rows("SELECT count(DISTINCT content_key) AS n FROM kordant.analysis_jobs")
    assert keys.n == 2  # nobody sees that two subscribers got the same clip


def test_an_alert_is_for_both_together_or_for_every_clip_when_wanted_and_only_once(desk: Desk) -> None:
    desk.enrol()
    desk.give(spoken_wav(GRANDMOTHER, 1))
    desk.give(spoken_wav(STRANGER, 1))
    assert desk.run().alerts == 1
    [alert] = desk.rows("SELECT severity, why FROM kordant.alerts")
    assert (alert.severity, alert.why) == ("high", [{"code": "voice_like_a_member_with_signs"}])
    assert desk.rows("SELECT category FROM kordant.notification_outbox")[0].category == "voice"
    with desk.db.begin() as connection:
        enrolments.set_always_alert(connection, desk.person.subscriber_id, True)
    desk.give(spoken_wav(STRANGER, 2))
    assert (desk.run().alerts, desk.run().alerts) == (1, 0)
    assert {row.severity for row in desk.rows("SELECT severity FROM kordant.alerts")} == {"high", "medium"}


def test_where_models_are_missing_the_verdict_is_unknown_and_the_clip_waits_for_them(desk: Desk) -> None:
    desk.deaf = True
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    assert (desk.run().unknown, desk.run().clips) == (1, 0)
    assert (desk.said(clip).status, desk.said(clip).reason) == ("unknown", "model_missing")
    with desk.db.connect() as connection:
        assert clips.waiting(connection, ["premium"], has_models=False) == []
        assert clips.waiting(connection, ["premium"], has_models=True) == [desk.person.subscription_id]
    desk.deaf = False
    assert desk.run().clips == 1
    assert (desk.said(clip).status, desk.said(clip).reason, desk.said(clip).match) == ("ok", None, None)


def test_an_enrolment_of_another_model_is_never_compared(desk: Desk) -> None:
    desk.enrol()
    with desk.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.voice_enrolments SET model = 'campplus@another'"))
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    desk.run()
    assert (desk.said(clip).match, desk.said(clip).score) == (None, None)


def test_a_clip_that_ends_its_process_is_given_up_after_three_attempts(desk: Desk) -> None:
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    for _ in range(ATTEMPTS_MAX):
        with desk.db.begin() as connection:
            clips.begin(connection, clip)  # and here the process is killed
    assert desk.run().unknown == 1
    assert (desk.said(clip).status, desk.said(clip).reason) == ("unknown", "analysis_failed")
    assert desk.run().clips == 0


def release(desk: Desk) -> None:
    """Let the time pass for which clips are held back."""
    with desk.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.analysis_jobs SET held_until_at = held_until_at - interval '1 h'"))


def test_faults_of_ours_hold_a_clip_back_and_never_use_up_its_attempts(desk: Desk, tmp_path: Path) -> None:
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    another_key = replace(desk, keyring=Keyring(bytes(32), index_root=bytes(32)))
    no_file = LoadedModels(models=replace(shared_models(), folder=tmp_path))
    for broken, kind in ((another_key, "KeyringError"), (replace(desk, given=no_file), "SetupError")):
        for _ in range(ATTEMPTS_MAX + 1):
            done = broken.run()
            assert (done.failed, done.problems) == (1, (kind,))
            assert desk.run().clips == 0, "held back"
            release(desk)
    assert desk.rows("SELECT attempts FROM kordant.analysis_jobs")[0].attempts == 0
    assert (desk.run().clips, desk.said(clip).status) == (1, "ok")


def test_a_clip_that_fails_by_itself_is_held_back_between_its_attempts_and_given_up(desk: Desk) -> None:
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    broken = replace(shared_models())
    broken.__dict__["speech"] = None
    failing = replace(desk, given=LoadedModels(models=broken))
    for attempt in range(ATTEMPTS_MAX):
        assert failing.run().failed == 1
        assert desk.rows("SELECT attempts FROM kordant.analysis_jobs")[0].attempts == attempt + 1
        assert failing.run().clips == 0
        release(desk)
    assert (desk.said(clip).reason, failing.run().clips) == ("analysis_failed", 0)


def test_sound_whose_term_was_over_before_it_was_analysed_is_unknown(desk: Desk) -> None:
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    list(deleting.delete(desk.db, TABLES["voice_sound"], datetime.now(UTC) + timedelta(days=1)))
    desk.run()
    assert (desk.said(clip).status, desk.said(clip).reason) == ("unknown", "sound_gone")
    list(deleting.delete(desk.db, TABLES["voice_analyses"], datetime.now(UTC) + timedelta(days=1)))
    assert desk.rows("SELECT 1 FROM kordant.voice_analyses UNION ALL SELECT 1 FROM kordant.analysis_jobs") == []


def test_dropped_clips_are_imported_and_deleted_unless_their_id_is_unknown(desk: Desk, tmp_path: Path) -> None:
    mine = tmp_path / f"{desk.person.subscription_id} from Maria.wav"
    for path in (mine, tmp_path / f"{uuid4()}.wav", tmp_path / "notes.wav"):
        path.write_bytes(spoken_wav(STRANGER, 1))
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert service.import_dropped_clips(DropFolder(tmp_path), db=desk.db, keyring=desk.keyring, now=now) == (1, 1)
    assert not mine.exists()
    assert len(list(tmp_path.iterdir())) == 2
    [row] = desk.rows("SELECT * FROM kordant.analysis_jobs")
    assert "maria" not in str(tuple(row)).lower()


def test_a_clip_that_is_still_written_waits_and_is_imported_whole(desk: Desk, tmp_path: Path) -> None:
    path, whole = tmp_path / f"{desk.person.subscription_id}.wav", spoken_wav(STRANGER, 1)
    now = datetime.now(UTC) + timedelta(minutes=1)

    def taken() -> tuple[int, int]:
        return service.import_dropped_clips(DropFolder(tmp_path), db=desk.db, keyring=desk.keyring, now=now)

    with path.open("wb") as writer:
        writer.write(whole[:50_000])
        writer.flush()
        assert is_being_written(path) is True
        assert taken() == (0, 0)  # however long the writer pauses
        [(_, half)] = dropped_clips(DropFolder(tmp_path))
        writer.write(whole[50_000:])
    assert half.place.has_changed(half)
    assert taken() == (1, 0)
    assert desk.rows("SELECT bytes FROM kordant.analysis_jobs")[0].bytes == len(whole)
    assert not path.exists()


def test_a_clip_is_imported_from_a_store_once_and_a_foreign_one_stays_there(desk: Desk, tmp_path: Path) -> None:
    place, files = (
        DropStore("memory://clips", setting="KORDANT_VOICE_DROP_URL", work=tmp_path),
        fsspec.filesystem("memory"),
    )
    for name in (f"{desk.person.subscription_id} from Maria.wav", f"{uuid4()}.wav", "notes.wav"):
        files.pipe_file(f"/clips/{name}", spoken_wav(STRANGER, 1))
    now = datetime.now(UTC)
    assert service.import_dropped_clips(place, db=desk.db, keyring=desk.keyring, now=now) == (1, 1)
    assert service.import_dropped_clips(place, db=desk.db, keyring=desk.keyring, now=now) == (0, 1)
    [row] = desk.rows("SELECT * FROM kordant.analysis_jobs")
    assert "maria" not in str(tuple(row)).lower()
    assert left_behind(place, now + timedelta(hours=2)) == {"no id in the name": 1, "refused": 1}


def test_what_lies_in_the_drop_folder_for_good_is_counted_by_why(tmp_path: Path) -> None:
    for name in ("notes.wav", f"{uuid4()}.wav", f"{uuid4()}.wav.part", ".kordant-place"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f"{uuid4()}.mp3").symlink_to(tmp_path / "notes.wav")
    os.mkfifo(tmp_path / f"{uuid4()}.ogg")
    now = datetime.now(UTC)
    assert left_behind(DropFolder(tmp_path), now) == {}
    later = left_behind(DropFolder(tmp_path), now + timedelta(hours=2))
    assert later == {"no id in the name": 1, "refused": 1, "named as unfinished": 1, "no plain file": 2}
    assert left_behind(DropFolder(tmp_path / "none"), now) == {}


def test_each_channel_of_a_call_is_compared(desk: Desk) -> None:
    desk.enrol()
    left, right = spoken(STRANGER, 3, 8.0), spoken(GRANDMOTHER, 1, 8.0)
    size = min(len(left), len(right))
    clip = desk.give(as_channels(np.stack([left[:size], right[:size]], axis=1)))
    assert desk.run().alerts == 1
    row = desk.said(clip)
    assert (row.match, row.synthesis, row.voices) == ("consistent", "signs_of_synthesis", 2)


def test_half_a_file_is_reported_as_a_part(desk: Desk) -> None:
    clip = desk.give(spoken_wav(GRANDMOTHER, 1, 8.0)[:140_000])
    short = desk.give(spoken_wav(GRANDMOTHER, 1)[:30_000])
    desk.run()
    assert (desk.said(clip).status, desk.said(clip).is_whole) == ("ok", False)
    assert (desk.said(short).status, desk.said(short).reason) == ("unknown", "partly_read")


def as_channels(samples: Samples) -> bytes:
    """A WAV file of samples [count, channels]."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(samples.shape[1])
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def everything(desk: Desk) -> str:
    """All rows of all our tables, as text."""
    found = []
    with desk.db.connect() as connection:
        names = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'kordant'")).scalars()
        raw: Any = connection.connection.driver_connection
        for name in names.all():
            buffer = io.StringIO()
            with raw.cursor() as cursor:
                cursor.copy_expert(f"COPY kordant.{name} TO STDOUT", buffer)
            found.append(buffer.getvalue())
    return "\n".join(found)


def test_names_sound_and_embeddings_are_sealed_exported_opened_and_forgotten(desk: Desk) -> None:
    desk.enrol()
    desk.give(spoken_wav(GRANDMOTHER, 1))
    kept = everything(desk)
    for secret in (PERSON.encode(), PERSON.encode("utf-8").hex().encode(), b"RIFF".hex().encode(), b"UklGR"):
        assert secret.decode() not in kept
    with desk.db.connect() as connection:
        shown = {one.table: one for one in stored_data(connection, desk.keyring, desk.person.subscriber_id)}
    assert shown["kordant.voice_consents"].rows[0]["person"] == PERSON
    assert shown["kordant.analysis_sound"].rows[0]["content"].startswith("UklGR")  # base64 of RIFF
    assert "wide" in shown["kordant.voice_enrolments"].rows[0]["embeddings"]
    desk.run(keep_sound=True)
    assert desk.rows("SELECT count(*) AS n FROM kordant.analysis_sound")[0].n == 1
    with desk.db.begin() as connection:
        assert subscribers.forget(connection, desk.person.subscriber_id) is not None
    for table in ("voice_consents", "voice_enrolments", "analysis_jobs", "analysis_sound", "voice_analyses", "alerts"):
        assert desk.rows(f"SELECT 1 FROM kordant.{table}") == [], table


def test_a_voice_that_is_removed_is_gone_and_its_consent_is_kept_as_withdrawn(desk: Desk) -> None:
    enrolment = desk.enrol()
    clip = desk.give(spoken_wav(GRANDMOTHER, 1))
    desk.run()
    with desk.db.begin() as connection:
        assert enrolments.remove(connection, [enrolment]) == 1
        assert enrolments.remove(connection, [enrolment]) == 0
    assert desk.rows("SELECT 1 FROM kordant.voice_enrolments") == []
    assert desk.rows("SELECT withdrawn_at FROM kordant.voice_consents")[0].withdrawn_at is not None
    assert desk.said(clip).enrolment_id is None


def test_a_clip_for_an_unknown_subscription_or_too_large_is_refused(desk: Desk) -> None:
    with desk.db.begin() as connection, pytest.raises(SettingsError, match="no subscription"):
        clips.add(connection, desk.keyring, uuid4(), io.BytesIO(b"x"), ending="")

    file, owner = io.BytesIO(bytes(3 << 20)), desk.person.subscription_id
    with desk.db.begin() as connection, pytest.raises(PermanentError, match="over 2 MiB"):
        clips.add(connection, desk.keyring, owner, file, ending="", bytes_max=2 << 20)


def test_the_decoder_is_closed_with_the_chunk(desk: Desk) -> None:
    with Decoder() as decoder:
        decoder.decode([spoken_wav(STRANGER, 1)])
        helper = decoder._helper
    assert helper is not None
    assert helper.poll() is not None
