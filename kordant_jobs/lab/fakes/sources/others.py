"""Fakes of XposedOrNot and LeakCheck."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from kordant_jobs.lab.fakes.sources.server import Asked, FakeServer, Reply

_TEXT = {"content-type": "text/plain"}


@dataclass(kw_only=True)
class FakeXposedOrNot:
    """check-email and breaches. `not_found_status`: the documentation says 404, the source code 200."""

    accounts: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"found@example.com": ("Tesco", "KiwiFarms")})
    not_found_status: int = 404
    allowance: int | None = None

    def server(self) -> FakeServer:
        """A server with these answers."""
        return FakeServer(self.answer)

    def answer(self, asked: Asked) -> Reply:
        """The answer to one request."""
        if self.allowance is not None:
            if self.allowance <= 0:
                body = {"detail": "Rate limit exceeded", "retry_after": 3600, "reset_time": "2026-01-01T00:00:00"}
                return Reply(status=429, body=body, headers={"retry-after": "3600"})
            self.allowance -= 1
        if asked.path.startswith("/v1/check-email/"):
            email = asked.path.removeprefix("/v1/check-email/").lower()
            names = self.accounts.get(email)
            if names is None:
                return Reply(status=self.not_found_status, body={"Error": "Not found", "email": None})
            return Reply(body={"breaches": [list(names)], "email": email, "status": "success"})
        if asked.path == "/v1/breaches":
            return Reply(body=self._breaches(asked.query.get("breach_id")))
        return Reply(status=404, body={"detail": "Not Found"})

    def _breaches(self, wanted: str | None) -> dict[str, Any]:
        known = {name for names in self.accounts.values() for name in names}
        rows = [
            {
                "breachID": name,
                "breachedDate": "2017-06-01T00:00:00+00:00",
                "addedDate": "2019-01-01T00:00:00+00:00",
                "domain": f"{name.lower()}.com",
                "industry": "Retail",
                "passwordRisk": "plaintext",
                "searchable": True,
                "sensitive": False,
                "verified": True,
                "exposedData": ["Email addresses", "Passwords"],
                "exposedRecords": 2_239,
                "exposureDescription": "…",
            }
            for name in sorted(known)
            if wanted in {None, name}
        ]
        return {"status": "success", "exposedBreaches": rows} if rows else {"status": "notFound"}


@dataclass(kw_only=True)
class FakeLeakCheck:
    """The public API and Pro v2. `accounts` go by address, user name or phone; answers of Pro hold a password."""

    accounts: dict[str, tuple[tuple[str, str | None], ...]] = field(
        default_factory=lambda: {"found@example.com": (("Adobe.com", "2013-10"), ("Evony.com", None))}
    )
    key: str = "c" * 40
    password: str = "hunter2-in-clear"  # noqa: S105 - what must not be kept

    def server(self) -> FakeServer:
        """A server with these answers."""
        return FakeServer(self.answer)

    def answer(self, asked: Asked) -> Reply:
        """The answer to one request."""
        if asked.path == "/api/public":
            return Reply(body=self._public(asked.query.get("check", "")))
        if not asked.path.startswith("/api/v2/query/"):
            return Reply(status=404, body={"success": False, "error": "No such page"})
        if "x-api-key" not in asked.headers:
            return Reply(status=401, body={"success": False, "error": "Missing X-API-Key header"})
        if asked.headers["x-api-key"] != self.key:
            return Reply(status=400, body={"success": False, "error": "Invalid X-API-Key"})
        return Reply(body=self._pro(asked.path.removeprefix("/api/v2/query/")))

    def _of(self, asked: str) -> tuple[tuple[str, str | None], ...]:
        by_hash = {hashlib.sha256(one.encode()).hexdigest()[:24]: found for one, found in self.accounts.items()}
        return by_hash.get(asked.lower()) or (self.accounts.get(asked.lower(), ()) if "@" not in asked else ())

    def _public(self, asked: str) -> dict[str, Any]:
        found = self._of(asked)
        if not found:
            return {"success": False, "error": "Not found"}
        sources = [{"name": name, "date": when or ""} for name, when in found]
        return {"success": True, "found": len(found), "fields": ["username", "password"], "sources": sources}

    def _pro(self, asked: str) -> dict[str, Any]:
        rows = [
            {
                "email": "found@example.com",
                "password": self.password,
                "first_name": "Ann",
                "source": {"name": name, "breach_date": when, "unverified": 0, "passwordless": 0, "compilation": 0},
                "fields": ["email", "password", "first_name"],
            }
            for name, when in self._of(asked)
        ]
        return {"success": True, "found": len(rows), "quota": 400, "result": rows}
