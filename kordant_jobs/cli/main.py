"""The commands of kordant-jobs. Each module beside this one holds a group; what is heavy is imported when called."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from kordant_jobs.cli import data, forecast, queue, subscriptions
from kordant_jobs.cli.bench import bench_app
from kordant_jobs.cli.output import err, one_line_errors, out, print_facts, print_json

app = typer.Typer(
    name="kordant-jobs",
    help="The background jobs of an identity-protection service, on Dagster and Postgres.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.db_app, name="db")
app.add_typer(data.dumps_app, name="dumps")
app.add_typer(data.catalogue_app, name="catalogue")
app.add_typer(subscriptions.subscribers_app, name="subscribers")
app.add_typer(forecast.schedules_app, name="schedules")
app.command("enqueue")(queue.enqueue)
app.add_typer(queue.requests_app, name="requests")
app.add_typer(queue.dead_app, name="dead")
app.add_typer(bench_app, name="bench")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Port of the UI; the next free one if it is taken.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve what the last demo left behind.")] = False,
) -> None:
    """Serve the whole system until Ctrl-C: Postgres, code server, daemon and Dagster's UI."""
    from kordant_jobs.cli.serve import serve

    serve(port=port, demo=demo)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 1,
    subscribers: Annotated[int, typer.Option(min=1, help="How many subscribers.")] = 5_000,
    lines: Annotated[int, typer.Option(min=1_000, help="How many lines of breach dumps.")] = 1_000_000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what the last demo left; nothing new is to be found.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Scan 5,000 invented subscribers against 1,000,000 lines of invented dumps, alert them, and report to them."""
    from kordant_jobs.cli.demo import run_demo

    run_demo(seed=seed, subscribers=subscribers, lines=lines, keep=keep, as_json=as_json)


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_checks(
    context: typer.Context,
    only: Annotated[str | None, typer.Option(help="Just this step: format, lint, types, imports or tests.")] = None,
) -> None:
    """Run every check: format, lint, types, import contracts and tests. What follows goes to pytest."""
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
    """Every setting: its variable, its value (secrets hidden), and what it is for."""
    from kordant_jobs.settings import Settings, load_settings

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
    out.print(f"[bold]State folder[/]  {loaded.state_dir}   (KORDANT_STATE_DIR)\n")
    for row in rows:
        value = "" if row["value"] is None else f" = {row['value']}"
        out.print(f"[bold]{row['variable']}[/]{value}  [dim]{row['from']}[/]\n    {row['description']}")


@app.command()
def status(as_json: AsJson = False) -> None:
    """What is there: database, subscriptions, dumps, exposures, alerts and mails, in numbers."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.figures import figures

    with open_session() as session:
        found = {"database": session.server.shown, "state": str(session.settings.state_dir), **figures(session.db)}
    if as_json:
        print_json(found)
    else:
        print_facts(found)


def main() -> None:
    """Run the command line. An error of ours is one line and exit code 1; a wrong word is exit code 2."""
    with one_line_errors():
        app()


__all__ = ["app", "err", "main"]
