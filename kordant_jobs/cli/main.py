"""The commands of kordant-jobs. Each other module here has a group; slow modules are imported when a command is
called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.lazy import Lazy, lazy_group
from kordant_jobs.cli.output import bold, err, one_line_errors, out, print_facts, print_json
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.interrupts import cancel_on_interrupt
from kordant_jobs.redaction import storable

GROUPS = {
    "db": Lazy(where="kordant_jobs.cli.data:db_app", help="The database: where it is, its migrations."),
    "dumps": Lazy(
        where="kordant_jobs.cli.data:dumps_app", help="Breach dumps: what was dropped, ingested, quarantined."
    ),
    "corpus": Lazy(where="kordant_jobs.cli.corpus:corpus_app", help="The corpus: ingested dumps, kept by blind index."),
    "catalogue": Lazy(where="kordant_jobs.cli.data:catalogue_app", help="The catalogue of known breaches."),
    "sources": Lazy(
        where="kordant_jobs.cli.sources:sources_app", help="Outside sources: which are on, and how they stand."
    ),
    "exposures": Lazy(
        where="kordant_jobs.cli.sources:exposures_app", help="Exposures: what was found, on what evidence; 'not me'."
    ),
    "properties": Lazy(
        where="kordant_jobs.cli.properties:properties_app", help="Watched parcels and owners, and what was recorded."
    ),
    "counties": Lazy(
        where="kordant_jobs.cli.counties:counties_app", help="Counties: whose records are read, how fresh they are."
    ),
    "voices": Lazy(
        where="kordant_jobs.cli.voices:voices_app", help="Voices: the family's enrolments, clips and their verdicts."
    ),
    "models": Lazy(where="kordant_jobs.cli.models:models_app", help="Models of voices: pulled once, checked."),
    "subscribers": Lazy(
        where="kordant_jobs.cli.rights:subscribers_app",
        help="Subscribers: make one, change what they pay for, forget one.",
    ),
    "entities": Lazy(
        where="kordant_jobs.cli.entities:entities_app", help="Households and firms whose bank accounts are read."
    ),
    "connections": Lazy(
        where="kordant_jobs.cli.connections:connections_app", help="Bank connections: state, sync, consents, results."
    ),
    "reports": Lazy(where="kordant_jobs.cli.reports:reports_app", help="PDF reports: list them, and open one."),
    "logs": Lazy(where="kordant_jobs.cli.logs:logs", help="What the processes of `up` wrote."),
    "keys": Lazy(where="kordant_jobs.cli.keys:keys_app", help="The master key: which one is in use, and its rotation."),
    "schedules": Lazy(
        where="kordant_jobs.cli.forecast:schedules_app", help="The price list: what runs when, for whom."
    ),
    "enqueue": Lazy(where="kordant_jobs.cli.queue:enqueue", help="Queue a request of a job; `up` starts it at once."),
    "capacity": Lazy(
        where="kordant_jobs.cli.capacity:capacity", help="What so many subscribers need: hosts, connections, bytes."
    ),
    "host": Lazy(
        where="kordant_jobs.cli.hosts:host", help="Run a host of workers, where runs are on several machines."
    ),
    "hosts": Lazy(where="kordant_jobs.cli.hosts:hosts_app", help="Hosts of workers: which there are; drain one."),
    "jobs": Lazy(where="kordant_jobs.cli.jobs:jobs_app", help="Jobs: what there is, and which are paused."),
    "requests": Lazy(where="kordant_jobs.cli.queue:requests_app", help="Requests: what waits, runs and has ended."),
    "dead": Lazy(where="kordant_jobs.cli.queue:dead_app", help="Dead letters: requests whose last attempt failed."),
    "brokers": Lazy(
        where="kordant_jobs.cli.brokers:brokers_app", help="Data brokers: the catalogue and the lists it is made from."
    ),
    "removals": Lazy(
        where="kordant_jobs.cli.removals:removals_app",
        help="Removal requests to data brokers, and what became of them.",
    ),
    "insights": Lazy(
        where="kordant_jobs.cli.insights:insights_app", help="Insights: what the accounts of entities say."
    ),
    "receipt": Lazy(
        where="kordant_jobs.cli.receipt:receipt_app",
        help="Receipts: signed proof of what was checked for whom, to be verified by anybody.",
    ),
    "doctor": Lazy(
        where="kordant_jobs.cli.doctor:doctor", help="Look for what is known to go wrong, and say how to fix it."
    ),
    "alerts": Lazy(
        where="kordant_jobs.cli.alerts:alerts_app", help="Alerts of operators: what is wrong, and who is notified."
    ),
    "cleanup": Lazy(
        where="kordant_jobs.cli.cleanup:cleanup_app",
        help="Retention: what is deleted when, what was, and what is on hold.",
    ),
    "api": Lazy(where="kordant_jobs.cli.api:api_app", help="/api/jobs over HTTP, by itself, and its OpenAPI file."),
    "console": Lazy(
        where="kordant_jobs.cli.api:console", help="The operator's console: where it is, and how to sign in."
    ),
    "tokens": Lazy(where="kordant_jobs.cli.tokens:tokens_app", help="Tokens of the API: who may ask, for what."),
    "agents": Lazy(where="kordant_jobs.cli.tokens:agents_app", help="Agents: which jobs each may start."),
    "audit": Lazy(where="kordant_jobs.cli.audit:audit_app", help="The audit log: who did what; verify, export."),
    "notifications": Lazy(
        where="kordant_jobs.cli.notification_choices:notifications_app",
        help="Notifications: what waits, went out and did not; what subscribers chose.",
    ),
}
"""Command groups with their own module; the commands below have at most a few lines each."""

LAB_GROUPS = {
    "demo": Lazy(
        where="kordant_jobs.lab.demo:demo",
        help="Scan 5,000 invented subscribers against 1,000,000 lines of invented dumps, alert them, report to them.",
    ),
    "voices": Lazy(
        where="kordant_jobs.lab.voices.evaluate:voices_app",
        help="Voices: the family's enrolments, clips and their verdicts; `evaluate` on recordings of your own.",
    ),
    "new": Lazy(
        where="kordant_jobs.lab.new_job:new_app", help="Begin something new: the files of a job, to be filled in."
    ),
    "release": Lazy(where="kordant_jobs.lab.release:release", help="Make a release: checks, version, wheel, tag."),
    "bench": Lazy(where="kordant_jobs.lab.bench:bench_app", help="Measure what is promised, beside a peer."),
    "fuzz": Lazy(
        where="kordant_jobs.lab.fuzz.commands:fuzz_app", help="Damaged input, made for some time: does anything break?"
    ),
    "read-cases": Lazy(
        where="kordant_jobs.lab.cases:read_cases", help="Read a folder of small dumps, each with what it should give."
    ),
    "false-identifiers": Lazy(
        where="kordant_jobs.lab.false_identifiers:count_false_identifiers",
        help="Count identifiers that are found in text without people.",
    ),
    "fit-names": Lazy(
        where="kordant_jobs.lab.hometitle.names_fit:fit_names",
        help="Fit the table of the names score on invented pairs, and measure it on others.",
    ),
    "judge-hometitle": Lazy(
        where="kordant_jobs.lab.hometitle.judge:judge_command",
        help="HomeTitle on invented counties against their truth, and on a folder of real rows.",
    ),
    "judge-insights": Lazy(
        where="kordant_jobs.lab.bench.judge_insights:judge_command",
        help="Insights on invented accounts against their truth: precision, recall, false alarms.",
    ),
    "soak": Lazy(
        where="kordant_jobs.lab.bench:soak_command", help="Thousands of runs: does the database grow, or a process?"
    ),
    "simulate-banks": Lazy(
        where="kordant_jobs.lab.banks.simulation:simulate_banks",
        help="Weeks of bank sync with kills and every behaviour of the contract, judged by the banks' own ledgers.",
    ),
    "read-ofb-mass": Lazy(
        where="kordant_jobs.lab.banks.mass:read_mass", help="Read the official test mass of Open Finance Brasil."
    ),
    "simulate-removals": Lazy(
        where="kordant_jobs.lab.removals.simulation:simulate_command",
        help="Months of removal requests with simulated brokers on real servers, judged by their own ledgers.",
    ),
    "chaos-notifications": Lazy(
        where="kordant_jobs.lab.chaos.notifications:chaos_notifications",
        help="Kill senders of notifications between any two steps, and count mails in the server's own ledger.",
    ),
    "chaos-rotation": Lazy(
        where="kordant_jobs.lab.chaos.rotation:chaos_rotation",
        help="Kill the rotation of the master key again and again, and open every encrypted value.",
    ),
    "chaos-hosts": Lazy(
        where="kordant_jobs.lab.chaos.hosts.campaign:chaos_hosts",
        help="Runs of all jobs on two hosts, in network namespaces, amid faults; outside ledgers judge.",
    ),
    "chaos": Lazy(
        where="kordant_jobs.lab.chaos.campaign:chaos_command",
        help="Strike a system of its own with kills, pauses, restarts and cuts; count effects in an outside ledger.",
    ),
}
"""Commands of the package `kordant_jobs.lab`; an installed wheel has those that need no development packages."""


def _is_installed(command: Lazy) -> bool:
    _, *folders = command.where.partition(":")[0].split(".")[:3]
    path = Path(__file__).parents[1].joinpath(*folders)
    return path.is_dir() or path.with_suffix(".py").is_file()


GROUPS |= {name: command for name, command in LAB_GROUPS.items() if _is_installed(command)}

PROG = "kordant-jobs"
"""The program's name in help and completion, however it was started."""

app = typer.Typer(
    name=PROG,
    cls=lazy_group(GROUPS),
    help="The background jobs of an identity-protection service, on Dagster and Postgres.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from kordant_jobs.cli.version import described

        out.print(f"kordant-jobs {described()}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """The background jobs of an identity-protection service, on Dagster and Postgres."""


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Port of the UI; the next free one if it is taken.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve what the last demo left behind.")] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Dagster's UI shows everything and changes nothing.")
    ] = False,
) -> None:
    """Serve the whole system until Ctrl-C: Postgres, code server, daemon, Dagster's UI. With KORDANT_PUBLIC_URL set
    also `notifications serve`, for the links in mails."""
    from kordant_jobs.cli.serve import serve

    serve(port=port, demo=demo, ui_read_only=read_only)


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_checks(
    context: typer.Context,
    only: Annotated[str | None, typer.Option(help="Just this step: format, lint, types, imports or tests.")] = None,
) -> None:
    """Run every check: format, lint, types, import contracts and tests. Further arguments are passed to pytest."""
    from kordant_jobs.cli.check import check

    raise SystemExit(check(only=only, pytest_arguments=context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    short_help="Run a `dagster` command on this project.",
)
def dagster(context: typer.Context) -> None:
    """Run a `dagster` command on this project's database and settings: kordant-jobs dagster job execute -j NAME."""
    from kordant_jobs.cli.passthrough import run_dagster

    raise SystemExit(run_dagster(context.args))


@app.command()
def settings(as_json: AsJson = False) -> None:
    """List every setting: its variable, its value (secrets hidden), and its purpose."""
    from kordant_jobs.settings import Settings, load_settings, unknown_settings

    loaded = load_settings()
    rows = [
        {
            "variable": f"KORDANT_{name.upper()}",
            "value": None if getattr(loaded, name) is None else str(getattr(loaded, name)),
            "from": "environment" if f"KORDANT_{name.upper()}" in os.environ else "default",
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print_json({"state_dir": str(loaded.state_dir), "settings": rows})
        return
    out.print(bold("State folder", f"  {loaded.state_dir}   (KORDANT_STATE_DIR)\n"))
    for row in rows:
        value = "" if row["value"] is None else f" = {row['value']}"
        out.print(bold(str(row["variable"]), f"{value}  ({row['from']})\n    {row['description']}"))
    out.print("OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables turn on traces and metrics by OTLP.")
    for name, near in unknown_settings(os.environ).items():
        err.print(f"{name} is no setting{f'; do you mean {near}?' if near else '.'}")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show whether `up` runs, what waits, what needs a person, and the amount of stored data."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.cli.stack import running
    from kordant_jobs.store.figures import attention, figures

    with open_session() as session:
        stack = running(session.settings.state_dir)
        urls = ", ".join(stack.get("urls", {}).values()) if stack else ""
        found = {
            "up": f"process {stack['pid']} {urls}".rstrip() if stack else "not running here",
            **attention(session.db),
            "database": session.server.shown,
            "state": str(session.settings.state_dir),
            **figures(session.db),
        }
    if as_json:
        print_json(found)
    else:
        print_facts(found)


def main() -> None:
    """Run the command line. Our own errors give one line and exit code 1; a usage error exit code 2; Ctrl-C 130. Files
    that it and its child processes create, sockets included, are private to this user, whatever the shell's umask."""
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal cannot show is no reason to fail
    cancel_on_interrupt()
    with one_line_errors():
        _refuse_half_characters(sys.argv[1:])
        app(prog_name=PROG)


def _refuse_half_characters(words: Sequence[str]) -> None:
    """Refuse words that are not UTF-8, unless they name files: nothing else of ours can store them.

    Raises:
        SettingsError: there is such a word.
    """
    for place, word in enumerate(words, 1):
        if word != storable(word) and not os.path.exists(word):  # noqa: PTH110 - a Path refuses some
            raise SettingsError(f"word {place} of the command line is not UTF-8. Type it again.")


__all__ = ["app", "err", "main"]
