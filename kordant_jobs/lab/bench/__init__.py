"""`kordant-jobs bench NAME`: what is promised of speed, measured, beside a peer in the same call.

Exit code 0 when every goal is met, 1 when one is missed, 2 when it could not run.
"""

import os
from typing import Annotated

import typer

bench_app = typer.Typer(help="Measure what is promised; see `bench NAME --help`.", no_args_is_help=True)


@bench_app.callback()
def _bench() -> None:
    """Measure what is promised, beside a peer in the same call. Exit code 0: every goal is met; 1: one is missed; 2: it
    could not run; 130: Ctrl-C."""


@bench_app.command("engine")
def bench_engine(
    runs: Annotated[int, typer.Option(min=1, help="Runs that are queued at once.")] = 100,
    events: Annotated[int, typer.Option(min=5, help="Single events, one after the other.")] = 100,
    coalesced: Annotated[int, typer.Option(min=1, help="Requests that share runs.")] = 10_000,
    backlog: Annotated[int, typer.Option(min=1, help="Low requests before a critical one.")] = 1_000,
    peer: Annotated[
        bool, typer.Option(help="Measure stock Dagster in the same call (some minutes; 5 events, 20 runs).")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure the time from a committed request to the op's body; 100 queued runs; CPU a run; 10,000 coalesced; a
    critical one behind 1,000; idle cost; memory. Ours beside stock Dagster."""
    from kordant_jobs.lab.bench.engine import Load, measure
    from kordant_jobs.lab.figures import finish

    load = Load(events=events, runs=runs, coalesced=coalesced, backlog=backlog)
    raise SystemExit(finish("engine", lambda: measure(load, peer=peer), as_json=as_json))


@bench_app.command("notifications")
def bench_notifications(
    mails: Annotated[int, typer.Option(min=100, help="Alerts that wait.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure the time from pending alerts to mails on a server with a ledger, for our job and for a plain smtplib
    loop."""
    from kordant_jobs.lab.bench.notifications import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("notifications", lambda: measure(mails=mails), as_json=as_json))


@bench_app.command("hometitle")
def bench_hometitle(
    watched: Annotated[int, typer.Option(min=1000, help="Watched parcels.")] = 1_000_000,
    new: Annotated[int, typer.Option(min=100, help="Instruments of one day.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """A day's instruments joined with all watched parcels of a county. Ours beside the same join in plain pandas."""
    from kordant_jobs.lab.bench.hometitle import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("hometitle", lambda: measure(watched=watched, new=new), as_json=as_json))


@bench_app.command("finance")
def bench_finance(
    rows: Annotated[int, typer.Option(min=20_000, help="Transactions in the ledger.")] = 1_000_000,
    planned: Annotated[int, typer.Option(min=1_000, help="Connections that one statement judges.")] = 10_000,
    synced: Annotated[
        int, typer.Option(min=0, help="Connections read from a provider without limits; 0: none.")
    ] = 2_000,
    refreshed: Annotated[int, typer.Option(min=0, help="Entities whose insights are refreshed; 0: none.")] = 100_000,
    stored: Annotated[int, typer.Option(min=0, help="Entities refreshed in real tables; 0: none.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Bank rows into the ledger (90 % unchanged, 5 % changed, 5 % new) beside row by row; connections planned, read;
    insights refreshed beside plain pandas, in memory and in real tables."""
    from kordant_jobs.lab.bench import insights
    from kordant_jobs.lab.bench.finance import measure
    from kordant_jobs.lab.figures import Figure, finish

    def whole() -> list[Figure]:
        figures = list(measure(rows=rows, planned=planned, synced=synced))
        figures += insights.measure(refreshed) if refreshed else []
        return figures + (insights.measure_stored(stored) if stored else [])

    raise SystemExit(finish("finance", whole, as_json=as_json))


@bench_app.command("voiceprint")
def bench_voiceprint(
    clips: Annotated[int, typer.Option(min=24, help="How many clips; 10,000 show that memory stays flat.")] = 240,
    screen: Annotated[bool, typer.Option("--screen/--no-screen", help="With the detector, which costs most.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Clips a second of a core beside the bare ONNX sessions, and memory over many clips.

    On two idle cores 240 clips take a minute and a half. For memory over 10,000 use --no-screen (a quarter of an hour):
    the detector's windows are all of one size, and with them it takes an hour. The goal of speed is with the screen.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as runs have it; NumPy reads it when it is imported
    from kordant_jobs.lab.bench.voiceprint import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("voiceprint", lambda: measure(clips=clips, screen=screen), as_json=as_json))


@bench_app.command("cleanup")
def bench_cleanup(
    rows: Annotated[
        int, typer.Option(min=10_000, help="Rows of the table, about a third of them too old.")
    ] = 2_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Deleting what has served its time, with a writer beside it. Ours beside picking 5,000 rows and joining by id."""
    from kordant_jobs.lab.bench.cleanup import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("cleanup", lambda: measure(rows=rows), as_json=as_json))


@bench_app.command("console")
def bench_console(
    requests: Annotated[int, typer.Option(min=1000, help="Requests in the table.")] = 1_000_000,
    times: Annotated[int, typer.Option(min=20, help="How often each page is asked.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Every page of the console with a million requests in the table: time on the server, and packed size."""
    from kordant_jobs.lab.bench.console import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("console", lambda: measure(requests=requests, times=times), as_json=as_json))


@bench_app.command("api")
def bench_api(
    requests: Annotated[int, typer.Option(min=10_000, help="Requests in the table.")] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long each server is asked, twice.")] = 8,
    watchers: Annotated[int, typer.Option(min=0, help="Streams of events that are open at once.")] = 500,
    events: Annotated[int, typer.Option(min=0, help="Runs that are started, one after the other.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Status reads over HTTP in two processes, beside a bare FastAPI and SQLAlchemy; watchers; from call to op."""
    from kordant_jobs.lab.bench.api import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(
        finish(
            "api",
            lambda: measure(requests=requests, seconds=seconds, watchers=watchers, events=events),
            as_json=as_json,
        )
    )


@bench_app.command("dumps")
def bench_dumps(
    megabytes: Annotated[int, typer.Option(min=1, help="The size of each form.")] = 64,
    worst: Annotated[bool, typer.Option("--worst", help="Each reader's worst input instead, up to that size.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Reading dumps in every form, swept and understood, against ripgrep's pass for addresses over the same file."""
    from kordant_jobs.lab.bench.dumps import measure
    from kordant_jobs.lab.bench.dumps_worst import measure as measure_worst
    from kordant_jobs.lab.figures import finish

    if worst:
        raise SystemExit(finish("dumps-worst", lambda: measure_worst(megabytes), as_json=as_json))
    raise SystemExit(finish("dumps", lambda: measure(megabytes), as_json=as_json))


@bench_app.command("darkwatch")
def bench_darkwatch(
    scale: Annotated[str, typer.Option(help="full (minutes, 8 GB of disk), tenth or tiny.")] = "full",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """A dump against watched identifiers, look-ups in the corpus, ingestion, and a new dump to its alerts. Ours beside
    DuckDB. Goals are judged at full scale only."""
    from kordant_jobs.lab.bench.darkwatch import SCALES, measure
    from kordant_jobs.lab.figures import finish

    if scale not in SCALES:
        raise typer.BadParameter(f"choose one of {', '.join(SCALES)}", param_hint="--scale")
    raise SystemExit(finish("darkwatch", lambda: measure(scale), as_json=as_json))


@bench_app.command("reports")
def bench_reports(
    reports: Annotated[
        int, typer.Option(min=10, help="Reports that each way makes; 100 take about ten minutes.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure the time from figures to stored PDFs, on one core and with two processes, for our job and for WeasyPrint
    on the same HTML."""
    from kordant_jobs.lab.bench.reports import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("reports", lambda: measure(reports=reports), as_json=as_json))


@bench_app.command("removebrokers")
def bench_removebrokers(
    requests: Annotated[int, typer.Option(min=1000, help="Open requests that are due.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Open removal requests decided and saved in sets, beside a loop that decides and saves one by one."""
    from kordant_jobs.lab.bench.removebrokers import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("removebrokers", lambda: measure(requests), as_json=as_json))


@bench_app.command("audit")
def bench_audit(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the log.")] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """The audit log verified, chain and codes, beside a bare read and hash of its rows."""
    from kordant_jobs.lab.bench.audit import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("audit", lambda: measure(rows), as_json=as_json))


@bench_app.command("hosts")
def bench_hosts(
    lines: Annotated[int, typer.Option(min=1_000, help="Lines of new dumps.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Scans on two hosts, and on one.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Scans of new dumps on two hosts beside one, each a network namespace with a quota of CPU time: a quarter of this
    machine's cores, so that the other half serves Postgres and Redis. Needs root, iproute2 and redis-server."""
    from kordant_jobs.lab.bench.hosts import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("hosts", lambda: measure(lines, rounds), as_json=as_json))


@bench_app.command("schedules")
def bench_schedules(
    minutes: Annotated[int, typer.Option(min=0, help="Ticks to wait for, idle and busy each; 0: none.")] = 10,
    million: Annotated[bool, typer.Option(help="Compute ticks for 1,000,000 subscriptions too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """A tick's time for 100,000 subscriptions, with its query plan; how late runs start, idle and behind a backlog."""
    from kordant_jobs.lab.bench.schedules import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("schedules", lambda: measure(minutes=minutes, million=million), as_json=as_json))


def soak_command(
    runs: Annotated[int, typer.Option(min=100, help="Runs, after as many as it takes to fill up.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Thousands of runs with history kept for seconds: does anything grow? Exit code 0: no, 1: yes, 2: it broke off."""
    from kordant_jobs.lab.bench.soak import measure
    from kordant_jobs.lab.figures import finish

    raise SystemExit(finish("soak", lambda: measure(runs), as_json=as_json))
