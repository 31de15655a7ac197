"""The examples of docs/api.md are what the API answers: they are asked here, and the file is compared.

`WRITE_DOCS=1 pytest kordant_jobs_tests/api/test_docs.py` writes them into the file. Ids, times, digests and ETags,
which differ each time, are written as fixed ones; a long object is cut with an ellipsis.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs_tests.api.conftest import ENTITY, Api

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
BEGIN, END = "<!-- examples: written by kordant_jobs_tests/api/test_docs.py -->", "<!-- end of examples -->"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MASKS = (
    (re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+(Z|\+00:00)"), "2026-12-01T09:00:00Z"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "9f2c…"),
    (re.compile(r'"[0-9a-f]{24}"'), '"5a1e…"'),
    (re.compile(r'"[0-9a-f]{16}-proposed"'), '"9f2c…-proposed"'),
    (re.compile(r"^: ping\n\n", re.MULTILINE), ""),
)
SHOWN_HEADERS = ("location", "etag", "retry-after", "idempotency-replayed")
TOKENS = {"service": "kjs_…", "agent": "kja_…", "operator": "kjo_…", "admin": "kjo_…"}


class Book:
    """Asks, and writes down what was asked and answered."""

    def __init__(self, callers: dict[str, Api]) -> None:
        self._callers, self._lines, self._ids, self._key = callers, [""], dict[str, str](), 0

    def ask(
        self, title: str, role: str, method: str, path: str, *, status: int, body: Any = None,
        tag: str | None = None, only: tuple[str, ...] = (), key: str | None = None,
    ) -> httpx.Response:  # fmt: skip
        headers = {}
        if method == "POST":
            self._key += 1
            headers["Idempotency-Key"] = key or f"key-{self._key}"
        if tag:
            headers["If-Match"] = tag
        answer = self._callers[role](method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        asked = [f"{method} /api/jobs{path}", f"Authorization: Bearer {TOKENS[role]}"]
        asked += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            asked += ["", _pretty(body)]
        told = [f"HTTP/1.1 {status} {answer.reason_phrase}"]
        told += [f"{name.title().replace('Etag', 'ETag')}: {answer.headers[name]}"
                 for name in SHOWN_HEADERS if name in answer.headers]  # fmt: skip
        if "json" in answer.headers["content-type"]:
            found = answer.json()
            told += ["", _pretty({name: found[name] for name in only} | {"…": "…"} if only else found)]
        else:
            told += ["", answer.text.strip()]
        block = "\n".join(["```http", *asked, "```", "", "```http", *told, "```"])
        self._lines += [f"**{title}**", "", self._masked(block), ""]
        return answer

    def _masked(self, text: str) -> str:
        def name(found: re.Match[str]) -> str:
            if found[0] == ENTITY:
                return ENTITY
            return self._ids.setdefault(found[0], f"01939f00-0000-7000-8000-{len(self._ids) + 1:012x}")

        text = UUID.sub(name, text)
        for pattern, instead in MASKS:
            text = pattern.sub(instead, text)
        return text

    def text(self) -> str:
        return "\n".join([BEGIN, *self._lines, END])


def _pretty(value: Any) -> str:
    whole = json.dumps(value, ensure_ascii=False)
    return whole if len(whole) <= 110 else json.dumps(value, indent=2, ensure_ascii=False)


SCAN = {"job": "darkwatch_scan", "payload": {"subscription_ids": [ENTITY]}, "priority": "normal"}


def test_the_examples_of_the_docs_are_what_the_api_answers(callers: dict[str, Api], db: Engine) -> None:
    book = Book(callers)
    made = book.ask("Queue a request", "service", "POST", "/requests", body=SCAN, status=202).json()["id"]
    book.ask("The same again: nothing more is queued", "service", "POST", "/requests", body=SCAN, key="key-1",
             status=202, only=("id", "status"))  # fmt: skip
    book.ask("A payload that is wrong", "service", "POST", "/requests", status=422,
             body={"job": "darkwatch_scan", "payload": {"tiers": ["gold"]}})  # fmt: skip
    tag = book.ask("How it stands", "service", "GET", f"/requests/{made}", status=200,
                   only=("id", "status", "attempt", "progress", "result")).headers["etag"]  # fmt: skip
    book.ask("Another priority, unless it was changed since", "service", "PATCH", f"/requests/{made}",
             body={"priority": "low"}, tag=tag, status=200, only=("id", "priority"))  # fmt: skip
    book.ask("Follow it", "service", "GET", f"/requests/{made}/events?timeout_s=1", status=200)
    book.ask("Cancel it", "service", "POST", f"/requests/{made}/cancel", body={"note": "not needed"}, status=202,
             only=("id", "status", "state"))  # fmt: skip
    book.ask("What its state does not allow", "service", "POST", f"/requests/{made}/cancel", body={}, status=409)
    book.ask("The list", "service", "GET", "/requests?status=running&limit=2", status=200)
    changed = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "subscription.changed",
               "subject": ENTITY, "data": {"subscription_id": ENTITY}}  # fmt: skip
    book.ask("Publish an event", "service", "POST", "/events", body=changed, status=202)
    _one_is_dead(db, callers)
    where = {"action": "replay", "filter": {"job": "darkwatch_scan"}}
    book.ask("Count dead requests first", "operator", "POST", "/bulk-actions", body={**where, "dry_run": True},
             status=200)  # fmt: skip
    book.ask("Replay them", "operator", "POST", "/bulk-actions", body={**where, "expected_count": 1}, status=200)
    tag = book.ask("A row of the price list", "admin", "GET", "/schedules/notifications_send/all",
                   status=200).headers["etag"]  # fmt: skip
    book.ask("Change it", "admin", "PATCH", "/schedules/notifications_send/all", tag=tag, status=200,
             body={"changes": {"cron": "*/20 * * * *"}, "note": "fewer"}, only=("name", "version"))  # fmt: skip
    book.ask("An agent may not", "agent", "PATCH", "/schedules/notifications_send/all", tag=tag, status=403,
             body={"changes": {"cron": "*/30 * * * *"}})  # fmt: skip
    change = book.ask("It proposes", "agent", "POST", "/change-sets", status=202,
                      body={"job": "notifications_send", "changes": {"cron": "*/30 * * * *"}}).json()  # fmt: skip
    book.ask("An agent's owner may not approve its proposal", "admin", "POST", f"/change-sets/{change['id']}/approve",
             body={"digest": change["digest"]}, status=403)  # fmt: skip
    book.ask("Who am I", "agent", "GET", "/me", status=200)

    text = DOCS.read_text(encoding="utf-8")
    assert BEGIN in text
    head, _, rest = text.partition(BEGIN)
    written = head + book.text() + rest.partition(END)[2]
    if os.environ.get("WRITE_DOCS"):
        DOCS.write_text(written, encoding="utf-8")
    elif text != written:
        pytest.fail("docs/api.md is not what the API answers: run this test with WRITE_DOCS=1 and read the difference.")


def _one_is_dead(db: Engine, callers: dict[str, Api]) -> None:
    callers["service"]("POST", "/requests", json=SCAN)
    with db.begin() as connection:
        connection.execute(
            sa.text("""UPDATE kordant.job_requests SET status = 'dead', ended_at = now(), attempt = 4,
            cause = 'exception', error = 'boom' WHERE status = 'pending' AND job = 'darkwatch_scan'""")
        )
