"""Commands for tokens: kordant-jobs tokens create | list | rotate | revoke, and kordant-jobs agents grant | …"""

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from kordant_jobs.catalog import TOPICS, job_row
from kordant_jobs.cli.arguments import id_of
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.domain.access.tokens import LONGEST_DAYS
from kordant_jobs.engine import Priority
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.access import people, workflows
from kordant_jobs.store.access.tables import workflow_executions

tokens_app = typer.Typer(help="Tokens of the API: who may ask, for what, until when.", no_args_is_help=True)
agents_app = typer.Typer(help="Agents: which jobs each may start, within which bounds.", no_args_is_help=True)

AgentId = Annotated[str, typer.Argument(help="The agent, as agent:<id>.")]

DEFAULT_SCOPES = {
    Role.ADMIN: tuple(TokenScope),
    Role.OPERATOR: tuple(TokenScope),
    Role.SERVICE: (TokenScope.JOBS_READ, TokenScope.JOBS_TRIGGER, TokenScope.JOBS_CANCEL, TokenScope.JOBS_OPERATE),
    Role.AGENT: (
        TokenScope.JOBS_READ,
        TokenScope.JOBS_TRIGGER,
        TokenScope.JOBS_CANCEL,
        TokenScope.SCHEDULES_READ,
        TokenScope.CHANGES_PROPOSE,
    ),
}
"""The scopes of a token when the command names none."""


def _me() -> str:
    return f"user:{getpass.getuser()}"


@tokens_app.command()
def create(
    principal: Annotated[str, typer.Argument(help="Whose, as agent:<id>, service:<id> or user:<id>; no name.")],
    role: Annotated[Role, typer.Option("--role", help="admin, operator, service or agent.")],
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="A tenant it works for, by id; repeatable.")
    ] = None,
    entity: Annotated[list[str] | None, typer.Option("--entity", help="An entity it works for; none: all.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="The person an agent belongs to, user:<id>.")] = None,
    scope: Annotated[list[TokenScope] | None, typer.Option("--scope", help="What for; none: the role's.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="A topic whose events it may publish; none: all of its role.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", help="How long it lives; none: 30, or less.")] = None,
) -> None:
    """Create a token and print it on standard output. It is shown only this once. For example: tokens create
    service:app --role service --days 90."""
    if unknown := set(topic or ()) - set(TOPICS):
        raise SettingsError(f"there is no topic {min(unknown)}; there are {', '.join(TOPICS)}.")
    with open_session() as session, session.db.begin() as connection:
        people.save_principal(
            connection, principal, role, tenants=tenant, entities=entity, owner=owner, topics=topic, by=_me()
        )
        written = people.create_token(
            connection,
            session.keyring,
            principal,
            scope or DEFAULT_SCOPES[role],
            days=days or min(30, LONGEST_DAYS[role]),
            by=_me(),
            now=datetime.now(UTC),
        )
    err.print("This token is shown once; only its hash is kept.")
    out.print(written, markup=False)


@tokens_app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List every token: its holder, its scopes, its expiry."""
    with open_session() as session, session.db.connect() as connection:
        found = people.tokens(connection)
    if as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    print_table(
        ["token", "whose", "role", "until", "state", "scopes"],
        [
            (one["id"], one["principal_id"], one["role"], f"{one['expires_at']:%Y-%m-%d %H:%M}",
             "revoked" if one["revoked_at"] else "disabled" if one["disabled_at"] else
             "expired" if one["expires_at"] <= now else "works", " ".join(one["scopes"]))
            for one in found
        ],
    )  # fmt: skip


@tokens_app.command()
def rotate(
    token_id: Annotated[str, typer.Argument(help="The token's id: the 12 letters in its middle.")],
    overlap_hours: Annotated[float, typer.Option("--overlap-hours", help="How long the old one works on.")] = 24,
) -> None:
    """Create a token that replaces another one, and print it. It is shown only this once."""
    with open_session() as session, session.db.begin() as connection:
        overlap, now = timedelta(hours=overlap_hours), datetime.now(UTC)
        written = people.rotate_token(connection, session.keyring, token_id, overlap=overlap, by=_me(), now=now)
    err.print("This token is shown once; only its hash is kept.")
    out.print(written, markup=False)


@tokens_app.command()
def revoke(token_id: Annotated[str, typer.Argument(help="The token's id: the 12 letters in its middle.")]) -> None:
    """Revoke a token; the API has noticed it after at most 5 s."""
    with open_session() as session, session.db.begin() as connection:
        people.revoke_token(connection, token_id, by=_me(), now=datetime.now(UTC))
    out.print(f"revoked {token_id}")


@tokens_app.command()
def disable(principal: Annotated[str, typer.Argument(help="Whom, as user:<id>.")]) -> None:
    """End all tokens of a principal, and for a person those of their agents."""
    with open_session() as session, session.db.begin() as connection:
        people.disable_principal(connection, principal, by=_me(), now=datetime.now(UTC))
    out.print(f"disabled {principal}")


@agents_app.command()
def grant(
    agent: AgentId,
    job: Annotated[str, typer.Argument(help="The job, by name or alias.")],
    max_priority: Annotated[str, typer.Option("--max-priority", help="critical, high, normal or low.")] = "normal",
    per_hour: Annotated[int, typer.Option("--per-hour", min=1, help="Requests an hour, at most.")] = 60,
    per_day: Annotated[int | None, typer.Option("--per-day", min=1, help="Requests a day, at most.")] = None,
    concurrent: Annotated[int | None, typer.Option("--concurrent", min=1, help="Open requests at once.")] = None,
    cpu_s_per_day: Annotated[
        int | None, typer.Option("--cpu-s-per-day", min=1, help="CPU seconds of its runs in 24 hours.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", min=0.01, help="None: until taken back.")] = None,
    ask_first: Annotated[
        bool | None,
        typer.Option(help="Whether a person approves the first request. If not given: yes, of a new grant."),
    ] = None,
) -> None:
    """Allow an agent to start a job within these limits. A person approves its first request. For example: agents grant
    agent:helper darkwatch.scan --per-hour 10."""
    highest = Priority[max_priority.upper()] if max_priority.upper() in Priority.__members__ else None
    if highest is None:
        raise typer.BadParameter(
            f"choose one of {', '.join(one.word for one in Priority)}", param_hint="--max-priority"
        )
    row = job_row(job)
    with open_session() as session, session.db.begin() as connection:
        before = people.grants(connection, agent).get(row.name)
        asks = ask_first if ask_first is not None else before is None or before.ask_first
        made = people.Grant(
            job=row.name, max_priority=highest, requests_per_hour=per_hour, requests_per_day=per_day,
            concurrent=concurrent, cpu_s_per_day=cpu_s_per_day, ask_first=asks,
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
        )  # fmt: skip
        people.save_grant(connection, agent, made, by=_me())
    out.print(f"{agent} may start {row.name}, at most {per_hour} times an hour, priority {highest.word} at most")
    if asks:
        out.print(f"a person approves its first request: {agent} proposes a change set of kind first_trigger")


@agents_app.command()
def ungrant(agent: AgentId, job: Annotated[str, typer.Argument(help="The job, by name or alias.")]) -> None:
    """Revoke a grant."""
    row = job_row(job)
    with open_session() as session, session.db.begin() as connection:
        was_there = people.end_grant(connection, agent, row.name, by=_me())
    out.print(f"{agent} may not start {row.name}" if was_there else f"{agent} had no grant of {row.name}")


@agents_app.command("show")
def show_agent(agent: AgentId, as_json: AsJson = False) -> None:
    """Show an agent's grants."""
    with open_session() as session, session.db.connect() as connection:
        found = people.grants(connection, agent)
    if as_json:
        print_json([{**vars(one), "max_priority": one.max_priority.word} for one in found.values()])
        return
    rows = [
        (one.job, one.max_priority.word, one.requests_per_hour, one.requests_per_day or "-", one.concurrent or "-",
         one.cpu_s_per_day or "-",
         f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "-",
         "asks first" if one.ask_first else "-")
        for one in found.values()
    ]  # fmt: skip
    print_table(
        ["job", "priority at most", "an hour", "a day", "at once", "CPU s a day", "until", "first request"], rows
    )


@agents_app.command("workflows")
def list_workflows(
    agent: Annotated[str | None, typer.Option(help="Only of this agent.")] = None, as_json: AsJson = False
) -> None:
    """List workflows that agents have proposed, with their state. A person approves one over the API."""
    with open_session() as session, session.db.connect() as connection:
        found = workflows.listed(connection, agent_id=agent, limit=1000)
    if as_json:
        print_json([{**vars(one), "definition": one.definition.model_dump(mode="json")} for one in found])
        return
    rows = [
        (one.id, one.agent_id, one.name, one.version, one.state, len(one.definition.steps), one.change_id)
        for one in found
    ]
    print_table(["id", "agent", "name", "version", "state", "steps", "change set"], rows)


@agents_app.command("execution")
def show_execution(
    execution: Annotated[str, typer.Argument(help="The execution, by id.")], as_json: AsJson = False
) -> None:
    """Show the progress of an execution of a workflow, step by step."""
    with open_session() as session, session.db.connect() as connection:
        found = workflows.execution(connection, id_of(connection, workflow_executions.c.id, execution, "execution"))
        if found is None:
            raise SettingsError(
                f"there is no execution {execution}. POST /api/jobs/workflows/…/executions answers its id."
            )
        steps = [dict(row._mapping) for row in workflows.steps(connection, found.id)]
    if as_json:
        print_json({**vars(found), "steps": steps})
        return
    names = ("id", "workflow_id", "agent_id", "status", "reason", "started_at", "ended_at")
    print_facts({name: getattr(found, name) for name in names if getattr(found, name) is not None})
    columns = ["place", "name", "status", "output", "request_id", "change_id", "rule"]
    print_table([name.replace("_", " ") for name in columns], [[step[name] for name in columns] for step in steps])
