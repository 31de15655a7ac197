"""voiceprint_batch in Dagster: plan (with the import of dropped clips) → analyse in chunks → summarise."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.adapters.drop_folder import open_clip_place
from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.voiceprint_batch import VoiceprintBatch
from kordant_jobs.engine.job_shapes import Report, Summary, sharded_job
from kordant_jobs.jobs.voiceprint_batch import service
from kordant_jobs.jobs.voiceprint_batch.service import JOB, Analysed, VoicePlan
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring


def plan(
    payload: VoiceprintBatch,
    report: Report,
    now: datetime,
    db: Engine,
    keyring: Keyring,
    voice_models: LoadedModels,
    settings: Settings,
) -> VoicePlan:
    """Import dropped clips, and divide the pending clips into chunks."""
    drop = open_clip_place(settings) if payload.read_drops else None
    made = service.plan(payload.subscription_ids, drop=drop, db=db, keyring=keyring, loaded=voice_models, now=now)
    if voice_models.models is None and made.total:
        report.warn(f"{voice_models.problem} Until then verdicts are unknown; the clips wait.")
    if made.refused:
        report.warn(f"{made.refused} dropped clips were refused (no such subscription, or too large) and stay there.")
    report.show({"taken in": made.imported, "refused": made.refused, "clips": made.total})
    return made


def analyse(
    chunk: tuple[UUID, ...],
    report: Report,
    db: Engine,
    keyring: Keyring,
    voice_models: LoadedModels,
    settings: Settings,
) -> Analysed:
    """Analyse a chunk of clips, and save their verdicts."""
    done = service.analyse(
        chunk,
        db=db,
        keyring=keyring,
        loaded=voice_models,
        keep_sound=settings.voice_keep_sound,
        progress=report.progress,
    )
    for kind in sorted(set(done.problems)):
        report.warn(f"{done.problems.count(kind)} clips could not be analysed ({kind}); they are tried again.")
    report.show(_figures(done))
    return done


def summarise(plan: VoicePlan, results: list[Analysed]) -> Summary:
    """The figures of the run."""
    whole = sum(results, Analysed())
    return Summary({**_figures(whole), "taken_in": plan.imported}, items_failed=whole.failed)


def _figures(done: Analysed) -> dict[str, int]:
    return {name: value for name, value in asdict(done).items() if isinstance(value, int)}


JOBS = sharded_job(BY_NAME[JOB], service="voice", plan=plan, work=analyse, finish=summarise)
"""One job without partitions, since a clip is analysed once."""
