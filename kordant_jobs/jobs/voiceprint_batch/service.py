"""Load, decide, save: imports dropped clips, measures each, and saves its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import chain
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.adapters.drop_folder import DropPlace
from kordant_jobs.adapters.voice.analysis import measure
from kordant_jobs.adapters.voice.decoding import Decoder, Undecodable
from kordant_jobs.adapters.voice.drop_folder import dropped_clips, ending_of
from kordant_jobs.adapters.voice.models.files import LoadedModels, VoiceModels
from kordant_jobs.domain.voice.verdicts import (
    ChannelMeasurements,
    ClipStatus,
    Match,
    Reason,
    Synthesis,
    Verdict,
    judge_clip,
)
from kordant_jobs.engine import Progress
from kordant_jobs.errors import DatabaseUnavailable, KeyringError, PermanentError, SetupError
from kordant_jobs.jobs.voiceprint_batch.rules import AGAIN, ATTEMPTS_MAX, CLIPS_MAX, HELD_BACK, chunked
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice import analyses, clips, enrolments
from kordant_jobs.store.voice.clips import Clip

JOB = "voiceprint_batch"


@dataclass(frozen=True, kw_only=True)
class VoicePlan:
    """The clips that one run analyses, by id, and the numbers of dropped files that were imported and refused."""

    chunks: tuple[tuple[UUID, ...], ...]
    total: int
    imported: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """The result of one chunk, in numbers of clips. `failed`: clips with an error, which are tried again, at most three
    times unless the fault is ours."""

    clips: int = 0
    consistent: int = 0
    signs_of_synthesis: int = 0
    insufficient_speech: int = 0
    undecodable: int = 0
    unknown: int = 0
    alerts: int = 0
    failed: int = 0
    problems: tuple[str, ...] = ()
    """The types of those errors. Their texts are left out, since they could quote a file."""

    def __add__(self, other: Analysed) -> Analysed:
        return Analysed(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def plan(
    subscription_ids: Sequence[UUID] | None,
    *,
    drop: DropPlace | None,
    db: Engine,
    keyring: Keyring,
    loaded: LoadedModels,
    now: datetime,
) -> VoicePlan:
    """Import dropped clips (`drop` None: none), then divide the pending clips into chunks."""
    taken, refused = import_dropped_clips(drop, db=db, keyring=keyring, now=now) if drop is not None else (0, 0)
    with db.connect() as connection:
        waiting = clips.pending(
            connection, has_models=loaded.models is not None, subscription_ids=subscription_ids, limit=CLIPS_MAX
        )
    return VoicePlan(chunks=chunked(waiting), total=len(waiting), imported=taken, refused=refused)


def import_dropped_clips(drop: DropPlace, *, db: Engine, keyring: Keyring, now: datetime) -> tuple[int, int]:
    """Import dropped clips; each is sealed before its file is removed. Returns the numbers of imported and of refused
    files, which stay. Safe to repeat: the same file gives one clip. A file that changed while it was read stays until
    it is complete.

    Raises:
        TransientError: an object store does not answer. What was imported by then stays.
    """
    taken = refused = 0
    for subscription_id, file in dropped_clips(drop, settled_at=now):
        try:
            with drop.fetch(file) as path, path.open("rb") as content, db.begin() as connection:
                clips.add(connection, keyring, subscription_id, content, ending=ending_of(file.name))
                if drop.has_changed(file):
                    raise FileNotFoundError
        except FileNotFoundError:
            continue  # another run took it, or it grew: nothing of it is kept
        except (PermanentError, OSError):
            refused += 1
            continue
        if not drop.has_changed(file):
            with suppress(OSError):
                drop.remove(file)
        taken += 1
    return taken, refused


def analyse(
    clip_ids: Sequence[UUID],
    *,
    db: Engine,
    keyring: Keyring,
    loaded: LoadedModels,
    keep_sound: bool = False,
    progress: Progress | None = None,
) -> Analysed:
    """Analyse clips and save their verdicts, each in its own transaction. Safe to repeat: final verdicts stay."""
    total = Analysed()
    with Decoder() as decoder:
        for clip_id in clip_ids:
            total += _analyse_one(clip_id, decoder, db=db, keyring=keyring, models=loaded.models, keep_sound=keep_sound)
            if progress is not None:
                progress.advance(1, "listening")
    return total


def _analyse_one(
    clip_id: UUID, decoder: Decoder, *, db: Engine, keyring: Keyring, models: VoiceModels | None, keep_sound: bool
) -> Analysed:
    with db.begin() as connection:  # the attempt counts even if this process does not survive it
        clip = clips.begin(connection, clip_id, is_attempt=models is not None)
    if clip is None:
        return Analysed()
    final, measured, problems, is_ours = True, None, tuple[str, ...](), False
    if models is None:
        verdict, final = _unknown(Reason.MODEL_MISSING), False
    elif clip.attempts > ATTEMPTS_MAX:
        verdict = _unknown(Reason.ANALYSIS_FAILED)
    else:
        try:
            verdict, measured = _listen(clip, decoder, models, db=db, keyring=keyring)
            final = verdict.reason not in AGAIN or clip.attempts >= ATTEMPTS_MAX
        except (KeyringError, DatabaseUnavailable, sa.exc.OperationalError) as error:
            with db.begin() as connection:  # another master key, or forgotten meanwhile: nothing is said
                clips.hold_back(connection, clip_id, HELD_BACK, is_attempt=False)
            return Analysed(failed=1, problems=(type(error).__name__,))
        except SetupError as error:
            verdict, problems = _unknown(Reason.MODEL_MISSING), (type(error).__name__,)
            final, is_ours = False, True
        except Exception as error:  # noqa: BLE001 - counted as failed; one clip stops no other
            verdict, problems = _unknown(Reason.ANALYSIS_FAILED), (type(error).__name__,)
            final = clip.attempts >= ATTEMPTS_MAX
    with db.begin() as connection:
        written, alerts = analyses.save(
            connection,
            clip,
            verdict,
            measured,
            speaker_model=models.speaker_manifest.tag if models else None,
            detector=models.detector_manifest.tag if models and models.detector_manifest else None,
            is_final=final,
            keep_sound=keep_sound,
        )
        if not final and models is not None:
            clips.hold_back(connection, clip_id, HELD_BACK, is_attempt=not is_ours)
    if not written:
        return Analysed()
    match = verdict.compared.match if verdict.compared else None
    return Analysed(
        clips=1,
        consistent=match is Match.CONSISTENT,
        signs_of_synthesis=verdict.synthesis is Synthesis.SIGNS,
        insufficient_speech=verdict.status is ClipStatus.INSUFFICIENT_SPEECH,
        undecodable=verdict.status is ClipStatus.UNDECODABLE,
        unknown=verdict.status is ClipStatus.UNKNOWN,
        alerts=alerts,
        failed=len(problems),
        problems=problems,
    )


def _unknown(reason: Reason) -> Verdict:
    return Verdict(status=ClipStatus.UNKNOWN, reason=reason)


def _listen(
    clip: Clip, decoder: Decoder, models: VoiceModels, *, db: Engine, keyring: Keyring
) -> tuple[Verdict, ChannelMeasurements | None]:
    with db.connect() as connection:
        members = enrolments.of_subscriber(connection, keyring, clip.subscriber_id, model=models.speaker_manifest.tag)
    pieces = clips.sound(db, keyring, clip)
    first = next(pieces, None)
    if first is None:
        return _unknown(Reason.SOUND_GONE), None
    try:
        decoded = decoder.decode(chain([first], pieces), clip.ending)
    except Undecodable as error:
        return Verdict(status=ClipStatus.UNDECODABLE, reason=error.reason), None
    channels = measure(decoded.channels, models, is_whole=decoded.is_whole)
    manifest = models.detector_manifest
    screening = manifest.screen_thresholds if manifest else {}
    return judge_clip(channels, members, models.speaker_manifest.match_thresholds, screening)
