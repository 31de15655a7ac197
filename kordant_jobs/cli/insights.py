"""Commands for insights: kordant-jobs insights list | show | seen | dismiss | restore."""

from typing import Annotated, Any

import typer

from kordant_jobs.cli.arguments import as_uuid, one_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.insights.insight import OPEN, Kind, Status
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.insights import reading
from kordant_jobs.wording import wording
from kordant_jobs.wording.insights import payee_name, sentence

insights_app = typer.Typer(help="Insights: what the accounts of entities say.", no_args_is_help=True)
InsightId = Annotated[str, typer.Argument(help="The insight, by id.")]
Language = Annotated[str, typer.Option("--locale", help="en or pt-BR.")]


def _said(insight: Any, locale: Locale) -> str:
    payee = payee_name(insight.line) if insight.line else None
    words = wording(locale)
    return sentence(words, insight.kind, insight.facts, payee=payee, unknown=insight.unknown_reason)


@insights_app.command("list")
def list_insights(
    entity: Annotated[str | None, typer.Option(help="Of this entity, by id.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind: " + ", ".join(Kind) + ".")] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Those that hold no more, too.")] = False,
    locale: Language = "en",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the insights from accounts, with their confidence."""
    kinds = (one_of(Kind, kind, "--kind"),) if kind else tuple(Kind)
    spoken = one_of(Locale, locale, "--locale")
    with open_session() as session, session.db.connect() as connection:
        found = reading.find(
            connection,
            session.keyring,
            entity_id=as_uuid(entity) if entity else None,
            kinds=kinds,
            statuses=tuple(Status) if resolved else OPEN,
            limit=limit,
        )
    rows = [
        {
            "insight": str(one.id),
            "kind": one.kind.value,
            "status": one.status.value,
            "sure": "" if one.unknown_reason else f"{one.confidence:.0%}",
            "evidence": len(one.evidence),
            "says": _said(one, spoken),
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(["insight", "kind", "status", "sure", "evidence", "says"], [tuple(row.values()) for row in rows])


@insights_app.command()
def show(insight: InsightId, locale: Language = "en", as_json: AsJson = False) -> None:
    """Show one insight with its facts, its evidence and its age."""
    spoken = one_of(Locale, locale, "--locale")
    with open_session() as session, session.db.connect() as connection:
        found = reading.find(connection, session.keyring, insight_id=as_uuid(insight))
    if not found:
        raise SettingsError(f"there is no insight {insight}; `kordant-jobs insights list` shows what there is.")
    (one,) = found
    said = {
        "says": _said(one, spoken),
        "entity": one.entity_id,
        "kind": one.kind.value,
        "status": one.status.value,
        "confidence": f"{one.confidence:.2f}",
        "unknown": one.unknown_reason,
        "said since": one.said_at,
        "checked at": one.checked_at,
        "changed at": one.computed_at,
        "resolved at": one.resolved_at,
    }
    if as_json:
        print_json({**said, "facts": one.facts, "evidence": one.evidence})
    else:
        print_facts({**said, **{f"its {name}": value for name, value in one.facts.items()}})
        print_facts({"evidence": ", ".join(map(str, one.evidence)) or "no single rows, but sums, balances or limits"})


def _decide(insight: str, status: Status) -> None:
    with open_session() as session, session.db.begin() as connection:
        reading.decide(connection, as_uuid(insight), status)
    out.print(f"{insight} is {status.value}")


@insights_app.command()
def seen(insight: InsightId) -> None:
    """Mark an insight as seen."""
    _decide(insight, Status.SEEN)


@insights_app.command()
def dismiss(insight: InsightId) -> None:
    """Hide an insight until it changes materially."""
    _decide(insight, Status.DISMISSED)


@insights_app.command()
def restore(insight: InsightId) -> None:
    """Show a dismissed insight again."""
    _decide(insight, Status.NEW)
