"""Calls that agents and subscribers may try over HTTP and MCP, with an observer of the tables who counts what they got
away with, and a canary in everything that is not theirs.

Each call is one at a time, so that a change has one author. Some are valid, some name what is another's,
some are damaged. A violation is a row that changed and should not have, a canary that was answered, or a 5xx.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.tools import beside, http_tools
from kordant_jobs.catalog import BY_NAME, enqueue_named
from kordant_jobs.lab.fuzz.callers import Who, world
from kordant_jobs.lab.fuzz.mutations import worse_json
from kordant_jobs.lab.fuzz.observer import Observer

WHO = ("agent:a", "agent:a", "agent:a", "agent:b", "agent:b", "agent:c", "subscriber")
"""The callers; one that is named twice calls twice as often."""
URL = "http://127.0.0.1:3090"
MCP_SHARE, DAMAGED_SHARE = 0.15, 0.1
STATES = ("pending", "running", "completed", "dead", "cancelled")
_AUTHOR = re.compile(r'"(?:agent_id|proposed_by)"\s*:\s*"([^"]+)"')
READ_IT = "read it"
"""Stands for an ETag or a digest that is read before it is sent."""
LATER = datetime(2190, 1, 1, tzinfo=UTC)
MANY_OPEN = 40
"""With so many open requests of its own, an agent cancels before it asks for more."""


@dataclass
class AgentFuzzResult:
    """The counts of answers by status and of changed rows, and the violations of invariants that were found."""

    answers: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Requests by id that callers may name, what must never be answered to each, and the `entities` that any caller
    may name, so that its own proposals hold them."""

    ids: Sequence[str]
    canaries: Mapping[str, Sequence[str]]
    entities: Sequence[str]


def _plant(db: Engine, callers: Mapping[str, Who]) -> Planted:
    """Requests of every owner in every state, with a canary in the texts about them."""
    [entity_a], [entity_b] = callers["agent:a"].entities, callers["agent:b"].entities
    placed = {"agent:a": ("t1", entity_a), "agent:b": ("t2", entity_b), "agent:c": ("t1", entity_a),
              "service:service": ("t1", entity_a), "user:operator": ("t-canary-of-none", "canary-of-none")}  # fmt: skip
    own: dict[str, list[str]] = {}
    with db.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))  # any state at once
        for by, (tenant, entity) in placed.items():
            for job in ("darkwatch_scan", "subscription_changed"):
                for state in STATES:
                    about = str(UUID(int=7)) if by == "user:operator" else entity
                    made = enqueue_named(connection, job, {"subscription_ids": [about]}, requested_by=by, tenant=tenant,
                                         entity_key=entity, run_at=LATER)  # fmt: skip
                    connection.execute(sa.text("""
                        UPDATE kordant.job_requests SET status = :state, error = :error, run_id = :run,
                            summary = jsonb_build_object('canary', CAST(:summary AS text)),
                            lease_id = CASE :state WHEN 'running' THEN id END, cause = CASE :state WHEN 'dead' THEN
                            'exception' END, started_at = CASE WHEN :state <> 'pending' THEN now() END, ended_at = CASE
                            WHEN :state NOT IN ('pending', 'running') THEN now() END WHERE id = :id"""),
                        {"state": state, "error": f"canary-error-{by}", "summary": f"canary-output-{by}", "id": made,
                         "run": f"canary-run-{tenant}"})  # fmt: skip
                    own.setdefault(by, []).append(str(made))
    never: dict[str, list[str]] = {}
    for name in set(WHO):
        mine = callers[name]
        outputs = [f"canary-{kind}-{by}" for by in placed if by != mine.id for kind in ("output", "error")]
        foreign = [one for by, (tenant, _) in placed.items() if tenant not in mine.tenants for one in own[by]]
        tenants = [f"canary-run-{tenant}" for tenant, _ in placed.values() if tenant not in mine.tenants]
        others = [one for one in (entity_a, entity_b, "canary-of-none") if one not in mine.entities]
        never[name] = [*outputs, *foreign, *tenants, *others]
    ids = [one for some in own.values() for one in some]
    return Planted(ids=ids, canaries=never, entities=(entity_a, entity_b, "canary-of-none"))


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One call as it is sent."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tool: str | None = None


class Caller:
    """Makes up calls. What it learned from answers, it uses in later ones."""

    def __init__(self, dice: Random, callers: Mapping[str, Who], planted: Planted) -> None:
        self.dice, self._callers, self._planted = dice, callers, planted
        entities = (one for who in callers.values() for one in who.entities)
        self._entities = [*dict.fromkeys(entities), "canary-of-none", "x", ""]  # in order: a seed means the same calls
        self.learned: dict[str, list[str]] = {name: [] for name in callers}
        self.changes: list[str] = []

    def call(self, name: str) -> Sent:
        """The next call of a caller."""
        dice = self.dice
        if len(self.learned[name]) > MANY_OPEN:
            return Sent(method="POST", path=f"/requests/{self.learned[name].pop(0)}/cancel", body={})
        if dice.random() < MCP_SHARE:
            tool, arguments = self._tool(name)
            return Sent(method="POST", path="/mcp", tool=tool, body={
                "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments},
            })  # fmt: skip
        kinds: Sequence[tuple[int, Callable[[str], Sent]]] = (
            (5, self._trigger), (3, self._act), (2, self._change), (2, self._read), (2, self._list), (1, self._bulk),
            (1, self._schedule), (2, self._propose), (2, self._decide), (1, self._event), (1, self._workflow),
            (1, self._token),
        )  # fmt: skip
        [make] = dice.choices([one for _, one in kinds], [weight for weight, _ in kinds])
        return make(name)

    def learn(self, name: str, sent: Sent, status: int, text: str) -> None:
        """Keep the id of what was made, to be named later."""
        if status != 202 or sent.tool:
            return
        made = json.loads(text).get("id")
        if sent.path == "/change-sets":
            self.changes.append(made)
        elif made and (sent.path == "/requests" or sent.path.endswith("/run")):
            self.learned[name].append(made)

    def _target(self, name: str) -> str:
        mine = self.learned[name]
        if mine and self.dice.random() < 0.3:
            return self.dice.choice(mine)
        odd = (str(UUID(int=self.dice.getrandbits(128))), "x", "..%2f..", self._planted.ids[0].upper())
        return self.dice.choice(odd) if self.dice.random() < 0.1 else self.dice.choice(self._planted.ids)

    def _payload(self, name: str) -> Any:
        dice = self.dice
        mine = sorted(self._callers[name].entities)
        if dice.random() < 0.6:
            return {"subscription_ids": mine}
        return dice.choice((
            {"subscription_ids": [dice.choice(self._entities)]},
            {"subscription_ids": [*mine, dice.choice(self._entities)]}, {"tiers": ["premium"]}, {},
            {"subscription_ids": [], "tiers": ["basic"]}, {"subscription_ids": mine, "requested_by": "user:admin"},
        ))  # fmt: skip

    def _new(self, name: str) -> dict[str, Any]:
        """A request as it may be asked for, with fields that no caller has among them."""
        dice = self.dice
        granted = sorted(self._callers[name].grants or ()) or ["darkwatch_scan"]
        body: dict[str, Any] = {
            "job": dice.choice(granted if dice.random() < 0.75 else [*BY_NAME]),
            "payload": self._payload(name),
        }
        more: Mapping[str, Sequence[Any]] = {
            "priority": ("critical", "high", "normal", "low", 0, "urgent"),
            "tenant": ("t1", "t2", "t-canary-of-none", "any", None),
            "entity_key": (*self._entities, None),
            "run_at": (LATER.isoformat(), "2026-01-01T00:00:00Z", "yesterday"),
            "dedupe": ({"key": "same", "window_s": 60}, {"key": "same"}),
            "dry_run": (True,),
        }
        rogue = {"requested_by": "user:admin", "status": "completed", "role": "admin", "id": self._planted.ids[0]}
        for field_name, values in more.items():
            if dice.random() < 0.12:
                body[field_name] = dice.choice(values)
        if dice.random() < 0.05:
            field_name = dice.choice(sorted(rogue))
            body[field_name] = rogue[field_name]
        return body

    def _trigger(self, name: str) -> Sent:
        body = self._new(name)
        if self.dice.random() < 0.2:
            return Sent(method="POST", path=f"/definitions/{body.pop('job')}/run", body=body)
        return Sent(method="POST", path="/requests", body=body)

    def _act(self, name: str) -> Sent:
        action = self.dice.choice(("cancel", "cancel", "retry", "acknowledge", "expire", "approve"))
        return Sent(method="POST", path=f"/requests/{self._target(name)}/{action}", body={"note": "x"})

    def _change(self, name: str) -> Sent:
        body = self.dice.choice(({"priority": "critical"}, {"priority": "normal"}, {"priority": "low"},
                                 {"run_at": LATER.isoformat()}, {"status": "completed"}))  # fmt: skip
        match = self.dice.choice((READ_IT, READ_IT, "*", '"0"'))
        return Sent(method="PATCH", path=f"/requests/{self._target(name)}", body=body, headers={"if-match": match})

    def _read(self, name: str) -> Sent:
        tail = self.dice.choice(("", "", "/attempts", "?include=payload"))
        path = self.dice.choice((f"/requests/{self._target(name)}{tail}", "/me", "/protection", "/definitions",
                                 "/audit", "/workflows", "/change-sets", "/topics"))  # fmt: skip
        return Sent(method="GET", path=path)

    def _list(self, _: str) -> Sent:
        asked = self.dice.choice(("", "tenant=t1", "tenant=t2", "tenant=t-canary-of-none", "status=failed",
                                  "requested_by=user:operator", "requested_by=agent:a", "entity_key=canary-of-none",
                                  "job=darkwatch_scan&limit=200", "cursor=AAAA", "limit=0"))  # fmt: skip
        return Sent(method="GET", path=f"/requests?{asked}")

    def _bulk(self, name: str) -> Sent:
        body: dict[str, Any] = {"action": self.dice.choice(("replay", "expire", "acknowledge", "cancel"))}
        body |= self.dice.choice(({"ids": [self._target(name)]}, {"filter": {"tenant": "t1"}, "expected_count": 2},
                                  {"filter": {}}, {"filter": {"job": "darkwatch_scan"}, "dry_run": True}))  # fmt: skip
        return Sent(method="POST", path="/bulk-actions", body=body)

    def _schedule(self, _: str) -> Sent:
        row = self.dice.choice(("notifications_send/all", "darkwatch_scan/premium", "cleanup/all"))
        method, tail, body = self.dice.choice((
            ("PATCH", "", {"changes": {"enabled": False}}), ("POST", "/pause", {"reason": "x"}), ("GET", "", None),
            ("POST", "/resume", {}), ("POST", "/diff", {"changes": {"cron": "* * * * *"}, "days": 2}),
            ("GET", "/history", None),
        ))  # fmt: skip
        return Sent(method=method, path=f"/schedules/{row}{tail}", body=body, headers={"if-match": '"v1"'})

    def _proposal(self, name: str) -> dict[str, Any]:
        granted = sorted(self._callers[name].grants or ()) or ["hometitle_scan"]
        return self.dice.choice((
            {"job": "notifications_send", "changes": {"cron": self.dice.choice(("*/20 * * * *", "no", ""))}},
            {"kind": "first_trigger", "job": self.dice.choice((*granted, "hometitle_scan"))},
            {"kind": "grant_change", "job": granted[0], "changes": {"max_priority": "critical"}},
            {"kind": "grant_change", "job": "bank_sync", "changes": {"requests_per_hour": 10**6}},
        ))  # fmt: skip

    def _propose(self, name: str) -> Sent:
        return Sent(method="POST", path="/change-sets", body=self._proposal(name))

    def _decide(self, name: str) -> Sent:
        known = self.dice.choice(self.changes) if self.changes else self._target(name)
        action = self.dice.choice(("approve", "approve", "reject", "withdraw", ""))
        if not action:
            return Sent(method="GET", path=f"/change-sets/{known}")
        return Sent(method="POST", path=f"/change-sets/{known}/{action}",
                    body={"digest": READ_IT} if action == "approve" else {})  # fmt: skip

    def _event(self, name: str) -> Sent:
        topic = self.dice.choice(("subscription.changed", "transaction.created", "agent.schedule.triggered"))
        body = {"specversion": "1.0", "id": str(self.dice.random()), "source": "/x", "type": topic,
                "data": {"subscription_id": self.dice.choice(self._entities)}}  # fmt: skip
        return Sent(method="POST", path="/events", body=body)

    def _workflow(self, name: str) -> Sent:
        if self.dice.random() < 0.5:
            path = f"/workflows/{self._target(name)}/executions"
            return Sent(method="POST", path=path, body={"inputs": {}, "tenant": self.dice.choice(("t1", "t2"))})
        step = {"type": "trigger", "name": "one", "job": "darkwatch_scan", "payload": self._payload(name)}
        return Sent(
            method="POST", path="/workflows", body={"name": "care", "definition": {"inputs": {}, "steps": [step]}}
        )

    def _token(self, name: str) -> Sent:
        path = self.dice.choice(("/tokens/subscriber", "/tokens", "/agents", "/me"))
        return Sent(method="POST", path=path, body={"subscriber_id": str(UUID(int=5)), "role": "admin"})

    def _tool(self, name: str) -> tuple[str, dict[str, Any]]:
        key = {"idempotency_key": str(self.dice.randrange(50)) if self.dice.random() < 0.2 else str(self.dice.random())}
        body = self._new(name)
        body.pop("tenant", None)
        return self.dice.choice((
            ("list_jobs", {}), ("trigger_job", {**body, **key}), ("trigger_job", {**body, **key}),
            ("check_status", {"request_id": self._target(name)}),
            ("cancel_request", {"request_id": self._target(name)}),
            ("list_requests", {"limit": 50, "status": self.dice.choice((None, "failed", "pending"))}),
            ("propose_change", {**self._proposal(name), **key}), ("get_budget", {}),
            ("get_change_set", {"change_set_id": self.changes[-1] if self.changes else self._target(name)}),
            ("withdraw_change_set", {"change_set_id": self.changes[-1] if self.changes else self._target(name)}),
            ("approve_change_set", {"id": self._target(name)}),
        ))  # fmt: skip


App = Callable[[Any, Any, Any], Awaitable[None]]


async def _ask(app: App, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, str]:
    """The application's status, ETag and body, without a server between."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": target, "raw_path": target.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3090),
    }  # fmt: skip
    status, etag, parts = 0, "", []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, etag
        if message["type"] == "http.response.start":
            status = message["status"]
            etag = next((value.decode() for name, value in message["headers"] if name.lower() == b"etag"), "")
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, etag, b"".join(parts).decode("utf-8", "replace")


async def _filled(app: App, path: str, sent: Sent, headers: dict[str, str]) -> Any:
    """The body of a call, with the ETag or digest in it that an honest caller would have read: so that nothing but the
    right is missing."""
    if headers.get("if-match") == READ_IT:
        _, etag, _ = await _ask(app, "GET", path, headers, b"")
        headers["if-match"] = etag or '"0"'
    if isinstance(sent.body, dict) and sent.body.get("digest") == READ_IT:
        status, _, text = await _ask(app, "GET", path.rpartition("/")[0], headers, b"")
        return {"digest": json.loads(text).get("digest", "0") if status == 200 else "0"}
    return sent.body


async def _run(
    app: Any, db: Engine, callers: Mapping[str, Who], count: int, seed: int, seconds: float | None
) -> AgentFuzzResult:
    until = None if seconds is None else time.monotonic() + seconds
    found, dice = AgentFuzzResult(), Random(seed)  # noqa: S311 - dice
    planted = _plant(db, callers)
    caller, observer = Caller(dice, callers, planted), Observer(db)
    server = http_tools(app, app.state.tokens, url=URL)
    whole = beside(app, server.streamable_http_app(stateless_http=True, json_response=True))
    async with server.session_manager.run():
        for number in range(count):
            if until is not None and time.monotonic() > until:
                break
            name = dice.choice(WHO)
            who, sent = callers[name], caller.call(name)
            headers = {"host": "127.0.0.1:3090", "authorization": f"Bearer {who.token}", **sent.headers,
                       "content-type": "application/json", "accept": "application/json, text/event-stream"}  # fmt: skip
            if sent.method == "POST":
                headers["idempotency-key"] = f"k{dice.randrange(20) if dice.random() < 0.1 else number + 20}"
            path = sent.path if sent.tool else f"/api/jobs{sent.path}"
            body = await _filled(whole, path, sent, headers)
            raw = b"" if body is None else json.dumps(body).encode()
            if body is not None and dice.random() < DAMAGED_SHARE:
                raw = worse_json(body, dice)
            status, _, text = await _ask(whole, sent.method, path, headers, raw)
            found.calls += 1
            found.answers[_outcome(sent, status, text)] += 1
            wrong = observer.judge(who)
            if status >= 500:
                wrong.append(f"{who.id}: {status}")
            known = f"{path} {raw.decode('utf-8', 'replace')}"
            wrong += _leaks(who, text, known, planted, planted.canaries[name])
            found.violations += [f"call {number}: {sent.method} {path} {raw[:300]!r}: {one}" for one in wrong]
            caller.learn(name, sent, status, text)
    found.changes = observer.changes
    observer.close()
    return found


def _leaks(who: Who, text: str, known: str, planted: Planted, canaries: Sequence[str]) -> list[str]:
    """The parts of an answer that the caller must not see. Proposals hold what their agent once wrote, whatever it
    named: of these it is asked whose they are."""
    is_proposal = any(word in known for word in ("/workflows", "/change-sets", "change_set", "propose_change"))
    found = [
        one for one in canaries if one in text and one not in known and not (is_proposal and one in planted.entities)
    ]
    others = {name for name in _AUTHOR.findall(text) if name != who.id}
    return [f"{who.id} was given {one}" for one in (*found, *(others if is_proposal else ()))]


def _outcome(sent: Sent, status: int, text: str) -> str:
    if sent.tool is None:
        return str(status)
    if status != 200:
        return f"tool {status}"
    return "tool refused" if json.loads(text).get("result", {}).get("isError", True) else "tool done"


def fuzz_agents(count: int, seed: int, *, folder: Path, seconds: float | None = None) -> AgentFuzzResult:
    """So many calls, or as many as `seconds` allow, against a database that is made in `folder` and goes away."""
    with world(folder) as (db, app, callers):
        return asyncio.run(_run(app, db, callers, count, seed, seconds))
