"""A fake of Have I Been Pwned, API v3: its sixteen test accounts, a few breaches, and its moods by order."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kordant_jobs.lab.fakes.sources.server import Asked, FakeServer, Reply

TEST_DOMAIN = "hibp-integration-tests.com"
TEST_KEY = "0" * 32
"""HIBP takes any key of this form for its test accounts."""


def breach(name: str, **more: Any) -> dict[str, Any]:
    """One breach in HIBP's model."""
    return {
        "Name": name,
        "Title": name,
        "Domain": f"{name.lower()}.com",
        "BreachDate": "2013-10-04",
        "AddedDate": "2013-12-04T00:00:00Z",
        "ModifiedDate": "2022-05-15T23:52:49Z",
        "PwnCount": 152445165,
        "Description": f"In October 2013, <b>{name}</b> was breached.",
        "LogoPath": f"https://logos.haveibeenpwned.com/{name}.png",
        "Attribution": None,
        "DisclosureUrl": None,
        "DataClasses": ["Email addresses", "Passwords"],
        "IsVerified": True,
        "IsFabricated": False,
        "IsSensitive": False,
        "IsRetired": False,
        "IsSpamList": False,
        "IsMalware": False,
        "IsStealerLog": False,
        "IsSubscriptionFree": False,
        **more,
    }


BREACHES = (
    breach("Adobe"),
    breach("Gawker", AddedDate="2013-12-04T00:00:00Z", BreachDate="2010-12-11"),
    breach("Stratfor", BreachDate="2011-12-24", DataClasses=["Credit cards", "Email addresses", "Passwords"]),
    breach("OnlinerSpambot", IsSpamList=True, Domain="", DataClasses=["Email addresses"]),
    breach("Unverified", IsVerified=False),
    breach("AdultFriendFinder", IsSensitive=True),
    breach("FreeForAll", IsSubscriptionFree=True),
    breach("TelegramStealerLogs", IsStealerLog=True, Domain=""),
    breach("OldForum", IsRetired=True),
)

ACCOUNTS: Mapping[str, tuple[str, ...]] = {
    "account-exists": ("Adobe",),
    "multiple-breaches": ("Adobe", "Gawker", "Stratfor"),
    "not-active-and-active-breach": ("Adobe", "OldForum"),
    "not-active-breach": ("OldForum",),
    "opt-out": (),
    "opt-out-breach": (),
    "paste-sensitive-breach": ("AdultFriendFinder",),
    "permanent-opt-out": (),
    "sensitive-and-other-breaches": ("Adobe", "AdultFriendFinder", "Gawker"),
    "sensitive-breach": ("AdultFriendFinder",),
    "spam-list-only": ("OnlinerSpambot",),
    "spam-list-and-others": ("Adobe", "OnlinerSpambot"),
    "stealer-log": ("TelegramStealerLogs",),
    "subscription-free-and-other-breaches": ("Adobe", "FreeForAll"),
    "subscription-free-breach": ("FreeForAll",),
    "unverified-breach": ("Unverified",),
}
"""The sixteen aliases of HIBP's integration tests, with what lies behind them; the sensitive
and retired ones never show."""

PASTED = frozenset({"account-exists", "paste-sensitive-breach"})

_KEY = re.compile(r"[0-9a-f]{32}")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def sha1_of(text: str) -> str:
    """The hash that HIBP goes by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().upper()


def _refused(status: int, message: str, **headers: str) -> Reply:
    body = {"statusCode": status, "message": message}
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(kw_only=True)
class FakeHibp:
    """The data and the behaviour of the fake; tests may change them while it serves."""

    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Beside the test accounts: account → names of breaches, sensitive and retired ones included."""
    breaches: dict[str, dict[str, Any]] = field(default_factory=lambda: {one["Name"]: dict(one) for one in BREACHES})
    verified_domains: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    stealer_logs: dict[str, list[str]] = field(default_factory=dict)
    includes_k_anonymity: bool = True
    rpm: int = 10
    allowance: int | None = None
    """Requests until the rate limit answers 429; None: no limit."""
    hiccups: int = 0
    """So many requests more get a 503."""
    shuffles: bool = True

    def server(self) -> FakeServer:
        """A server with these answers."""
        return FakeServer(self.answer)

    def retire(self, name: str) -> None:
        """The breach is not returned any more."""
        self.breaches[name]["IsRetired"] = True

    def rename(self, name: str, title: str) -> None:
        """The title changes, the name never."""
        self.breaches[name]["Title"] = title

    def answer(self, asked: Asked) -> Reply:
        """The answer to one request."""
        path = asked.path.removeprefix("/api/v3").strip("/").split("/")
        if "user-agent" not in asked.headers:
            return _refused(403, "API request must include a user agent")
        if self.hiccups:
            self.hiccups -= 1
            return Reply(status=503, body=b"<html>busy</html>", headers={"content-type": "text/html"})
        match path:
            case ["breaches"]:
                return Reply(body=sorted(self.breaches.values(), key=lambda one: str(one["Title"])))
            case ["latestbreach"]:
                return Reply(body=max(self.breaches.values(), key=lambda one: str(one["AddedDate"])))
            case ["breach", name]:
                return Reply(body=self.breaches[name]) if name in self.breaches else Reply(status=404)
            case _:
                return self._with_key(path, asked)

    def _with_key(self, path: list[str], asked: Asked) -> Reply:
        key = asked.headers.get("hibp-api-key")
        if key is None:
            return _refused(401, "Access denied due to missing hibp-api-key.")
        if not _KEY.fullmatch(key):
            return _refused(401, "Access denied due to improperly formed hibp-api-key.")
        if self.allowance is not None:
            if self.allowance <= 0:
                return _refused(429, "Rate limit is exceeded. Try again in 2 seconds.", retry_after="2")
            self.allowance -= 1
        match path:
            case ["breachedaccount", "range", prefix]:
                return self._range(prefix)
            case ["breachedaccount", account]:
                return self._account(account, truncated=asked.query.get("truncateResponse", "true") != "false")
            case ["pasteaccount", account]:
                return self._pastes(account)
            case ["breacheddomain", domain]:
                return self._domain(domain)
            case [("stealerlogsbyemail" | "stealerlogsbyemaildomain"), asked_for]:
                return self._stealer_logs_of(asked_for.lower())
            case ["subscribeddomains"]:
                return Reply(body=[{"DomainName": domain, "PwnCount": None} for domain in self.verified_domains])
            case ["subscription", "status"]:
                return Reply(body=self._status())
            case _:
                return Reply(status=404)

    def _names(self, account: str) -> tuple[str, ...]:
        alias, _, domain = account.strip().lower().partition("@")
        behind = ACCOUNTS.get(alias, ()) if domain == TEST_DOMAIN else self.accounts.get(account.strip().lower(), ())
        flags = [(name, self.breaches[name]) for name in behind]
        return tuple(name for name, one in flags if not one["IsSensitive"] and not one["IsRetired"])

    def _account(self, account: str, *, truncated: bool) -> Reply:
        if not account.strip():
            return _refused(400, "The account is malformed.")
        names = list(self._names(account))
        if self.shuffles:
            names.sort(key=sha1_of)
        if not names:
            return Reply(status=404)
        return Reply(body=[{"Name": name} if truncated else self.breaches[name] for name in names])

    def _range(self, prefix: str) -> Reply:
        if not self.includes_k_anonymity:
            return _refused(403, "Your HIBP API key does not have access to this resource")
        if not re.fullmatch(r"[0-9A-Fa-f]{6}", prefix):
            return Reply(status=400, body=b"Invalid hex prefix", headers={"content-type": "text/plain"})
        rows = [row for row in self._hashed() if row[0].startswith(prefix.upper())]
        if not rows:
            text = b"There are no hashes beginning with that prefix"
            return Reply(status=404, body=text, headers={"content-type": "text/plain"})
        others = [(sha1_of(f"{prefix}{n}"), ("Adobe",)) for n in range(400)]
        rows += [(prefix.upper() + digest[6:], names) for digest, names in others]
        rows.sort(key=lambda row: row[0][::-1])
        return Reply(body=[{"hashSuffix": digest[6:], "websites": list(names)} for digest, names in rows])

    def _hashed(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        known = [*self.accounts, *(f"{alias}@{TEST_DOMAIN}" for alias in ACCOUNTS)]
        for account in known:
            if names := self._names(account):
                yield sha1_of(account), names

    def _pastes(self, account: str) -> Reply:
        if not _MAIL.fullmatch(account):
            return _refused(400, "The account is no e-mail address.")
        alias, _, domain = account.lower().partition("@")
        if domain != TEST_DOMAIN or alias not in PASTED:
            return Reply(status=404)
        return Reply(body=[{"Source": "Pastebin", "Id": "8Q0BvKD8", "Title": None, "Date": None, "EmailCount": 139}])

    def _domain(self, domain: str) -> Reply:
        if domain not in self.verified_domains:
            return _refused(403, "The domain has not been verified.")
        found = self.verified_domains[domain]
        return Reply(body=found) if found else Reply(status=404)

    def _stealer_logs_of(self, asked_for: str) -> Reply:
        alias, _, domain = asked_for.rpartition("@")
        if domain not in self.verified_domains:
            return _refused(403, "The domain has not been verified.")
        split = ((account.partition("@"), sites) for account, sites in self.stealer_logs.items())
        found = {whose: sites for (whose, _, of), sites in split if of == domain}
        body = found.get(alias) if alias else found
        return Reply(body=body) if body else Reply(status=404)

    def _status(self) -> dict[str, Any]:
        return {
            "SubscriptionName": "Pwned 1",
            "Description": "For tests",
            "SubscribedUntil": "2030-01-01T00:00:00",
            "Rpm": self.rpm,
            "DomainSearchMaxBreachedAccounts": 25,
            "MaxBreachedDomains": None,
            "IncludesStealerLogs": bool(self.stealer_logs),
            "IncludesKAnon": self.includes_k_anonymity,
        }
