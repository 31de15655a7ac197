"""Sensors that request runs for new data. Each evaluates a pure function and returns run requests; none does work
itself.

They are few, since a sensor's tick costs up to 0.3 s of CPU: one for all real-time data, one for the outbox, and a slow
one (`keeper`) for starts that schedules missed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Self, TypeVar

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.adapters.counties import Counties
from kordant_jobs.adapters.drop_folder import open_clip_place
from kordant_jobs.adapters.messengers import channels_on
from kordant_jobs.adapters.voice.drop_folder import dropped_clips, facts_of
from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.catalog.hometitle_scan import HometitleScan
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.catalog.voiceprint_batch import REALTIME, VoiceprintBatch
from kordant_jobs.engine.control import WAKES, operate
from kordant_jobs.errors import SourceUnavailable, TransientError
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox, new_files
from kordant_jobs.jobs.hometitle_scan.rules.freshness import next_to_ask
from kordant_jobs.ports import BreachFeed
from kordant_jobs.settings import load_settings
from kordant_jobs.store.darkwatch import breach_lookups, new_data
from kordant_jobs.store.notifications.outbox import due
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property import matching
from kordant_jobs.store.voice import clips

POLL_S = 60
"""Seconds between evaluations, for changes without a notification (a notification that becomes due, a breach that
becomes known by the clock). Other changes wake these sensors by `NOTIFY kordant_events`. Dagster's own daemon does not
LISTEN, and evaluates every STOCK_POLL_S."""
STOCK_POLL_S = 2
_sensor = partial(
    dg.sensor,
    minimum_interval_seconds=POLL_S if load_settings().has_queue else STOCK_POLL_S,
    tags={WAKES: "events"},
    default_status=dg.DefaultSensorStatus.RUNNING,
)


@_sensor(
    job_name=DarkwatchScan.job,
    description="A dump in the drop folder, a breach, a watched identifier or a subscription that is new: the tiers "
    "that have real time are scanned at once, and every subscription for a first time.",
)
def new_data_sensor(
    context: dg.SensorEvaluationContext,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    drop_box: dg.ResourceParam[DropBox],
) -> dg.SensorResult | dg.SkipReason:
    """Request a scan of the real-time tiers for new files and breaches, and one of the subscriptions that wait for a
    first scan of an identifier. Each file or breach counts once, and scans follow each other: new data that arrives
    during a scan waits for its end, so that no file is read twice."""
    files = _listed(context, partial(new_files, db, drop_box, keyring))
    with db.connect() as connection:
        tiers = new_data.realtime_tiers(connection, DarkwatchScan.job)
        newest = new_data.newest_breach(connection)
        queued = load_settings().has_queue
        waiting = new_data.unscanned(connection, DarkwatchScan.job, tiers=tiers, but_queued=queued)
        under_way = new_data.under_way(connection, DarkwatchScan.job, requested_by=f"sensor:{new_data_sensor.name}")
    facts = [f"{keyring.file_key(file.name).hex()} {file.size} {file.mtime_ns}" for file in files]
    seen = json.loads(context.cursor or "{}").get("breach")
    if seen is not None and newest is not None and newest > seen:
        facts.append(f"breach {newest}")
    asked = []
    if facts and tiers and under_way.of_tiers:
        return dg.SkipReason("a scan for what came before is under way; its end wakes this sensor")
    if facts and tiers:
        config = DarkwatchScan(tiers=tiers)
        key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
        asked.append(_scan(config, run_key=key, trigger="new_dump" if files else "new_breach"))
    elif waiting and not under_way.of_people:
        people = DarkwatchScan(subscription_ids=tuple(waiting), read_dumps=not queued)
        asked.append(_scan(people, run_key=None, trigger="new_identifier"))
    if not asked and newest == seen:
        return dg.SkipReason("nothing is new")
    return dg.SensorResult(run_requests=asked, cursor=json.dumps({"breach": newest}))


One = TypeVar("One")


def _listed(context: dg.SensorEvaluationContext, files: Callable[[], Iterable[One]]) -> list[One]:
    """Dropped files; none while their store does not answer, so that other new data does not wait for it."""
    try:
        return list(files())
    except TransientError as error:
        context.log.warning(str(error))
        return []


def _scan(payload: DarkwatchScan, *, run_key: str | None, trigger: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=run_key, run_config=payload.run_config([payload]), tags={"kordant/trigger": trigger})


@dataclass(frozen=True)
class _CountyCursor:
    """The property sensor's cursor: the files it has seen, and when it checked each county."""

    files: str = ""
    asked_at: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Parse the cursor; one of an earlier version has only the files."""
        if not text or not text.startswith("{"):
            return cls(text or "")
        value = json.loads(text)
        return cls(value["files"], {one: datetime.fromisoformat(at) for one, at in value["asked_at"].items()})

    def text(self) -> str:
        """The cursor as text for Dagster."""
        return json.dumps({"files": self.files, "asked_at": {one: at.isoformat() for one, at in self.asked_at.items()}})


def _title_scan(
    payload: HometitleScan, trigger: str, *, cursor: _CountyCursor, run_key: str | None = None
) -> dg.SensorResult:
    config, tags = payload.run_config([payload]), {"kordant/trigger": trigger}
    asked = dg.RunRequest(run_key=run_key, run_config=config, tags=tags)
    return dg.SensorResult(run_requests=[asked], cursor=cursor.text())


@_sensor(
    job_name=HometitleScan.job,
    description="A parcel that is newly watched, or new data of a county: scanned at once for tiers with real time.",
)
def property_sensor(
    context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine], counties: dg.ResourceParam[Counties]
) -> dg.SensorResult | dg.SkipReason:
    """Request a scan of subscriptions that wait for a first scan of a parcel, or, when there are new files or a county
    reports new data, of the real-time tiers. A county is checked at most every `ASK_EVERY`."""
    now = datetime.now(UTC)
    with db.connect() as connection:
        tiers = new_data.realtime_tiers(connection, HometitleScan.job)
        waiting = matching.unscanned(connection, [tier.value for tier in tiers])
        known = matching.realtime_counties(connection, [tier.value for tier in tiers])
        asked_before = operate.under_way(connection, job=HometitleScan.job)
    cursor = _CountyCursor.read(context.cursor)
    seen = counties.dropped()
    if seen and seen != cursor.files and tiers:
        after = replace(cursor, files=seen)
        return _title_scan(HometitleScan(tiers=tiers), "files", cursor=after, run_key=seen)
    if asked_before:
        return dg.SkipReason("a scan is under way or waiting")
    if waiting:
        return _title_scan(HometitleScan(subscription_ids=tuple(waiting)), "new_parcel", cursor=cursor)
    remote = [one for one in known if known[one] is not None and counties.is_remote(one)]
    county = next_to_ask(remote, cursor.asked_at, now)
    if county is None:
        return dg.SkipReason("nothing is new")
    after = replace(cursor, asked_at={one: cursor.asked_at[one] for one in remote if one in cursor.asked_at})
    after.asked_at[county] = now
    said = counties.freshness(county)
    if said is not None and said != known[county]:
        return _title_scan(HometitleScan(tiers=tiers), "new_records", cursor=after)
    return dg.SensorResult(skip_reason=f"{county} has nothing new", cursor=after.text())


@_sensor(
    job_name=VoiceprintBatch.job,
    description="A clip that was given or dropped: analysed at once for tiers with real time.",
)
def voice_sensor(
    context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine], voice_models: dg.ResourceParam[LoadedModels]
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for the real-time subscriptions with clips. Files that a run refused do not count."""
    with db.connect() as connection:
        if operate.under_way(connection, job=VoiceprintBatch.job):
            return dg.SkipReason("a run is under way or waiting; its end wakes this sensor")
    place = open_clip_place(load_settings())
    files = _listed(context, partial(dropped_clips, place, settled_at=datetime.now(UTC)))
    with db.connect() as connection:
        tiers = [tier.value for tier in REALTIME]
        given = clips.waiting(connection, tiers, has_models=voice_models.models is not None)
        owners = {owner for owner, _ in files}
        waiting = {*given, *(clips.active_of(connection, tiers, list(owners)) if owners else ())}
    if not waiting:
        return dg.SkipReason("no clip waits")
    config = VoiceprintBatch(subscription_ids=tuple(sorted(waiting)))
    run_key = None if given else facts_of(files)
    tags = {"kordant/trigger": "clip"}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=run_key, run_config=config.run_config([config]), tags=tags)]
    )


@_sensor(
    job_name=NotificationsSend.job,
    description="A notification is due: one run sends all that are.",
)
def outbox_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SensorResult | dg.SkipReason:
    """Request one run when something is due and no run is active: a run sends until nothing is due."""
    with db.connect() as connection:
        waiting = due(connection, channels_on(load_settings()))
        sending = operate.under_way(connection, job=NotificationsSend.job)
    if not waiting:
        return dg.SkipReason("nothing is due")
    if sending:
        return dg.SkipReason("a run is sending already")
    return dg.SensorResult(run_requests=[dg.RunRequest(tags={"kordant/trigger": "outbox"})])


CHECK_EVERY_S = 60
"""Seconds between two checks. One is a page in HIBP's cache; its documentation recommends a check every few minutes."""


@dg.sensor(
    job_name=DarkwatchScan.job,
    minimum_interval_seconds=CHECK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING if load_settings().hibp_watch else dg.DefaultSensorStatus.STOPPED,
    description="Have I Been Pwned has a new breach: it is noted, and the tiers that have real time are scanned at "
    "once. Runs with KORDANT_HIBP_WATCH=1.",
)
def latest_breach_sensor(
    context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine], breach_feed: dg.ResourceParam[BreachFeed]
) -> dg.SensorResult | dg.SkipReason:
    """Record the newest breach unless it is recorded already."""
    try:
        latest = breach_feed.latest_breach()
    except SourceUnavailable as error:
        return dg.SkipReason(str(error))
    seen = json.dumps([latest.name, latest.added_at.isoformat() if latest.added_at else None])
    if seen == context.cursor:
        return dg.SkipReason("nothing is new")
    with db.begin() as connection:
        new = breach_lookups.is_newer(connection, latest)
        if new:
            breach_lookups.save(connection, [latest], as_news=True)
            breach_lookups.catalogue_is_due(connection)
    said = f"{latest.name} is new and noted; a scan follows" if new else f"{latest.name} was known"
    return dg.SensorResult(skip_reason=said, cursor=seen)
