"""Commands for operators' alerts: kordant-jobs alerts list | rules | set | ack | silence | check | test | export"""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.arguments import actor, id_of, one_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.operators.alert_rules import BY_NAME, Severity
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings
from kordant_jobs.store.operators import alerts
from kordant_jobs.store.operators.tables import operator_alerts

alerts_app = typer.Typer(help="Alerts of operators: what is wrong, and who is notified.", no_args_is_help=True)

Rule = Annotated[str, typer.Argument(help="The rule, as `alerts rules` has it.")]


def _known(rule: str) -> str:
    if rule not in BY_NAME:
        raise SettingsError(f"there is no rule {rule}; there are {', '.join(BY_NAME)}.")
    return rule


@alerts_app.command("list")
def alerts_list(
    all_of_them: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the alerts that are firing: since when, and who has acknowledged them."""
    with open_session() as session, session.db.connect() as connection:
        rows = [dict(row._mapping) for row in alerts.listed(connection, all_of_them=all_of_them, limit=limit)]
        rules = alerts.rules(connection)
    if as_json:
        print_json(rows)
        return
    print_table(
        ["id", "rule", "of", "state", "value", "fires at", "since", "acknowledged by"],
        [
            (
                row["id"],
                row["rule"],
                row["subject"],
                row["state"],
                "" if row["value"] is None else f"{row['value']:,.4g}",
                f"{rules[row['rule']].fires_at:,.4g}" if row["rule"] in rules else "",
                f"{row['since']:%Y-%m-%d %H:%M}",
                row["acknowledged_by"],
            )
            for row in rows
        ],
    )
    if not rows:
        out.print("nothing is wrong that a rule knows of")


@alerts_app.command("rules")
def alerts_rules(as_json: AsJson = False) -> None:
    """Every rule with its thresholds."""
    with open_session() as session, session.db.connect() as connection:
        rules = alerts.rules(connection).values()
    if as_json:
        print_json([asdict(rule) for rule in rules])
        return
    print_table(
        ["rule", "severity", "fires at", "clears below", "after s", "unit", "on"],
        [
            (rule.name, rule.severity, f"{rule.fires_at:g}", f"{rule.clears_at:g}", f"{rule.for_s:g}", rule.unit,
             "yes" if rule.enabled else "no")
            for rule in rules
        ],
    )  # fmt: skip


@alerts_app.command("set")
def alerts_set(
    rule: Rule,
    fires_at: Annotated[float | None, typer.Option("--fires-at", min=0, help="It fires at this value.")] = None,
    clears_at: Annotated[float | None, typer.Option("--clears-at", min=0, help="It clears below this value.")] = None,
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Seconds for which it must last.")] = None,
    severity: Annotated[str | None, typer.Option("--severity", help="page or ticket.")] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether it is evaluated.")] = None,
) -> None:
    """Change a rule; every version is kept. The change applies from the next evaluation on. For example: alerts set
    queue_backlog --fires-at 500 --for 600."""
    with open_session() as session, session.db.begin() as connection:
        before = alerts.rules(connection)[_known(rule)]
        after = replace(
            before,
            fires_at=before.fires_at if fires_at is None else fires_at,
            clears_at=before.clears_at if clears_at is None else clears_at,
            for_s=before.for_s if for_s is None else for_s,
            severity=before.severity if severity is None else Severity(one_of(Severity, severity, "--severity")),
            enabled=before.enabled if on is None else on,
        )
        if after.clears_at > after.fires_at:
            raise SettingsError("a rule clears at no more than it fires at: give --clears-at, too.")
        if after == before:
            raise SettingsError("nothing changes: give at least one option.")
        version = alerts.set_rule(connection, after, by=actor())
    out.print(f"{rule} is at version {version}: fires at {after.fires_at:g}, clears below {after.clears_at:g}")


@alerts_app.command("ack")
def alerts_ack(alert: Annotated[str, typer.Argument(help="The alert, by id.")]) -> None:
    """Acknowledge an alert: no more notices until it ends."""
    with open_session() as session, session.db.begin() as connection:
        alert_id = id_of(connection, operator_alerts.c.id, alert, "alert", "`kordant-jobs alerts list`")
        if not alerts.acknowledge(connection, alert_id, by=actor()):
            raise SettingsError(f"{alert_id} has ended, or is acknowledged already: `kordant-jobs alerts list --all`.")
    out.print(f"{alert_id} is acknowledged")


@alerts_app.command("silence")
def alerts_silence(
    rule: Rule,
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=24 * 30, help="For so long.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the silence.")],
    subject: Annotated[
        str | None, typer.Option("--of", help="Only of this job, source, channel, part or agent.")
    ] = None,
) -> None:
    """Send no notices of a rule for some time. Its alerts are still recorded, and `alerts list` shows them."""
    until = datetime.now(UTC) + timedelta(hours=hours)
    with open_session() as session, session.db.begin() as connection:
        alerts.silence(connection, _known(rule), subject, reason=reason, until=until, by=actor())
    out.print(f"{rule}{f' of {subject}' if subject else ''} is silent until {until:%Y-%m-%d %H:%M} UTC")


@alerts_app.command("check")
def alerts_check(as_json: AsJson = False) -> None:
    """Evaluate the rules now, as the sensor does every half minute, and notify the operators."""
    from kordant_jobs.observability.alerting import evaluate, machine_of, open_operators

    with open_session() as session:
        settings = session.settings
        done = asdict(evaluate(session.db, open_operators(settings), machine_of(settings)))
    print_json(done) if as_json else print_facts(done)


@alerts_app.command("test")
def alerts_test() -> None:
    """Send a test notice to every address of KORDANT_ALERT_URLS, and show which accepted it. Exit code 1: one did
    not."""
    from kordant_jobs.observability.alerting import open_operators

    operators = open_operators(load_settings())
    if not len(operators):
        raise SettingsError("KORDANT_ALERT_URLS is empty. See https://appriseit.com/services/ for addresses.")
    took = [
        operators.notify(place, "kordant-jobs: a test", "This is a test of operators' alerts.", urgent=False)
        for place in range(len(operators))
    ]
    for place, was_sent in enumerate(took, start=1):
        out.print(f"address {place}: {'sent' if was_sent else 'NOT delivered'}")
    raise SystemExit(0 if all(took) else 1)


@alerts_app.command("export")
def alerts_export(
    to: Annotated[Path, typer.Argument(help="The folder to write to.")] = Path("docs/observability"),
) -> None:
    """Write the shipped rules for Prometheus, and the two dashboards for Grafana."""
    from kordant_jobs.observability.exported import files

    to.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (to / name).write_text(text, encoding="utf-8")
        out.print(str(to / name))
