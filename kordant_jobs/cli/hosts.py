"""Commands for hosts of workers: kordant-jobs host, and hosts list | drain."""

import signal
import threading
import time
from dataclasses import asdict
from datetime import UTC
from typing import Annotated, Any

import typer

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_json, print_table
from kordant_jobs.cli.session import Session, open_session
from kordant_jobs.engine.control import host_rows
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings

hosts_app = typer.Typer(help="Hosts of workers: which there are, and what they run.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The host, by its name in `hosts list`.")]
CHECK_EVERY_S = 0.5


def host() -> None:
    """Run a host of workers until Ctrl-C: it takes runs from the broker and forks them from a warm process. It needs
    KORDANT_LAUNCHER=celery, KORDANT_BROKER_URL and the KORDANT_DATABASE_URL of the system that it works for; it takes
    runs of its own code version only. Ends by itself after it was drained."""
    from kordant_jobs.cli import preflight
    from kordant_jobs.cli.parts import StackConfig
    from kordant_jobs.cli.stack import Stack

    settings = load_settings()
    if settings.launcher != "celery":
        raise SettingsError("a host takes runs from a broker: set KORDANT_LAUNCHER=celery here and where `up` runs.")
    preflight.check(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with open_session(settings) as session:
        config = StackConfig(
            checkout=CHECKOUT,
            state_dir=settings.state_dir,
            environ=session.environ,
            web_port=0,
            webserver=False,
            daemon=False,
            host=True,
        )
        with Stack(config) as stack:
            out.print(f"This host takes up to {settings.host_runs} runs at a time. Ctrl-C stops it.")
            stack.wait(stop)
            err.print("stopping …")
    err.print("stopped; nothing is left running")


def _shown(one: host_rows.Host) -> dict[str, Any]:
    return {**asdict(one), "state": "silent" if one.silent else "draining" if one.draining else "live"}


def _listed(session: Session) -> list[host_rows.Host]:
    with session.db.connect() as connection:
        return host_rows.listed(connection, ttl_s=session.settings.lease_s)


@hosts_app.command("list")
def hosts_list(as_json: AsJson = False) -> None:
    """List every host with its code version, its runs, and whether it is alive, draining or silent."""
    with open_session() as session:
        rows = [_shown(one) for one in _listed(session)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["host", "state", "runs", "of", "code", "since (UTC)", "last seen (UTC)"],
        [
            (
                row["name"],
                row["state"],
                row["runs"],
                row["slots"],
                row["code_version"],
                f"{row['since'].astimezone(UTC):%m-%d %H:%M}",
                f"{row['seen_at'].astimezone(UTC):%m-%d %H:%M:%S}",
            )
            for row in rows
        ],
    )
    if not rows:
        err.print("No host works here: `kordant-jobs host` starts one, with KORDANT_LAUNCHER=celery.")


@hosts_app.command("drain")
def hosts_drain(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when it has ended.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drain a host: it takes no more runs, and ends after its runs have ended."""
    with open_session() as session:
        found = next((one for one in _listed(session) if one.name == name), None)
        if found is not None and not dry_run:
            with session.db.begin() as connection:
                host_rows.drain(connection, name)
        if found is None:
            err.print(f"there is no host {name}: see `kordant-jobs hosts list`")
            raise typer.Exit(EXIT_FAILED)
        if as_json:
            print_json({"host": name, "runs": found.runs, "dry_run": dry_run})
        else:
            err.print(f"{name} {'would end' if dry_run else 'ends'} once its {found.runs} runs have")
        while wait and not dry_run and name in {one.name for one in _listed(session)}:
            time.sleep(CHECK_EVERY_S)
