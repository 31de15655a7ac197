"""`demo`: an invented population against invented dumps, through the real jobs on the real Dagster instance."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from rich.progress import Progress

from kordant_jobs.adapters.breach_catalogue import FileCatalogue
from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.catalog.reports_generate import ReportsGenerate
from kordant_jobs.cli.output import bold, err, out, print_json, print_table
from kordant_jobs.cli.runs import progress_bar
from kordant_jobs.cli.serve import build_stack, say_key_was_made
from kordant_jobs.cli.session import Session, open_session, use_demo_state
from kordant_jobs.errors import KordantError, SettingsError
from kordant_jobs.jobs.darkwatch_scan.drops import label_of, register_file
from kordant_jobs.jobs.darkwatch_scan.service import refresh_catalogue
from kordant_jobs.lab.hometitle.small_county import compare_frauds, publish_news, watch_small_county
from kordant_jobs.lab.removals.handful import play_handful, removal_states
from kordant_jobs.lab.runs import POLL_S, run_job
from kordant_jobs.lab.voices.family import add_clips, count_results
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.dump_files import DumpSet, write_dumps
from kordant_jobs.lab.world.population import Population, make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.settings import load_settings
from kordant_jobs.store.figures import figures
from kordant_jobs.store.people import subscribers
from kordant_jobs.triggers.reloader import Dagster

DUMPS_KNOWN_AT_HOUR = 12
OUTBOX_WITHIN_S = 120
GENERATED = "generated"
"""Folder of the demo's state in which the dumps are made."""


@dataclass
class Stages:
    """The time of each stage, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add what the block takes to the stage `name`."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def demo(
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 1,
    subscribers: Annotated[int, typer.Option(min=1, help="How many subscribers.")] = 5_000,
    lines: Annotated[int, typer.Option(min=1_000, help="How many lines of breach dumps.")] = 1_000_000,
    reports: Annotated[
        str, typer.Option(metavar="N|all", help="For how many of the exposed subscriptions to make reports.")
    ] = "24",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what the last demo left; nothing new is to be found.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Scan 5,000 invented subscribers against 1,000,000 lines of invented dumps, alert them, and report to them."""
    if reports != "all" and not reports.isdecimal():
        raise typer.BadParameter("a number or `all`", param_hint="--reports")
    sample = None if reports == "all" else int(reports)
    run_demo(seed=seed, subscribers=subscribers, lines=lines, reports=sample, keep=keep, as_json=as_json)


def run_demo(*, seed: int, subscribers: int, lines: int, reports: int | None, keep: bool, as_json: bool) -> None:
    """Make the world, scan it, alert, report, and print what came of it. Dagster starts while the world is made.

    `reports`: for how many exposed subscriptions; None: for all of them.

    Raises:
        KordantError: what was found is not what was planted, or a run failed.
    """
    stages = Stages()
    os.environ.setdefault("KORDANT_MODELS_DIR", str(load_settings().models))  # not the demo's own, which it deletes
    state = use_demo_state()
    with stages.timed("start"):
        if not keep:
            _wipe(state)
    _must_be_the_same_world(state, {"seed": seed, "subscribers": subscribers, "lines": lines})
    with open_session(load_settings()) as session, ThreadPoolExecutor(1) as beside:
        say_key_was_made(session)
        stack = build_stack(session)
        starting = beside.submit(stack.start)
        try:
            err.print(
                f"starting Dagster; making {subscribers:,} subscribers and {lines:,} lines of dumps (seed {seed})"
            )
            with stages.timed("generate"):
                population = make_population(seed, subscribers)
                dump_set = write_dumps(population, state / GENERATED, seed=seed, lines=lines)
                (state / "catalogue.json").write_text(json.dumps(make_catalogue(seed)))
            with stages.timed("start"):
                starting.result()
            with stages.timed("load"):
                _drop(dump_set, state / GENERATED, session.settings.drop)
                load(session, population, dump_set)
            before = figures(session.db)
            with progress_bar() as bar:
                _run_jobs(session, stack.dagster, bar, stages, reports)
        finally:
            with stages.timed("stop"):
                starting.cancel()
                stack.stop()
        found = _compare(session, dump_set)
        summary = _summary(session, before, found, stages, population, dump_set)
    print_json(summary) if as_json else _print(summary, session)
    for what in (summary, summary["title_frauds"]):
        if what["missed"] or what["false_hits"]:
            raise KordantError(
                f"found is not planted: {what['missed']} missed, {what['false_hits']} false. Please report this."
            )


def _must_be_the_same_world(state: Path, wanted: dict[str, int]) -> None:
    """Note which world the demo's state holds.

    Raises:
        SettingsError: another one, of which other things were found.
    """
    note = state / "world.json"
    there = json.loads(note.read_text()) if note.is_file() else wanted
    if there != wanted:
        words = " ".join(f"--{name} {value}" for name, value in there.items())
        raise SettingsError(f"the last demo left another world: give --keep with {words}, or leave --keep out.")
    note.write_text(json.dumps(wanted))


def _drop(dump_set: DumpSet, made: Path, drop: Path) -> None:
    """Move the dumps into the drop folder: each is there at once and whole, so that no sensor sees half of one."""
    drop.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in dump_set.files:
        (made / file.name).replace(drop / file.name)


def _wipe(state: Path) -> None:
    if os.environ.get("KORDANT_DATABASE_URL"):
        return
    postgres = EmbeddedPostgres(state)
    if postgres.status().running and postgres.status().clients:
        raise SettingsError("the demo's database is in use, perhaps by `up --demo`. Stop that first, or give --keep.")
    postgres.delete()
    shutil.rmtree(state)
    state.mkdir(mode=0o700)


def load(session: Session, population: Population, dump_set: DumpSet) -> None:
    """Write the population, the catalogue and the dumps, which became known at noon of the last three days (UTC)."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with session.db.begin() as connection:
        there = connection.execute(sa.text("SELECT count(*) FROM kordant.subscribers")).scalar_one()
        if not there:
            subscribers.add(connection, new_subscribers(population, datetime.now(UTC)), session.keyring)
        elif not connection.execute(
            sa.text("SELECT 1 FROM kordant.subscribers WHERE id = :id"), {"id": population.subscribers[0].id}
        ).scalar():
            raise SettingsError(
                "this database holds other subscribers. Give the demo an empty one, or leave --keep out with the "
                "embedded one."
            )
    problem = refresh_catalogue(session.db, FileCatalogue(session.settings.state_dir / "catalogue.json"))
    if problem:
        err.print(problem)
    days = {file.name: file.day for file in dump_set.files}
    for file in dropped_files(session.settings.drop):
        if file.name in days:
            known_at = today - timedelta(days=3 - days[file.name], hours=-DUMPS_KNOWN_AT_HOUR)
            register_file(session.db, file, session.keyring, known_at=known_at)


def _run_jobs(session: Session, dagster: Dagster, bar: Progress, stages: Stages, reports: int | None) -> None:
    first_alert = FirstAlert(session)
    with stages.timed("scan"):
        run_job("darkwatch_scan", dagster=dagster, db=session.db, bar=bar, each=first_alert.look)
        _wait_for_others(session, "darkwatch_scan")
    with stages.timed("notify"):
        run_job("notifications_send", dagster=dagster, db=session.db, bar=bar)
        _wait_for_the_outbox(session)
    chosen = None if reports is None else _sample(session, reports)
    with session.db.connect() as connection:
        asked = connection.execute(sa.text("SELECT 1 FROM kordant.removal_requests LIMIT 1")).scalar()
    if not asked:
        with stages.timed("ask data brokers"):
            play_handful(session.db, session.keyring, [UUID(one) for one in (chosen or _sample(session, 3))[:3]])
    with stages.timed("watch a county"):
        _watch_a_county(session, dagster, bar, [UUID(one) for one in (chosen or _sample(session, 3))[:3]])
    with stages.timed("listen to clips"):
        if not count_results(session.db):
            add_clips(
                session.db,
                session.keyring,
                session.settings,
                [UUID(one) for one in (chosen or _sample(session, 3))[:1]],
            )
        run_job("voiceprint_batch", dagster=dagster, db=session.db, bar=bar)
    today = datetime.now(UTC).date()
    days = {"period_start_on": today - timedelta(days=7), "period_end_on": today + timedelta(days=1)}
    wanted = ReportsGenerate.model_validate(
        {"kind": "on_demand", "only_affected": True, "subscription_ids": chosen, **days}
    )
    with stages.timed("report"):
        _wait_for_others(session, "darkwatch_scan", "hometitle_scan", "voiceprint_batch", "notifications_send")
        run_job(
            "reports_generate",
            dagster=dagster,
            db=session.db,
            bar=bar,
            config=wanted.run_config([wanted]),
        )


def _watch_a_county(session: Session, dagster: Dagster, bar: Progress, subscription_ids: list[UUID]) -> None:
    """A county's past is read, then what it recorded lately, with the planted frauds."""
    with session.db.connect() as connection:
        watched = connection.execute(sa.text("SELECT 1 FROM kordant.watched_properties LIMIT 1")).scalar()
    if not watched:
        watch_small_county(session.db, session.keyring, session.settings, subscription_ids)
        run_job("hometitle_scan", dagster=dagster, db=session.db, bar=bar)
        publish_news(session.settings)
    run_job("hometitle_scan", dagster=dagster, db=session.db, bar=bar)


def _sample(session: Session, size: int) -> list[str]:
    """Exposed subscriptions of every tier and language in turn, by the number of their exposures."""
    query = """
        SELECT id FROM (
            SELECT s.id, row_number() OVER (PARTITION BY s.tier, s.locale ORDER BY count(*) DESC, s.id) AS place
            FROM kordant.exposures e JOIN kordant.watchlist_items i ON i.id = e.item_id
            JOIN kordant.subscriptions s ON s.id = i.subscription_id GROUP BY s.id
        ) ranked ORDER BY place, id LIMIT :size
    """
    with session.db.connect() as connection:
        return [str(one) for one in connection.execute(sa.text(query), {"size": size}).scalars()]


class FirstAlert:
    """Says once that the first alert was written: it is while dumps are still being read."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._began = time.monotonic()
        self._before = self._count()
        self._said = False

    def _count(self) -> int:
        with self._session.db.connect() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM kordant.alerts")).scalar_one())

    def look(self) -> None:
        """True when there is one now."""
        if not self._said and (new := self._count() - self._before):
            self._said = True
            err.print(f"first {new} alerts {time.monotonic() - self._began:.1f} s into the scan, while dumps are read")


_OPEN = sa.text("""
SELECT count(*) FROM kordant.job_requests
WHERE job = ANY(:jobs) AND status IN ('running', 'pending')
""")


def _wait_for_others(session: Session, *jobs: str) -> None:
    """Sensors may have started runs of these jobs beside ours: what is made next depends on what they find, too."""
    deadline = time.monotonic() + OUTBOX_WITHIN_S
    while time.monotonic() < deadline:
        with session.db.connect() as connection:
            if not connection.execute(_OPEN, {"jobs": list(jobs)}).scalar():
                return
        time.sleep(POLL_S)


def _wait_for_the_outbox(session: Session) -> None:
    """The outbox sensor may have started a run of its own beside ours, which then holds a part of the mails."""
    deadline = time.monotonic() + OUTBOX_WITHIN_S
    while {"queued", "sending"} & set(figures(session.db)["notifications"]) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _compare(session: Session, dump_set: DumpSet) -> dict[str, int]:
    """Found against planted, to the pair (item, breach); a dump of no catalogued breach is a breach of its own."""
    with session.db.connect() as connection:
        labels = connection.execute(sa.text("SELECT file_label, breach_name FROM kordant.breach_dumps"))
        by_label: dict[str, str] = {row.file_label: row.breach_name for row in labels}
        rows = connection.execute(sa.text("SELECT item_id::text, breach_name FROM kordant.exposures"))
        found = {(row.item_id, row.breach_name) for row in rows}
    breach_of = {file.name: by_label.get(label_of(file.name, session.keyring), "") for file in dump_set.files}
    planted = {(str(one.item_id), breach_of[one.dump]) for one in dump_set.planted}
    planted |= {(str(item_id), breach_of[dump]) for item_id, dump in dump_set.mentioned}
    return {"planted": len(planted), "missed": len(planted - found), "false_hits": len(found - planted)}


def _summary(
    session: Session,
    before: dict[str, Any],
    found: dict[str, int],
    stages: Stages,
    population: Population,
    dump_set: DumpSet,
) -> dict[str, Any]:
    now = figures(session.db)

    def count(name: str, of: dict[str, Any] = now) -> int:
        return sum(of[name].values())

    settings = session.settings
    return {
        "seed": population.seed,
        "subscribers": len(population.subscribers),
        "items": len(population.items),
        "dump_files": len(dump_set.files),
        "lines": now["dump_lines"]["lines"],
        "bad_lines": now["dump_lines"]["bad"],
        "found": count("exposures"),
        **found,
        "alerts": count("alerts"),
        "new_alerts": count("alerts") - count("alerts", before),
        "mails": sum(1 for _ in (settings.mails / "new").glob("*")) if (settings.mails / "new").is_dir() else 0,
        "removal_requests": removal_states(session.db),
        "title_frauds": compare_frauds(session.db),
        "clips": count_results(session.db),
        "reports": count("reports"),
        "new_reports": count("reports") - count("reports", before),
        "seconds": {name: round(value, 2) for name, value in stages.seconds.items()},
        "state": str(settings.state_dir),
    }


def _print(summary: dict[str, Any], session: Session) -> None:
    titles = summary["title_frauds"]
    whole = "no" if summary["missed"] or summary["false_hits"] else "yes"
    print_table(
        ["", ""],
        [
            ("subscribers", f"{summary['subscribers']:,}"),
            ("watched items", f"{summary['items']:,}"),
            ("dump files", summary["dump_files"]),
            ("lines", f"{summary['lines']:,}"),
            ("bad lines", f"{summary['bad_lines']:,}"),
            ("found = planted", f"{whole}, {summary['found']:,} = {summary['planted']:,}"),
            ("alerts", f"{summary['alerts']:,} ({summary['new_alerts']:,} new)"),
            ("mails", f"{summary['mails']:,}"),
            ("removal requests", ", ".join(f"{state} {n}" for state, n in summary["removal_requests"].items())),
            ("title frauds found = planted", f"{titles['found']} = {titles['planted']} on {titles['watched']} parcels"),
            ("clips of voices", ", ".join(f"{said} {n}" for said, n in summary["clips"].items())),
            ("reports", f"{summary['reports']:,} ({summary['new_reports']:,} new)"),
            *((f"seconds to {name}", f"{value:.1f}") for name, value in summary["seconds"].items()),
        ],
    )
    settings = session.settings
    pdf = next(settings.reports.rglob("*.pdf"), None)
    out.print(bold("\nLook next at"))
    out.print("  the runs in Dagster's UI   python3 -m kordant_jobs up --demo")
    out.print(f"  a report                   {pdf}")
    out.print(f"  the mails                  {settings.mails / 'new'}")
    out.print("  run it again               python3 -m kordant_jobs demo --keep")
