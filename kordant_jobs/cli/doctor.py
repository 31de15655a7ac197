"""kordant-jobs doctor: finds known problems, with their evidence and the command that repairs them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from kordant_jobs.cli.output import bold, out, print_json
from kordant_jobs.errors import KordantError, SettingsError
from kordant_jobs.observability.doctor import ExaminedSystem, State, examine, exit_code
from kordant_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from kordant_jobs.observability.doctor import Result


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this check; may be given several times.")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Also send each operator a test notice, and the heartbeat address a ping.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of words.")] = False,
) -> None:
    """Check for known problems. Nothing is changed, not even the database's migration. Exit code 0: no problem; 1: a
    warning; 2: a failure."""
    from kordant_jobs.observability.checks import CHECKS

    if unknown := sorted(set(only or ()) - set(CHECKS)):
        raise SettingsError(f"--only {unknown[0]}: there is no such check; choose from {', '.join(CHECKS)}.")
    results = run_checks(load_settings(), only, send=send)
    if as_json:
        print_json([asdict(one) for one in results])
    else:
        show(results, out)
    raise SystemExit(exit_code(results))


def run_checks(settings: Settings, only: Collection[str] | None = None, *, send: bool = False) -> Sequence[Result]:
    """The findings of all checks, or of those in `only`."""
    from kordant_jobs.cli.stack import running
    from kordant_jobs.observability.checks import CHECKS
    from kordant_jobs.postgres import database
    from kordant_jobs.store.server import open_server

    with ExitStack() as stack:
        try:
            db = database.create_engine(stack.enter_context(open_server(settings)).url)
            stack.callback(db.dispose)
        except KordantError:
            db = None
        system = ExaminedSystem(settings=settings, db=db, stack=running(settings.state_dir), sends=send)
        return examine(system, {name: one for name, one in CHECKS.items() if not only or name in only})


def show(results: Sequence[Result], console: Console) -> None:
    """Print the findings."""
    styles = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red", State.SKIPPED: "dim"}
    for one in results:
        said = f"skipped: {one.reason}" if one.state is State.SKIPPED else one.what
        console.print(bold(f"{one.state.value:<8}", f"{one.id:<13} {said}", style=styles[one.state]))
        for finding in one.findings:
            console.print(f"         {finding.fact}: {finding.why}.")
            console.print(f"         To fix it: {finding.fix}")


def show_findings(settings: Settings, console: Console) -> None:
    """Print the problems, if there are any: for a command that has failed."""
    found = [one for one in run_checks(settings) if one.findings]
    if found:
        console.print("what the doctor finds:")
        show(found, console)
