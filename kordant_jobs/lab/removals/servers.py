"""The simulated brokers' servers: mail (SMTP), web pages and the Data Rights Protocol (HTTP), with their ledgers.

What a server knows comes only from what was sent to it; the day is the simulation's.
"""

from __future__ import annotations

import heapq
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import Message
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer
from kordant_jobs.lab.fakes.smtp import FakeSmtpServer, Received
from kordant_jobs.lab.removals.behaviour import SCRIPTS, Behaviour, Reply
from kordant_jobs.lab.removals.one_run import AGENT_ID, EVIL
from kordant_jobs.lab.removals.protocol import Refused, open_signed


@dataclass(kw_only=True)
class Case:
    """One person at one broker: on which days requests came (by their id), when it was removed and listed again."""

    requests: dict[str, datetime] = field(default_factory=dict)
    reminders: int = 0
    copies: int = 0

    def is_listed(self, broker: SimBroker, now: datetime) -> bool:
        """True if the broker's site shows the person at `now`."""
        script = SCRIPTS[broker.behaviour]
        listed = script.lists
        for came in sorted(self.requests.values()):
            days = (now - came).days
            if script.removes_after is not None and days >= script.removes_after:
                listed = script.relists_after is not None and days >= script.relists_after
        return listed


@dataclass(kw_only=True)
class SimBroker:
    """One simulated broker and what came to it."""

    number: int
    behaviour: Behaviour
    cap: int
    cases: dict[str, Case] = field(default_factory=dict)
    by_day: dict[str, int] = field(default_factory=dict)
    """Messages that came, by day."""

    @property
    def domain(self) -> str:
        """Its domain."""
        return f"sim-{self.number:04d}.com"

    def record_message(self, name: str, message: str, now: datetime, *, is_reminder: bool) -> bool:
        """Record a request or reminder that arrived. True when it is a new request."""
        case = self.cases.setdefault(name, Case())
        if message in case.requests:
            case.copies += 1
            return False
        self.by_day[f"{now:%Y-%m-%d}"] = self.by_day.get(f"{now:%Y-%m-%d}", 0) + 1
        if is_reminder:
            case.reminders += 1
            return False
        case.requests[message] = now
        return True


@dataclass(kw_only=True)
class BrokerWorld:
    """All simulated brokers on their servers. Enter it as a context manager, and set its day."""

    brokers: list[SimBroker]
    inbox: Path
    now: datetime
    verify_key: str
    phished: int = 0
    followed: int = 0
    due: list[tuple[datetime, int, bytes]] = field(default_factory=list)
    _read: int = 0
    _count: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.by_domain = {one.domain: one for one in self.brokers}
        self.mail = FakeSmtpServer()
        self.mail.answers.to_rcpt = lambda address, _times: self._rcpt(address)
        self.web = _Web(self)
        for folder in ("new", "tmp", "cur"):
            (self.inbox / folder).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> BrokerWorld:
        self.mail.__enter__()
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__(None, None, None)
        self.mail.__exit__(None, None, None)

    def _rcpt(self, address: str) -> str | None:
        broker = self.by_domain.get(address.partition("@")[2])
        return SCRIPTS[broker.behaviour].rcpt if broker else "550 5.1.2 no such domain"

    def read_mails(self) -> None:
        """Have brokers read what came to their mail server since the last time."""
        fresh = self.mail.received[self._read :]
        self._read += len(fresh)
        for one in fresh:
            self._read_mail(one)

    def _read_mail(self, one: Received) -> None:
        broker = self.by_domain[one.recipient.partition("@")[2]]
        mail = message_from_bytes(one.content)
        parts = [part.get_payload(decode=True) for part in mail.walk() if part.get_content_type() == "text/plain"]
        text = parts[0].decode() if parts and isinstance(parts[0], bytes) else ""
        name = re.search(r"(?m)^\s+(?:Name|Nome): (.+?)\s*$", text)
        message_id = str(mail["Message-ID"])
        is_new = broker.record_message(
            name[1] if name else "?", message_id, self.now, is_reminder=mail["In-Reply-To"] is not None
        )
        if is_new:
            for reply in SCRIPTS[broker.behaviour].replies:
                moment = self.now + timedelta(days=reply.after_days)
                content = self._written(broker, reply, str(mail["From"]), message_id)
                heapq.heappush(self.due, (moment, next(self._count), content))

    def _written(self, broker: SimBroker, reply: Reply, to: str, message_id: str) -> bytes:
        mail = Message()
        sender = f"desk-{broker.number:04d}.com" if reply.elsewhere else broker.domain
        mail["To"] = to
        mail["Message-ID"] = f"<{next(self._count)}.{broker.number}@{sender}>"
        if reply.text == "RETURN":
            mail["From"] = f"MAILER-DAEMON@{sender}"
            mail["Subject"] = "Undelivered Mail Returned to Sender"
            mail.set_payload(f"550 5.1.1 user unknown\n\nMessage-ID: {message_id}\n")
        else:
            mail["From"] = f"privacy@{sender}"
            mail["Subject"] = reply.subject
            mail["In-Reply-To"] = message_id
            mail.set_payload(reply.text.replace("{domain}", broker.domain), "utf-8")
        return mail.as_bytes()

    def deliver_replies(self) -> int:
        """Put the replies whose time has come into the mailbox."""
        delivered = 0
        while self.due and self.due[0][0] <= self.now:
            _, number, content = heapq.heappop(self.due)
            half = self.inbox / "tmp" / f"{number:09d}"
            half.write_bytes(content)
            half.replace(self.inbox / "new" / half.name)
            delivered += 1
        return delivered


class _Web(FakeServer):
    """Search pages, confirmation links and the protocol of all brokers, by the host or path that is asked for."""

    def __init__(self, world: BrokerWorld) -> None:
        super().__init__()
        self._world = world
        self._tokens: dict[str, str] = {}
        self._seen: set[bytes] = set()
        self._rights: dict[str, tuple[SimBroker, datetime]] = {}

    def take(self, asked: Asked) -> Answer:
        """Answer without keeping every request."""
        with self._lock:
            return self.answer(asked)

    def answer(self, asked: Asked) -> Answer:
        """The broker's answer."""
        parts = urlsplit(asked.path)
        if parts.path.startswith("/drp/"):
            _, _, business, rest = parts.path.split("/", 3)
            return self._protocol(self._world.by_domain[f"{business}.com"], f"/{rest}", asked)
        host = asked.headers.get("host", "")
        if host == EVIL:
            self._world.phished += 1
        broker = self._world.by_domain.get(host)
        if broker is None or parts.path == "/robots.txt":
            return Answer(status=404)
        if parts.path == "/confirm":
            self._world.followed += 1
            return Answer(status=200, body=b"confirmed")
        name = parse_qs(parts.query).get("q", [""])[0]
        listed = broker.cases.get(name, Case()).is_listed(broker, self._world.now)
        card = f'<div class="card"><h2 class="name">{name}</h2></div>' if listed else '<p class="none">No results</p>'
        return Answer(status=200, body=f"<html><body>{card}</body></html>".encode())

    def _protocol(self, broker: SimBroker, path: str, asked: Asked) -> Answer:
        business = broker.domain.removesuffix(".com")
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        message = {}
        if asked.method in {"POST", "DELETE"}:
            try:
                message = open_signed(
                    asked.body, verify_key=self._world.verify_key, agent_id=AGENT_ID, business_id=business,
                    now=datetime.now(self._world.now.tzinfo), seen=self._seen,
                )  # fmt: skip
            except Refused:
                return Answer(status=403)
        if path == f"/v1/agent/{AGENT_ID}" and asked.method == "POST":
            self._tokens[business] = uuid4().hex
            return Answer.of(200, {"agent-id": AGENT_ID, "token": self._tokens[business]})
        if token != self._tokens.get(business):
            return Answer(status=403)
        if path == "/v1/data-rights-request":
            agent_request = str(message["agent-request-id"])
            if broker.record_message(str(message["name"]), agent_request, self._world.now, is_reminder=False):
                self._rights[agent_request] = (broker, self._world.now)
            return self._status(agent_request)
        return self._status(path.rpartition("/")[2])

    def _status(self, request_id: str) -> Answer:
        broker, came = self._rights[request_id]
        days = (self._world.now - came).days
        found = [(status, why) for day, status, why in SCRIPTS[broker.behaviour].protocol if days >= day]
        status, why = found[-1]
        body = {"request_id": request_id, "status": status, **({"reason": why} if why else {})}
        return Answer(status=200, body=json.dumps(body).encode(), headers={"content-type": "application/json"})
