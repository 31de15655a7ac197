"""Commands for outside sources and exposures: kordant-jobs sources | exposures."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Engine

from kordant_jobs.cli.arguments import FIND, Subscription, actor, id_of
from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.errors import KordantError, SettingsError
from kordant_jobs.store.darkwatch import evidence, judging, source_states
from kordant_jobs.store.darkwatch.tables import exposures
from kordant_jobs.store.people.tables import subscriptions

if TYPE_CHECKING:
    from kordant_jobs.ports import ExposureSource

sources_app = typer.Typer(help="Outside sources: which are on, and how they stand.", no_args_is_help=True)
exposures_app = typer.Typer(help="Exposures: what was found, on what evidence; 'not me'.", no_args_is_help=True)


def _exposure_id(connection: sa.Connection, text: str) -> UUID:
    return id_of(connection, exposures.c.id, text, "exposure", "`kordant-jobs exposures list SUBSCRIPTION`")


def _facts(source: Source, off: str | None, db: Engine) -> dict[str, Any]:
    with db.begin() as connection:
        state = source_states.state_of(connection, source)
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        counts = connection.execute(
            sa.text("SELECT verdict, count(*) FROM kordant.source_checks WHERE source = :source GROUP BY 1"),
            {"source": source.value},
        )
        answers = {verdict: int(number) for verdict, number in counts}
    paused = state.open_until if state.open_until is not None and state.open_until > now else None
    return {
        "source": source.value,
        "state": "off" if off else ("paused" if paused else "on"),
        "why": off or state.last_reason if off or paused or state.failures else None,
        "paused_until": paused,
        "last_answer_at": state.last_ok_at,
        "requests_per_minute": state.terms.requests_per_minute if state.terms else None,
        "k_anonymity": state.terms.k_anonymity if state.terms else None,
        "answers": answers,
    }


@sources_app.command("list")
def list_sources(as_json: AsJson = False) -> None:
    """List the sources: which are enabled, why the others are not, and what they answered. Sends no requests."""
    from kordant_jobs.adapters.sources.registry import open_sources

    with open_session() as session:
        found = open_sources(session.settings)
        rows = [_facts(one, found.off.get(one), session.db) for one in Source if one is not Source.DUMPS]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["source", "state", "why", "last answer", "a minute", "clean", "exposed", "unknown"],
        [
            (
                row["source"], row["state"], row["why"],
                row["last_answer_at"] and f"{row['last_answer_at']:%Y-%m-%d %H:%M}", row["requests_per_minute"],
                *(row["answers"].get(verdict, 0) for verdict in ("clean", "exposed", "unknown")),
            )
            for row in rows
        ],
    )  # fmt: skip


CHECKED_WITH = "account-exists@hibp-integration-tests.com"
"""An address without an owner that every source may be asked about."""


@sources_app.command()
def check(as_json: AsJson = False) -> None:
    """Ask every enabled source one question about an address without an owner; close the circuit breaker of those that
    answer."""
    from kordant_jobs.adapters.sources.registry import open_sources

    with open_session() as session:
        found = open_sources(session.settings)
        rows = [_check(source, one, session.db) for source, one in found.on.items()]
        off = {source.value: why for source, why in found.off.items()}
    if as_json:
        print_json({"checked": rows, "off": off})
    else:
        print_table(["source", "answer", "why"], [(row["source"], row["answer"], row["why"]) for row in rows])
        for source, why in off.items():
            out.print(f"{source} is off: {why}")
    if any(row["answer"] == "unknown" for row in rows):
        raise typer.Exit(EXIT_FAILED)


def _check(source: Source, adapter: ExposureSource, db: Engine) -> dict[str, Any]:
    from kordant_jobs.jobs.darkwatch_scan.sources import under_its_terms
    from kordant_jobs.ports import Question

    with db.begin() as connection:
        source_states.close(connection, source)
    try:
        one, _ = under_its_terms(adapter, db=db)
    except KordantError as error:
        return {"source": source.value, "answer": "unknown", "why": str(error)}
    [answer] = one.ask([Question(item_id=UUID(int=0), kind=IdentifierKind.EMAIL, canonical=CHECKED_WITH)])
    with db.begin() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        source_states.report(connection, source, [answer], now=now)
    return {"source": source.value, "answer": answer.verdict.value, "why": answer.reason and answer.reason.value}


@sources_app.command()
def webhook(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3080) -> None:
    """Receive range notifications of Have I Been Pwned until Ctrl-C. Put a proxy with TLS before it."""
    from kordant_jobs.pages.hooks import PATH, range_webhook
    from kordant_jobs.pages.limits import serve

    with open_session() as session:
        if session.settings.range_webhook_secret is None:
            raise SettingsError("KORDANT_RANGE_WEBHOOK_SECRET is unset: no notification could be verified.")
        app = range_webhook(session.db, session.keyring, session.settings.range_webhook_secret)
        err.print(f"http://127.0.0.1:{port}{PATH}")
        serve(app, port=port)


@exposures_app.command("list")
def list_exposures(subscription: Subscription, as_json: AsJson = False) -> None:
    """List a subscription's exposures, their judgements and the rules that decided."""
    with open_session() as session, session.db.begin() as connection:
        subscription_id = id_of(connection, subscriptions.c.id, subscription, "subscription", FIND)
        if not connection.execute(sa.select(subscriptions.c.id).where(subscriptions.c.id == subscription_id)).scalar():
            raise SettingsError(f"there is no subscription {subscription_id}. {FIND} lists those of a person.")
        found = evidence.of_subscription(connection, subscription_id)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["exposure", "kind", "breach", "judgement", "by rule", "severity", "seen by"],
        [
            (
                one.exposure_id, one.item_kind, one.breach_name, one.judgement, one.judgement_reason, one.severity,
                ", ".join(sorted({place.source for place in one.places})),
            )
            for one in found
        ],
    )  # fmt: skip


@exposures_app.command("show")
def show_exposure(
    exposure: Annotated[str, typer.Argument(help="The exposure, by id.")], as_json: AsJson = False
) -> None:
    """Show all evidence of an exposure: breach, dates, data, and where it was found; never the data itself."""
    with open_session() as session, session.db.begin() as connection:
        found = evidence.of_exposures(connection, [_exposure_id(connection, exposure)])
    if not found:
        raise SettingsError(f"there is no exposure {exposure}.")
    if as_json:
        print_json(asdict(found[0]))
        return
    facts = asdict(found[0])
    places = facts.pop("places")
    print_facts({**facts, "data_classes": ", ".join(found[0].data_classes)})
    for place in places:
        print_facts({f"  {name}": value for name, value in place.items() if value not in (None, ())})


@exposures_app.command("not-me")
def not_me(exposure: Annotated[str, typer.Argument(help="The exposure, by id.")]) -> None:
    """Record that an exposure is not the subscriber's: they are never alerted to that identifier in that breach
    again."""
    with open_session() as session, session.db.begin() as connection:
        if not judging.not_me(connection, _exposure_id(connection, exposure), said_by=actor()):
            raise SettingsError(f"there is no exposure {exposure}.")
    out.print("noted")
