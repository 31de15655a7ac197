"""Commands for removal requests: kordant-jobs removals permit | request | list | show | done | deny | cancel | …"""

import json
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy.exc import IntegrityError

from kordant_jobs.cli.arguments import Subscription, actor, as_uuid
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import Session, open_session
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.clocks import Ask, Law, law_of
from kordant_jobs.domain.removals.listings import FORMS, canonical, parts_of
from kordant_jobs.domain.removals.replies import ReplyClass
from kordant_jobs.domain.removals.states import Denial, RemovalState, turn_of
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.removals import profiles, requests
from kordant_jobs.store.removals import replies as store
from kordant_jobs.store.removals.profiles import FIELDS, Profile
from kordant_jobs.wording import wording

removals_app = typer.Typer(help="Removal requests to data brokers, and what became of them.", no_args_is_help=True)

Request = Annotated[str, typer.Argument(help="The request, by id.")]


@removals_app.command()
def permit(
    subscription: Subscription,
    country: Annotated[str, typer.Option(help="Where the subscriber lives, as ISO 3166: US, BR, DE.")],
    state: Annotated[str | None, typer.Option(help="In the US the state, as CA.")] = None,
) -> None:
    """Store a subscriber's details for requests, with their permission to act for them as a signed PDF. Details come
    from standard input, one on each line as `field: value` (city, state, phone, street, postal_code, birth_year,
    birth_date); name and e-mail address are the subscriber's own unless given."""
    where = _place(country, state)
    details: dict[str, str] = {}
    for line in sys.stdin.read().splitlines() if not sys.stdin.isatty() else ():
        name, colon, value = line.partition(":")
        if line.strip():
            details |= _field(name.strip(), value if colon else None, *where)
    with open_session() as session:
        _permit(session, as_uuid(subscription), *where, details)
    law = law_of(*where)
    out.print("permitted; " + ("no privacy law obliges brokers there" if law is Law.VOLUNTARY else f"law: {law}"))


def _place(country: str, state: str | None) -> tuple[str, str | None]:
    """A subscriber's place of residence, checked: a typing error would leave them without a law unnoticed."""
    from holidays import country_holidays, list_supported_countries

    where = country.strip().upper(), state.strip().upper() if state else None
    if not re.fullmatch("[A-Z]{2}", where[0]) or where[0] not in list_supported_countries():
        raise SettingsError(f"{country!r} is no country. Write two letters of ISO 3166, as US, BR or DE.")
    states = country_holidays(where[0]).subdivisions
    if where[0] == "US" and where[1] not in states:
        raise SettingsError("in the US the law depends on the state. Give --state with two letters, as CA.")
    if where[1] and states and where[1] not in states:
        raise SettingsError(f"{where[0]} has no state {where[1]!r}. Its states: {', '.join(states)}.")
    return where


def _field(name: str, value: str | None, country: str, state: str | None) -> dict[str, str]:
    """One line as it is kept. The error never repeats a value, which is personal."""
    if value is None or name not in FIELDS:
        raise SettingsError(f"a line is `field: value`, with one of {', '.join(FIELDS)}. Nothing was written.")
    kept = canonical(name, value, country=country, today=datetime.now(UTC).date())
    if kept is None:
        raise SettingsError(f"{name} must be {FORMS.get(name, 'a short text')}. Nothing was written.")
    if kept.upper() != {"country": country, "state": state}.get(name, kept.upper()):
        raise SettingsError(f"the line {name} and --{name} differ. Nothing was written.")
    return {name: kept}


def _permit(session: Session, subscription_id: UUID, country: str, state: str | None, details: dict[str, str]) -> None:
    from kordant_jobs.jobs.removebrokers_process.letters import permission_page
    from kordant_jobs.jobs.removebrokers_process.opening import agent_of
    from kordant_jobs.jobs.reports_generate.layout import ReportPage, lay_out

    now = datetime.now(UTC)
    with session.db.begin() as connection:
        query = sa.select(subscriptions).where(subscriptions.c.id == subscription_id)
        found = connection.execute(query).one_or_none()
        if found is None:
            raise SettingsError(f"there is no subscription {subscription_id}.")
        bare = Profile(subscriber_id=found.subscriber_id, country=country, state=state, details=details)
        profiles.write(connection, session.keyring, bare, now=now)
        keys = session.keyring.load_keys(connection, [found.subscriber_id])
        whole = profiles.load(connection, keys, [found.subscriber_id])[found.subscriber_id]
        if not parts_of(whole.details["name"]):
            raise SettingsError("the subscriber has no name. Give one as `name: …`. Nothing was written.")
        html = permission_page(
            whole.details["name"],
            {**whole.details, "country": country, **({"state": state} if state else {})},
            agent=agent_of(session.settings),
            language=Locale(found.locale),
            signed_on=now.date(),
        )
        words = wording(Locale(found.locale))
        page = ReportPage(
            html=html, page_word=words.say("Page"), of_word=words.say("of"), identifier=found.subscriber_id.bytes
        )
        signed = Profile(
            subscriber_id=found.subscriber_id, country=country, state=state, details=details,
            permission=lay_out(page).content,
        )  # fmt: skip
        profiles.write(connection, session.keyring, signed, now=now)


@removals_app.command()
def request(
    subscription: Subscription,
    broker: Annotated[list[str] | None, typer.Option(help="A broker: key, domain or name; may be repeated.")] = None,
    region: Annotated[str | None, typer.Option(help="All brokers of a region (us, us-ca, eu, br).")] = None,
    ask: Annotated[Ask, typer.Option(help="What to ask for.")] = Ask.DELETION,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many requests it would be.")] = False,
) -> None:
    """Request that brokers delete a subscriber's data. A person has one request for each broker; a broker that another
    one handles is asked there. The next run of removebrokers_process continues it."""
    from kordant_jobs.cli.brokers import _found

    if not broker and not region:
        raise SettingsError("name brokers with --broker, or --region.")
    with open_session() as session, session.db.connect() as connection, connection.begin() as transaction:
        ids = [_found(connection, one).id for one in broker or ()]
        if region:
            query = "SELECT id FROM kordant.brokers WHERE retired_at IS NULL AND facts -> 'regions' ? :region"
            found = connection.execute(sa.text(query), {"region": region}).scalars().all()
            if not found:
                raise SettingsError(f"no broker has the region {region!r}; the lists say us, us-ca, eu, br and others.")
            ids += found
        made = requests.create(connection, as_uuid(subscription), ids, now=datetime.now(UTC), ask=ask)
        if dry_run:
            transaction.rollback()
    verb = "would be made" if dry_run else "made"
    out.print(f"{len(made.made)} requests {verb}; {made.covered} brokers are covered by these or earlier ones")
    if made.elsewhere:
        out.print(f"not asked, since they take requests from residents of another place only: {made.elsewhere}")


@removals_app.command("list")
def list_requests(
    subscription: Annotated[str | None, typer.Option(help="Only of this subscription.")] = None,
    state: Annotated[list[RemovalState] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, those due first; 0: all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List requests: state, deadline, whose turn it is, the broker's answer and the result of our own check."""
    with open_session() as session, session.db.connect() as connection:
        rows = requests.listed(
            connection,
            subscription_id=as_uuid(subscription) if subscription else None,
            states=state or None,
            limit=limit + 1 if limit else None,
        )
    if limit and len(rows) > limit:
        err.print(f"only the first {limit:,} are shown: --limit 0 shows all", markup=False)
        rows = rows[:limit]
    turns = [turn_of(RemovalState(row.state), is_unread=row.is_unread, can_check=row.can_check) for row in rows]
    if as_json:
        print_json([{**row._mapping, "turn": turn} for row, turn in zip(rows, turns, strict=True)])
        return
    print_table(
        ["request", "broker", "state", "why", "turn", "answer by", "broker says", "our check", "next"],
        [
            (
                row.id, row.broker, row.state, row.reason, turn, row.answer_by_on,
                row.broker_says, row.check_says, row.next_at and f"{row.next_at:%Y-%m-%d}",
            )
            for row, turn in zip(rows, turns, strict=True)
        ],
    )  # fmt: skip


@removals_app.command()
def show(request: Request, as_json: AsJson = False) -> None:
    """Show one request with its history, each move with its evidence; the deciding sentences are decrypted."""
    from kordant_jobs.store.removals import links, replies, requests

    with open_session() as session, session.db.connect() as connection:
        story = requests.story(connection, as_uuid(request))
        opened = [replies.opened(connection, session.keyring, one.id) for one in story.replies]
        page = links.page_of(connection, session.keyring, story.request, story.broker.facts)
    turn = turn_of(
        RemovalState(story.request.state),
        is_unread=any(one.needs_person for one in story.replies),
        can_check=story.can_check,
    )
    is_asked = story.request.state in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}
    url = session.settings.public_url
    done_link = links.done_link(session.keyring, url, story.request.id) if url and is_asked else None
    said = [
        {"received_at": row.received_at, "class": row._mapping["class"], "detail": row.detail, "rule": row.rule,
         "from": row.sender_domain, "matched_by": row.matched_by, "moved": row.moved, "sentence": sentence}
        for row, sentence, _ in filter(None, opened)
    ]  # fmt: skip
    facts = {
        "broker": story.broker.name, "state": story.request.state, "why": story.request.reason,
        "turn": turn, "law": story.request.law, "sent on": story.request.sent_on,
        "answer by": story.request.answer_by_on, "at most by": story.request.extended_by_on,
        "broker says": story.request.broker_says, "our check": story.request.check_says,
        "page": page, "done link": done_link,
        "steps": story.broker.facts["recipe"].get("steps"),
    }  # fmt: skip
    if as_json:
        print_json({**facts, "events": [dict(one._mapping) for one in story.events], "replies": said,
                    "checks": [dict(one._mapping) for one in story.checks]})  # fmt: skip
        return
    print_facts({name: value for name, value in facts.items() if value})
    print_table(
        ["at", "from", "to", "why", "by", "evidence"],
        [(f"{e.at:%Y-%m-%d %H:%M}", e.from_state, e.to_state, e.reason, e.actor, json.dumps(e.evidence))
         for e in story.events],
    )  # fmt: skip
    for one in said:
        out.print(
            f"  reply {one['received_at']:%Y-%m-%d} {one['class']} ({one['rule']}): {one['sentence']}", markup=False
        )
    for check in story.checks:
        out.print(f"  check {check.checked_at:%Y-%m-%d} {check.verdict} {check.reason or ''} ({check.source})")


def _move(request: str, to: RemovalState, reason: str, **more: Any) -> None:
    with open_session() as session:
        try:
            with session.db.begin() as connection:
                requests.move(
                    connection, as_uuid(request), to, reason=reason, actor=actor(), now=datetime.now(UTC), **more
                )
        except IntegrityError:
            raise SettingsError(
                f"request {request} cannot become {to}: `kordant-jobs removals show` says where it stands."
            ) from None
    out.print(to.value)


@removals_app.command()
def done(request: Request) -> None:
    """Record that the subscriber has filled in the broker's form (or done what it asked): its legal term begins now."""
    from kordant_jobs.jobs.removebrokers_process import asking

    with open_session() as session:
        state = asking.form_done(session.db, as_uuid(request), actor=actor(), now=datetime.now(UTC))
    out.print(state.value)


@removals_app.command()
def answered(request: Request, meaning: Annotated[ReplyClass, typer.Argument(help="What the broker said.")]) -> None:
    """The broker answered the subscriber and not us, as it does where its form was filled in: its answer moves the
    request."""
    from kordant_jobs.jobs.removebrokers_process import asking

    with open_session() as session:
        now = datetime.now(UTC)
        out.print(asking.broker_answered(session.db, as_uuid(request), meaning, actor=actor(), now=now).value)


@removals_app.command()
def deny(
    request: Request, reason: Annotated[Denial, typer.Option(help="The reason that the broker gave.")] = Denial.OTHER
) -> None:
    """Record a broker's refusal that came in another way than a reply (by phone, for example)."""
    _move(request, RemovalState.DENIED, reason.value, action="tell_user", broker_says=ReplyClass.REJECTED.value)


@removals_app.command()
def cancel(request: Request) -> None:
    """Withdraw a request for the subscriber; over the Data Rights Protocol the broker is notified."""
    _move(request, RemovalState.CANCELLED, "by_subscriber", next_at=datetime.now(UTC))


@removals_app.command()
def disclosures(subscription: Subscription, as_json: AsJson = False) -> None:
    """List disclosures: what was disclosed to whom, when, and on which legal ground."""
    with open_session() as session, session.db.connect() as connection:
        rows = requests.disclosures(connection, as_uuid(subscription))
    if as_json:
        print_json([dict(row._mapping) for row in rows])
        return
    print_table(
        ["when", "to", "what", "how", "ground"],
        [(f"{r.disclosed_at:%Y-%m-%d %H:%M}", r.broker, ", ".join(r.fields), r.channel, r.legal_ground) for r in rows],
    )


@removals_app.command()
def replies(as_json: AsJson = False) -> None:
    """List replies that no rule understood, decrypted: a person reads them and classifies them with `removals
    answer`."""
    with open_session() as session, session.db.connect() as connection:
        found = [store.opened(connection, session.keyring, row.id) for row in store.for_a_person(connection)]
    rows = [
        (row.id, row.request_id, f"{row.received_at:%Y-%m-%d}", text[:2000]) for row, _, text in filter(None, found)
    ]
    if as_json:
        print_json([dict(zip(("reply", "request", "received", "text"), row, strict=True)) for row in rows])
        return
    print_table(["reply", "request", "received", "text"], rows)


@removals_app.command()
def answer(
    reply: Annotated[str, typer.Argument(help="The reply, by id.")],
    meaning: Annotated[ReplyClass, typer.Argument(help="What it says.")],
) -> None:
    """Classify a reply that no rule understood; its request moves accordingly."""
    from kordant_jobs.jobs.removebrokers_process import asking

    with open_session() as session:
        state = asking.person_read(session.db, as_uuid(reply), meaning, actor=actor(), now=datetime.now(UTC))
    out.print(state.value)


@removals_app.command("drp-agent")
def drp_agent(
    assurance_url: Annotated[
        str | None, typer.Option("--identity-assurance", help="The page that says how we know who asks.")
    ] = None,
) -> None:
    """Print our entry for the Data Rights Protocol's directory of agents, as JSON: businesses verify our requests with
    it."""
    from kordant_jobs.adapters.brokers.drp import agent_document
    from kordant_jobs.jobs.removebrokers_process.opening import agent_of, open_key

    settings = load_settings()
    key, us = open_key(settings), agent_of(settings)
    if key is None:
        raise SettingsError("set KORDANT_DRP_AGENT_ID and KORDANT_DRP_KEY_PATH: there is no agent yet.")
    web_url = settings.public_url or ""
    print_json(
        agent_document(
            settings.drp_agent_id,
            key,
            name=us.name,
            web_url=web_url,
            contact=us.address,
            assurance_url=assurance_url,
        )
    )


@removals_app.command()
def letter(request: Request) -> None:
    """Print the request in the subscriber's own name, to send to a broker that accepts none from an agent."""
    from kordant_jobs.jobs.removebrokers_process import asking

    with open_session() as session:
        today = datetime.now(UTC).date()
        out.print(asking.own_request(session.db, session.keyring, as_uuid(request), today=today), markup=False)


@removals_app.command()
def complaint(request: Request) -> None:
    """Print the drafted complaint to the regulator, with the events in order, for the subscriber to send."""
    from kordant_jobs.jobs.removebrokers_process import asking

    with open_session() as session:
        drafted = asking.complaint(session.db, session.keyring, as_uuid(request))
    out.print(drafted.text, markup=False)
    if drafted.if_unanswered:
        err.print("The broker answers the subscriber and not us: send this on only if it did not answer.", markup=False)
    if drafted.check_first:
        err.print(
            f"Open {drafted.check_first} before you send this on: no list that we know confirms the address.",
            markup=False,
        )
