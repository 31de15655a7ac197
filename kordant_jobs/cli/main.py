"""The commands of kordant-jobs. Each other module here has a group; slow modules are imported when a command is
called."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.lazy import Lazy, lazy_group
from kordant_jobs.cli.output import AsJson, bold, err, one_line_errors, out, print_facts, print_json
from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.interrupts import cancel_on_interrupt
from kordant_jobs.redaction import storable

COMMANDS = {
    "db": ("data:db_app", "The database: where it is, its migrations."),
    "dumps": ("data:dumps_app", "Breach dumps: what was dropped, ingested, quarantined."),
    "corpus": ("corpus:corpus_app", "The corpus: ingested dumps, kept by blind index."),
    "catalogue": ("data:catalogue_app", "The catalogue of known breaches."),
    "sources": ("sources:sources_app", "Outside sources: which are on, and how they stand."),
    "exposures": ("sources:exposures_app", "Exposures: what was found, on what evidence; 'not me'."),
    "properties": ("properties:properties_app", "Watched parcels and owners, and what was recorded."),
    "counties": ("counties:counties_app", "Counties: whose records are read, how fresh they are."),
    "voices": ("voices:voices_app", "Voices: the family's enrolments, clips and their verdicts."),
    "models": ("models:models_app", "Models of voices: pulled once, checked."),
    "subscribers": ("subscriptions:subscribers_app", "Subscribers: make one, change what they pay for, forget one."),
    "entities": ("entities:entities_app", "Households and firms whose bank accounts are read."),
    "connections": ("connections:connections_app", "Bank connections: state, sync, consents, results."),
    "reports": ("reports:reports_app", "PDF reports: list them, and open one."),
    "logs": ("logs:logs", "What the processes of `up` wrote."),
    "keys": ("keys:keys_app", "The master key: which one is in use, and its rotation."),
    "schedules": ("schedules:schedules_app", "The price list: what runs when, for whom."),
    "enqueue": ("queue:enqueue", "Queue a request of a job; `up` starts it at once."),
    "capacity": ("capacity:capacity", "What so many subscribers need: hosts, connections, bytes."),
    "host": ("hosts:host", "Run a host of workers, where runs are on several machines."),
    "hosts": ("hosts:hosts_app", "Hosts of workers: which there are; drain one."),
    "jobs": ("jobs:jobs_app", "Jobs: what there is, and which are paused."),
    "requests": ("queue:requests_app", "Requests: what waits, runs and has ended."),
    "dead": ("queue:dead_app", "Dead letters: requests whose last attempt failed."),
    "brokers": ("brokers:brokers_app", "Data brokers: the catalogue and the lists it is made from."),
    "removals": ("removals:removals_app", "Removal requests to data brokers, and what became of them."),
    "insights": ("insights:insights_app", "Insights: what the accounts of entities say."),
    "receipt": (
        "receipt:receipt_app",
        "Receipts: signed proof of what was checked for whom, to be verified by anybody.",
    ),
    "doctor": ("doctor:doctor", "Look for what is known to go wrong, and say how to fix it."),
    "alerts": ("alerts:alerts_app", "Alerts of operators: what is wrong, and who is notified."),
    "cleanup": ("cleanup:cleanup_app", "Retention: what is deleted when, what was, and what is on hold."),
    "api": ("api:api_app", "/api/jobs over HTTP, by itself, and its OpenAPI file."),
    "console": ("api:console", "The operator's console: where it is, and how to sign in."),
    "tokens": ("tokens:tokens_app", "Tokens of the API: who may ask, for what."),
    "agents": ("tokens:agents_app", "Agents: which jobs each may start."),
    "audit": ("audit:audit_app", "The audit log: who did what; verify, export."),
    "notifications": (
        "notifications:notifications_app",
        "Notifications: what waits, went out and did not; what subscribers chose.",
    ),
}
"""The place, below `kordant_jobs.cli`, and the help of each command with a module of its own."""

LAB_COMMANDS = {
    "demo": (
        "demo:demo",
        "Scan 5,000 invented subscribers against 1,000,000 lines of invented dumps, alert them, report to them.",
    ),
    "voices": (
        "voices.evaluate:voices_app",
        "Voices: the family's enrolments, clips and their verdicts; `evaluate` on recordings of your own.",
    ),
    "new": ("new_job:new_app", "Begin something new: the files of a job, to be filled in."),
    "release": ("release:release", "Make a release: checks, version, wheel, tag."),
    "bench": ("bench:bench_app", "Measure what is promised, beside a peer."),
    "fuzz": ("fuzz.commands:fuzz_app", "Damaged input, made for some time: does anything break?"),
    "read-cases": ("cases:read_cases", "Read a folder of small dumps, each with what it should give."),
    "false-identifiers": (
        "false_identifiers:count_false_identifiers",
        "Count identifiers that are found in text without people.",
    ),
    "fit-names": (
        "hometitle.names_fit:fit_names",
        "Fit the table of the names score on invented pairs, and measure it on others.",
    ),
    "judge-hometitle": (
        "hometitle.judge:judge_command",
        "HomeTitle on invented counties against their truth, and on a folder of real rows.",
    ),
    "judge-insights": (
        "bench.judge_insights:judge_command",
        "Insights on invented accounts against their truth: precision, recall, false alarms.",
    ),
    "soak": ("bench:soak_command", "Thousands of runs: does the database grow, or a process?"),
    "simulate-banks": (
        "banks.simulation:simulate_banks",
        "Weeks of bank sync with kills and every behaviour of the contract, judged by the banks' own ledgers.",
    ),
    "read-ofb-mass": ("banks.mass:read_mass", "Read the official test mass of Open Finance Brasil."),
    "simulate-removals": (
        "removals.simulation:simulate_command",
        "Months of removal requests with simulated brokers on real servers, judged by their own ledgers.",
    ),
    "chaos-notifications": (
        "chaos.notifications:chaos_notifications",
        "Kill senders of notifications between any two steps, and count mails in the server's own ledger.",
    ),
    "chaos-rotation": (
        "chaos.rotation:chaos_rotation",
        "Kill the rotation of the master key again and again, and open every encrypted value.",
    ),
    "chaos-hosts": (
        "chaos.hosts.campaign:chaos_hosts",
        "Runs of all jobs on two hosts, in network namespaces, amid faults; outside ledgers judge.",
    ),
    "chaos": (
        "chaos.campaign:chaos_command",
        "Strike a system of its own with kills, pauses, restarts and cuts; count effects in an outside ledger.",
    ),
}
"""The same below `kordant_jobs.lab`; an installed wheel has those that need no development packages."""


def _is_installed(command: Lazy) -> bool:
    _, *folders = command.where.partition(":")[0].split(".")[:3]
    path = Path(__file__).parents[1].joinpath(*folders)
    return path.is_dir() or path.with_suffix(".py").is_file()


GROUPS = {name: Lazy(where=f"kordant_jobs.cli.{where}", help=line) for name, (where, line) in COMMANDS.items()}
for _name, (_where, _line) in LAB_COMMANDS.items():
    if _is_installed(command := Lazy(where=f"kordant_jobs.lab.{_where}", help=_line)):
        GROUPS[_name] = command

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


def _show_version(wanted: bool) -> None:
    if wanted:
        from kordant_jobs.bootstrap.version import described

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
