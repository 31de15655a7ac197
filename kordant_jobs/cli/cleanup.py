"""Commands for retention: kordant-jobs cleanup plan | run | history | report | hold … | policy …"""

import getpass
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from uuid_utils.compat import uuid7

from kordant_jobs.catalog import enqueue_named
from kordant_jobs.cli.arguments import actor, id_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.retention.policies import Action, Hold
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.retention import holds, policies, records
from kordant_jobs.store.retention.tables import cleanup_plans, cleanup_reports, legal_holds

cleanup_app = typer.Typer(help="Retention: what is deleted when, what was, and what is on hold.", no_args_is_help=True)
hold_app = typer.Typer(help="Legal holds: what is not deleted, whatever its term.", no_args_is_help=True)
policy_app = typer.Typer(help="Retention policies: how long each kind is kept, and why.", no_args_is_help=True)
cleanup_app.add_typer(hold_app, name="hold")
cleanup_app.add_typer(policy_app, name="policy")

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be given several times.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day (UTC).")]


def _size(value: int) -> str:
    return f"{value / 1e6:,.1f} MB" if value >= 50_000 else f"{value / 1e3:,.1f} kB" if value else ""


def _day(moment: str | None) -> str | None:
    return moment and moment[:10]


@cleanup_app.command("plan")
def cleanup_plan(kinds: Kinds = None, as_json: AsJson = False) -> None:
    """Count what a clean-up would delete now, and save that as a plan. Nothing is deleted. The plan is valid for a day:
    `cleanup run --plan ID`."""
    from kordant_jobs.adapters.banks.registry import open_banks
    from kordant_jobs.adapters.corpus import open_corpus
    from kordant_jobs.adapters.report_storage import open_report_storage
    from kordant_jobs.jobs.cleanup import service
    from kordant_jobs.jobs.cleanup.job import means_of

    with open_session() as session:
        settings = session.settings
        storage, corpus = open_report_storage(settings), open_corpus(settings)
        means = means_of(settings, session.db, session.keyring, open_banks(settings), storage, corpus)
        made = service.make_plan(means, kinds=kinds or (), now=service.check_clock(session.db, is_attended=True))
    unruled = service.unruled_tables()
    if as_json:
        print_json({"plan_id": made.id, "clock": made.clock, "kinds": made.figures, "without_policy": unruled})
        return
    _print_figures(
        made.figures, {"rows": "would go", "along": "with them", "held": "on hold", "total": "of"}, sizes=True
    )
    for table in unruled:
        out.print(f"{table} has no retention policy: its rows are kept.")
    out.print(f"plan {made.id}; carry it out within a day: `kordant-jobs cleanup run --plan {made.id}`")


def _print_figures(figures: Mapping[str, Any], counts: Mapping[str, str], *, sizes: bool) -> None:
    columns = ["kind", *counts.values(), *(["size", "oldest", "newest"] if sizes else ["longest"]), "remark"]
    rows = []
    for kind, one in figures.items():
        more = (
            [_size(one.get("bytes", 0)), _day(one.get("oldest")), _day(one.get("newest"))]
            if sizes
            else [f"{one['longest_batch_s']:.3f} s" if one.get("longest_batch_s") else ""]
        )
        numbers = [f"{one.get(name) or 0:,}" for name in counts]
        rows.append([kind, *numbers, *more, one.get("stopped") or one.get("failed") or ""])
    print_table(columns, rows)


@cleanup_app.command("run")
def cleanup_run(
    plan: Annotated[str | None, typer.Option("--plan", help="Carry out this plan, as you checked it.")] = None,
    kinds: Kinds = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, and keep that as a report.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a clean-up; `up` executes it at once. Without a plan it skips kinds with unlikely figures (more than the
    usual share of a table, or three times the usual rows): check `cleanup plan`, and execute that."""
    with open_session() as session, session.db.begin() as connection:
        chosen = plan and id_of(connection, cleanup_plans.c.id, plan, "plan", "`kordant-jobs cleanup plan`")
        payload = {"kinds": kinds or [], "plan_id": chosen and str(chosen), "dry_run": dry_run}
        request_id = enqueue_named(connection, "cleanup", payload, requested_by=actor())
    facts = {"request": request_id, "job": "cleanup"}
    if as_json:
        print_json(facts)
        return
    out.print(f"queued as {request_id}; `kordant-jobs requests show {request_id}` follows it")


@cleanup_app.command("history")
def cleanup_history(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List what clean-ups deleted, one line for each."""
    with open_session() as session, session.db.connect() as connection:
        rows = records.reports(connection, limit=limit)
    shown = [
        {
            "id": row.id,
            "at": row.clock,
            "ended": row.ended_at,
            "dry_run": row.dry_run,
            "deleted": sum(one.get("deleted") or 0 for one in row.figures.values()),
            "held": sum(one.get("held") or 0 for one in row.figures.values()),
            "failed": sorted(kind for kind, one in row.figures.items() if one.get("failed") or one.get("stopped")),
        }
        for row in rows
    ]
    if as_json:
        print_json(shown)
        return
    print_table(
        ["report", "at", "deleted", "on hold", "left alone", "state"],
        [
            (
                one["id"],
                f"{one['at']:%Y-%m-%d %H:%M}",
                f"{one['deleted']:,}",
                f"{one['held']:,}",
                ", ".join(one["failed"]),
                "dry run" if one["dry_run"] else "ended" if one["ended"] else "not ended",
            )
            for one in shown
        ],
    )


@cleanup_app.command("report")
def cleanup_report(
    report: Annotated[str | None, typer.Argument(help="The report, by id; the newest when none is given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what one clean-up deleted, by kind, with its plan's digest and its time."""
    with open_session() as session, session.db.connect() as connection:
        wanted = report and id_of(connection, cleanup_reports.c.id, report, "report", "`kordant-jobs cleanup history`")
        found = [row for row in records.reports(connection, limit=1000) if wanted in (None, row.id)]
    if not found:
        raise SettingsError("there is no such report. `kordant-jobs cleanup history` lists them.")
    row = found[0]
    facts = {
        "report": row.id,
        "plan": row.plan_id,
        "clock": row.clock,
        "ended": row.ended_at or "not yet, or broken off",
        "dry_run": row.dry_run,
        "digest": bytes(row.digest).hex(),
    }
    if as_json:
        print_json({**facts, "kinds": row.figures})
        return
    print_facts(facts)
    counts = {"planned": "planned", "deleted": "deleted", "gone_along": "with them", "held": "on hold", "left": "left"}
    _print_figures(row.figures, counts, sizes=False)


@hold_app.command("place")
def hold_place(
    reason: Annotated[str, typer.Option("--reason", help="A file number, as 'court order 12/2026'; no personal data.")],
    owner: Annotated[str | None, typer.Option("--owner", help="A subscriber's or an entity's id.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="A kind, as `cleanup policy list` has them.")] = None,
    since: Day = None,
    before: Day = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day it ends by itself (UTC).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place a hold on the rows that match all given options. Their owner cannot be forgotten meanwhile."""
    if owner is None and kind is None and since is None and before is None:
        raise SettingsError("say what is on hold: --owner, --kind, --since, --before.")
    try:
        owner_id = UUID(owner) if owner else None
    except ValueError:
        raise SettingsError(f"{owner!r} is no id of a subscriber or an entity.") from None
    days = {
        name: day and day.replace(tzinfo=UTC) for name, day in (("since", since), ("before", before), ("until", until))
    }
    if since and before and since >= before:
        raise SettingsError("nothing would be on hold: --since is not before --before.")
    if days["until"] and days["until"] <= datetime.now(UTC):
        raise SettingsError("the hold would be over already: choose a day to come as --until.")
    hold = Hold(id=uuid7(), reason=reason, placed_by=actor(), owner_id=owner_id, kind=kind, **days)
    with open_session() as session, session.db.begin() as connection:
        if kind is not None and kind not in policies.load(connection):
            raise SettingsError(f"{kind} is no kind. `kordant-jobs cleanup policy list` has them.")
        holds.place(connection, hold)
    print_json({"hold": hold.id}) if as_json else out.print(f"on hold as {hold.id}")


@hold_app.command("list")
def hold_list(
    all_of_them: Annotated[bool, typer.Option("--all", help="Also those that ended.")] = False, as_json: AsJson = False
) -> None:
    """List active holds."""
    with open_session() as session, session.db.connect() as connection:
        rows = [dict(row._mapping) for row in holds.listed(connection, all_of_them=all_of_them)]
    if as_json:
        print_json(rows)
        return
    names = ["id", "owner_id", "kind", "since", "before", "reason", "placed_by", "until", "released_at"]
    print_table([name.replace("_", " ") for name in names], [[row[name] for name in names] for row in rows])


@hold_app.command("release")
def hold_release(hold: Annotated[str, typer.Argument(help="The hold, by id.")]) -> None:
    """Release a hold; the next clean-up deletes the rows whose term is over."""
    with open_session() as session, session.db.begin() as connection:
        hold_id = id_of(connection, legal_holds.c.id, hold, "hold", "`kordant-jobs cleanup hold list`")
        if not holds.release(connection, hold_id, by=actor()):
            raise SettingsError(f"{hold_id} stands no more. `kordant-jobs cleanup hold list --all` shows why.")
    out.print(f"{hold_id} is released")


@policy_app.command("list")
def policy_list(as_json: AsJson = False) -> None:
    """List how long each kind is kept, on which legal ground, and who set that."""
    with open_session() as session, session.db.connect() as connection:
        standing = policies.load(connection).values()
    rows = [
        {
            "kind": one.policy.kind,
            "action": one.policy.action.value,
            "keep_days": one.policy.keep_days,
            "legal_basis": one.policy.legal_basis,
            "note": one.policy.note,
            "version": one.version,
            "set_by": one.set_by,
        }
        for one in standing
    ]
    if as_json:
        print_json(rows)
        return
    print_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])


@policy_app.command("set")
def policy_set(
    kind: Annotated[str, typer.Argument(help="The kind, as `cleanup policy list` has it.")],
    days: Annotated[int, typer.Option("--days", min=0, max=36_500, help="How long it is kept.")],
    legal_basis: Annotated[str, typer.Option("--basis", help="The ground in law, as 'LGPD art. 16 I'.")],
    approved_by: Annotated[
        str | None, typer.Option("--approved-by", help="Of a shorter term: who approved it, other than you.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What the term counts from, or why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Set the retention term of a kind of data. A shorter term needs another operator's approval, and the first
    clean-up under it only counts. For example: cleanup policy set ended_subscribers --days 1825 --basis 'LGPD art.
    16 I'."""
    with open_session() as session, session.db.begin() as connection:
        standing = policies.load(connection).get(kind)
        if standing is None:
            raise SettingsError(f"{kind} is no kind. `kordant-jobs cleanup policy list` has them.")
        before = standing.policy
        if before.keep_days is None:
            raise SettingsError(f"{kind} is kept; nothing deletes it.")
        is_shorter = days < before.keep_days
        if is_shorter and approved_by in (None, getpass.getuser(), actor()):
            raise SettingsError("a shorter term needs --approved-by with a person other than you.")
        term = replace(before, keep_days=days, legal_basis=legal_basis, note=note or before.note)
        version = policies.set_term(connection, term, by=actor(), approved_by=approved_by)
    facts = {"kind": kind, "keep_days": days, "version": version, "action": Action(before.action).value}
    print_json(facts) if as_json else out.print(
        f"{kind} is kept for {days} days from now on" + ("; the next clean-up only counts it" if is_shorter else "")
    )
