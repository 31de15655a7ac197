"""The HTTP server of fakes of sources: what it is asked with path and query apart, and a log of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kordant_jobs.lab.fakes import http as fake_http


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came: `target` is what stood in the request line, `path` its decoded path."""

    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. A body that is not bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeServer(fake_http.FakeServer):
    """Serves while the `with` block lasts. `answer` is asked for every request, from several threads."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        super().__init__()
        self.log: list[Asked] = []
        self._answer = answer

    def take(self, asked: fake_http.Asked) -> fake_http.Answer:
        """Answer it, beside others: an answer that waits on purpose delays no other."""
        return self.answer(asked)

    def answer(self, asked: fake_http.Asked) -> fake_http.Answer:
        """The configured answer, after a line in the log."""
        parts = urlsplit(asked.path)
        one = Asked(
            target=asked.path,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query)),
            headers=asked.headers,
        )
        self.log.append(one)
        reply = self._answer(one)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"content-type": "application/json; charset=utf-8", **reply.headers}
        return fake_http.Answer(status=reply.status, body=body, headers=headers)
