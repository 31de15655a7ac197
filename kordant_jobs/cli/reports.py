"""kordant-jobs reports list | open."""

import os
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from kordant_jobs.cli.arguments import FIND, id_of
from kordant_jobs.cli.output import AsJson, out, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.reports.tables import reports

reports_app = typer.Typer(help="PDF reports: list them, and open one.", no_args_is_help=True)

LISTED = ("id", "subscription_id", "kind", "period_start_on", "period_end_on", "pages", "created_at")


@reports_app.command("list")
def reports_list(
    subscription: Annotated[str | None, typer.Option("--subscription", help="Only this one's, by id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List stored reports, the newest first."""
    query = sa.select(*(reports.c[name] for name in LISTED)).order_by(reports.c.created_at.desc()).limit(limit)
    with open_session() as session, session.db.connect() as connection:
        if subscription:
            whose = id_of(connection, subscriptions.c.id, subscription, "subscription", FIND)
            query = query.where(reports.c.subscription_id == whose)
        rows = [dict(row) for row in connection.execute(query).mappings()]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["id", "subscription", "kind", "from", "to, not covered", "pages", "made (UTC)"],
        [(*(row[name] for name in LISTED[:-1]), f"{row['created_at']:%Y-%m-%d %H:%M}") for row in rows],
    )


@reports_app.command("open")
def reports_open(
    report: Annotated[str, typer.Argument(help="The report, by id.")],
    to: Annotated[Path | None, typer.Option("--to", help="Write it there, mode 0600.")] = None,
) -> None:
    """Show a report: write it to the file of --to, else open it, or print where it is."""
    from kordant_jobs.adapters.report_storage import open_report_storage

    with open_session() as session:
        with session.db.connect() as connection:
            report_id = id_of(connection, reports.c.id, report, "report", "`kordant-jobs reports list`")
            key = connection.execute(sa.select(reports.c.storage_key).where(reports.c.id == report_id)).scalar()
        if key is None:
            raise SettingsError(f"there is no report {report_id}. `kordant-jobs reports list` lists them.")
        settings = session.settings
        if to is not None:
            content = open_report_storage(settings).get(key)
            with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            out.print(f"{to}: {len(content):,} bytes")
            return
    if settings.reports_url:
        raise SettingsError(f"it is kept in {settings.reports_url}: say with --to where to write it.")
    path = settings.reports / key
    out.print(str(path))
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        typer.launch(str(path))
