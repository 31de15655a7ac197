"""Faults of a provider: by script (the next request), or now and then by a seeded die."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random

from kordant_jobs.lab.fakes.http import Answer, Asked

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

KINDS = (
    "429", "429_date", "500", "502_html", "503", "504", "hang_up", "truncated", "cut", "not_json", "wrong_charset",
)  # fmt: skip


@dataclass
class Faults:
    """`script` holds what becomes of the next requests ("ok": nothing); then each fails with `rate`."""

    script: deque[str] = field(default_factory=deque)
    rate: float = 0.0
    seed: int = 1
    latency_s: float = 0.0
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        self._dice = Random(self.seed)  # noqa: S311 - reproducible, and no secret

    def on(self, asked: Asked, answer: Answer, now: datetime) -> Answer:
        """The answer, or what goes wrong with it."""
        kind = self.script.popleft() if self.script else "ok"
        if kind == "ok" and self.rate and self._dice.random() < self.rate:
            kind = self._dice.choice(self.kinds)
        if kind == "ok":
            return Answer(
                status=answer.status, body=answer.body, headers=answer.headers, delay_s=answer.delay_s + self.latency_s
            )
        return _broken(kind, answer, now)


def _broken(kind: str, answer: Answer, now: datetime) -> Answer:
    match kind:
        case "429":
            return Answer.of(429, {"code": 429, "message": "too many"}, retry_after="1")
        case "429_date":
            later = format_datetime(now + timedelta(seconds=2), usegmt=True)
            return Answer.of(429, {"code": 429, "message": "too many"}, retry_after=later)
        case "502_html":
            return Answer(status=502, body=HTML, headers={"content-type": "text/html"})
        case "hang_up":
            return Answer(status=200, hang_up=True)
        case "truncated":
            return Answer(status=200, body=answer.body[: len(answer.body) // 2], headers=answer.headers)
        case "cut":
            return Answer(status=200, body=answer.body, headers=answer.headers, cut_at=len(answer.body) // 2)
        case "not_json":
            return Answer(status=200, body=b"null", headers={"content-type": "application/json"})
        case "wrong_charset":
            return Answer(status=200, body=answer.body + b"\xff\xfe", headers=answer.headers)
        case "empty":
            return Answer.of(200, {"results": [], "data": [], "links": {}, "next": None})
        case "hang":
            return Answer(status=answer.status, body=answer.body, headers=answer.headers, delay_s=30.0)
        case _:
            return Answer.of(int(kind), {"code": int(kind), "message": "fault"})
