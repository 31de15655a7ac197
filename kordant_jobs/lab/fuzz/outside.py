"""Damaged input from outside: bounces, requests, breach catalogues, answers of sources.

Each of these may be refused; none may raise anything but its own refusal, be answered 5xx, or leave a traceback.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.errors import CatalogueUnreadable
from kordant_jobs.jobs.darkwatch_scan.sources import save
from kordant_jobs.jobs.notifications_send import receipts
from kordant_jobs.jobs.notifications_send.unsubscribe import Choice, token_of
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp, breach
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck, FakeXposedOrNot
from kordant_jobs.lab.fakes.sources.server import Asked, FakeServer, Reply
from kordant_jobs.lab.fuzz.mutations import worse, worse_json
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.population import make_population
from kordant_jobs.lab.world.subscribers import new_subscribers
from kordant_jobs.pages.app import PagesContext, application
from kordant_jobs.pages.hooks import PATH, range_webhook
from kordant_jobs.ports import ExposureSource, Question
from kordant_jobs.postgres.database import create_engine
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.store import migrate
from kordant_jobs.store.darkwatch import breaches, source_checks
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring

DOMAIN = "kordant.example"
SECRET = "fuzz-secret"  # noqa: S105 - of a fake
NOW_S = 1_800_000_000


@dataclass
class Fuzzed:
    """The number of inputs by outcome, and the first of those that broke something."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def judge(self, number: int, act: Callable[[], str], *refusals: type[Exception]) -> None:
        """Count what `act` says of input `number`; any exception but `refusals` breaks."""
        try:
            self.outcomes[act()] += 1
        except refusals:
            self.outcomes["refused"] += 1
        except Exception:  # noqa: BLE001 - what is looked for
            self.broken.append(f"input {number}: {traceback.format_exc(limit=-3)}")


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collects the tracebacks that are logged meanwhile."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                found.append(f"{record.name}: {record.getMessage()}")

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)


BOUNCE = """\
From: MAILER-DAEMON@mx.example
To: bounces@kordant.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="limit"

--limit
Content-Type: text/plain; charset=utf-8

I'm sorry to have to inform you that your message could not be delivered.
<{local}@mx.example>: host mx.example said: {code} {enhanced} {words}

--limit
Content-Type: {status_type}

Reporting-MTA: dns; mx.example
Arrival-Date: Sat, 28 Nov 2026 10:00:00 +0000

Final-Recipient: rfc822; {local}@mx.example
Action: {action}
Status: {enhanced}
Diagnostic-Code: smtp; {code} {enhanced} {words}

--limit
Content-Type: {kind}

Message-ID: <{message}@kordant.example>
From: Kordant <alerts@kordant.example>
Subject: =?utf-8?q?Your_data?=

--limit--
"""


def _bounce(dice: Random) -> bytes:
    """A bounce as it may really come."""
    code, enhanced, words = dice.choice(
        (("550", "5.1.1", "user unknown"), ("554", "5.7.1", "listed at zen"), ("452", "4.2.2", "mailbox full"))
    )
    return BOUNCE.format(
        message=UUID(int=dice.getrandbits(128)),
        local=dice.choice(("ann", "jörg", '"a b"', "x" * 64)),
        code=code,
        enhanced=enhanced,
        words=words,
        action=dice.choice(("failed", "delayed", "delivered", "expired", "relayed")),
        kind=dice.choice(("text/rfc822-headers", "message/rfc822", "message/global-headers")),
        status_type=dice.choice(("message/delivery-status", "message/global-delivery-status")),
    ).encode()


def bounces(count: int, seed: int, *, db: Engine, keyring: Keyring) -> Fuzzed:
    """Bounces, read and taken."""
    found = Fuzzed()
    dice = Random(seed)  # noqa: S311 - dice
    with _logged() as logged:
        for number in range(count):
            content = worse(_bounce(dice), dice)

            def act(content: bytes = content) -> str:
                receipt = receipts.read_bounce(content, domain=DOMAIN)
                if receipt is None:
                    return "late"
                with db.begin() as connection:
                    receipts.take(connection, keyring, receipt)
                return receipt.state.value

            found.judge(number, act, receipts.NoReceipt)
    found.broken += logged
    return found


def requests(count: int, seed: int, *, db: Engine, keyring: Keyring) -> Fuzzed:
    """HTTP requests to the public pages and callbacks; two in three are signed as ours after they were damaged, so that
    what lies behind a signature is reached, too."""
    found = Fuzzed()
    dice = Random(seed)  # noqa: S311 - dice
    context = PagesContext(
        db=db, keyring=keyring, public_url=f"https://{DOMAIN}", mail_domain=DOMAIN, twilio_token=SECRET,
        webhook_secret=SECRET, clock=lambda: float(NOW_S),
    )  # fmt: skip
    apps = (application(context), range_webhook(db, keyring, SecretStr(SECRET)))
    with _logged() as logged:
        for number in range(count):
            scope, body = _request(dice, keyring)
            app = apps[1] if scope["path"].startswith("/hooks") else apps[0]

            def act(app: Any = app, scope: Mapping[str, Any] = scope, body: bytes = body) -> str:
                status = asyncio.run(_ask(app, scope, body))
                if status >= 500:
                    raise AssertionError(f"{status} for {scope['method']} {scope['raw_path']!r} {body[:200]!r}")
                return str(status)

            found.judge(number, act)
    found.broken += logged
    return found


def _request(dice: Random, keyring: Keyring) -> tuple[dict[str, Any], bytes]:
    choice = Choice(subscriber_id=UUID(int=dice.getrandbits(128)), category=Category.BREACH, channel=Channel.EMAIL)
    webhook = {"message_id": str(uuid4()), "status": "bounced"}
    pushed = {"breachName": "Adobe", "hashPrefix": "ABCDEF", "hashSuffixes": ["0" * 34]}
    method, path, body = dice.choice(
        (
            ("POST", b"/callbacks/bounce", worse(_bounce(dice), dice)),
            ("POST", b"/callbacks/delivery", worse_json(webhook, dice)),
            ("POST", f"/callbacks/twilio/{uuid4()}".encode(), b"MessageStatus=failed&ErrorCode=21610&MessageSid=SM1"),
            ("POST", f"/unsubscribe/{token_of(keyring, choice)}".encode(), b"undo=yes"),
            ("GET", f"/unsubscribe/{token_of(keyring, choice)}".encode(), b""),
            ("GET", b"/reports/x?e=1&s=2", b""),
            ("GET", b"/health", b""),
            ("POST", PATH.encode(), worse_json(pushed, dice)),
        )
    )
    raw = worse(path, dice)[:4000] if dice.random() < 0.3 else path
    body = worse(body, dice) if dice.random() < 0.3 else body
    moment = dice.choice((str(NOW_S), str(NOW_S), "²", "9" * 5000, "", "-1", "1e9")).encode("utf-8")
    headers = {
        b"host": DOMAIN.encode(),
        b"accept-language": b"pt-BR,pt;q=0.9",
        b"content-type": b"application/json",
        b"x-kordant-timestamp": moment,
        b"x-kordant-signature": receipts.webhook_signature(SECRET, moment.decode("latin-1"), body).encode(),
        b"authorization": f"Bearer {SECRET}".encode(),
    }
    if dice.random() < 1 / 3:
        name = dice.choice(list(headers))
        headers[name] = worse(headers[name], dice)[:8000]
    target, _, query = raw.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": target.decode("utf-8", "replace"), "raw_path": target, "query_string": query, "root_path": "",
        "headers": list(headers.items()), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3080),
    }  # fmt: skip
    return scope, body


async def _ask(app: Any, scope: Mapping[str, Any], body: bytes) -> int:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(dict(scope), receive, send)
    return status


def catalogues(count: int, seed: int, *, db: Engine) -> Fuzzed:
    """Breach catalogues, parsed and saved; nothing of them stays."""
    found = Fuzzed()
    dice = Random(seed)  # noqa: S311 - dice
    entries = [*make_catalogue(seed)[:3], breach("Adobe"), breach("Gawker")]
    for number in range(count):
        content = worse_json(entries, dice)

        def act(content: bytes = content) -> str:
            parsed, rejected = parse_catalogue(content)
            with db.connect() as connection:  # rolled back
                breaches.save_catalogue(connection, content, parsed, rejected=rejected)
            return "taken in part" if rejected else "taken"

        found.judge(number, act, CatalogueUnreadable)
    return found


def answers(count: int, seed: int, *, db: Engine, keyring: Keyring, item_id: UUID) -> Fuzzed:
    """Answers of outside sources about a watched item, asked over HTTP and saved. Where there is no usable answer, the
    verdict is unknown."""
    found = Fuzzed()
    dice = Random(seed)  # noqa: S311 - dice
    named = "found@example.com"
    fakes: tuple[tuple[Callable[[str], ExposureSource], Callable[[Asked], Reply]], ...] = (
        (
            lambda url: Hibp(SecretStr(TEST_KEY), base_url=f"{url}/api/v3"),
            FakeHibp(rpm=60_000, accounts={named: ("Adobe", "Gawker")}).answer,
        ),
        (XposedOrNot, FakeXposedOrNot().answer),
        (lambda url: LeakCheck(base_url=f"{url}/api"), FakeLeakCheck().answer),
    )
    for make, answer in fakes:
        with FakeServer(lambda asked, answer=answer: _spoiled(answer(asked), dice)) as server:  # type: ignore[misc]
            source = make(server.url)
            for number in range(count // len(fakes)):
                question = Question(item_id=item_id, kind=IdentifierKind.EMAIL, canonical=named)

                def act(source: ExposureSource = source, question: Question = question) -> str:
                    [one] = source.ask([question])
                    with db.begin() as connection:
                        lease_id = source_checks.claim(connection, source.source, [question], now=datetime.now(UTC))
                    save(source, [question], [one], lease_id, db=db, keyring=keyring)
                    return one.verdict.value

                found.judge(number, act)
    return found


def _spoiled(reply: Reply, dice: Random) -> Reply:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    try:
        body = worse_json(json.loads(body), dice)
    except ValueError:
        body = worse(body, dice)
    return Reply(
        status=dice.choice((reply.status, reply.status, reply.status, 200, 404)), body=body, headers=reply.headers
    )


KINDS = ("bounces", "requests", "catalogues", "answers")


def fuzzed(what: str, count: int, seed: int, *, folder: Path) -> tuple[Fuzzed, float]:
    """Inputs of a kind against a database that is made in `folder` and goes away; and the seconds that they took."""
    with EmbeddedPostgres(folder / "postgres") as postgres:
        db = create_engine(postgres.url("postgres"))
        migrate.upgrade(db)
        keyring = Keyring(secrets.token_bytes(32))
        population = make_population(seed, 1)
        with db.begin() as connection:
            keyring.check(connection)
            subscribers.add(connection, new_subscribers(population, datetime.now(UTC)), keyring)
        began = time.monotonic()
        match what:
            case "bounces":
                found = bounces(count, seed, db=db, keyring=keyring)
            case "requests":
                found = requests(count, seed, db=db, keyring=keyring)
            case "catalogues":
                found = catalogues(count, seed, db=db)
            case _:
                found = answers(count, seed, db=db, keyring=keyring, item_id=population.items[0].id)
        seconds = time.monotonic() - began
        db.dispose()
    return found, seconds
