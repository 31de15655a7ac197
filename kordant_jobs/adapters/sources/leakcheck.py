"""LeakCheck: the public API (only names of sources), or Pro v2 with a key. An e-mail address is sent only as the first
24 digits of its SHA-256. Every page that shows findings of the public API must write 'Powered by LeakCheck'."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter

from kordant_jobs.adapters.sources.http import HttpLimits, HttpSource, Reply, Session, SourceFailed
from kordant_jobs.domain.darkwatch.breaches import Breach, BreachSource
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.ports import Finding, Question, SourceTerms

LEAKCHECK_URL = "https://leakcheck.io/api"
HASH_DIGITS = 24
"""The number of digits that the public API requires; Pro accepts a hash cut to them too."""

PRO_REQUESTS_PER_MINUTE = 120
"""Pro allows three requests a second; two a second plus a burst of one never exceed that."""

ROWS_MOST = 1000
"""The most rows of one answer of Pro; an address in more leaks than that is exposed in any case."""

FIELDS = {
    "password": "Passwords",
    "username": "Usernames",
    "phone": "Phone numbers",
    "name": "Names",
    "first_name": "Names",
    "last_name": "Names",
    "dob": "Dates of birth",
    "address": "Physical addresses",
    "city": "Geographic locations",
    "country": "Geographic locations",
    "zip": "Physical addresses",
    "ip": "IP addresses",
    "ssn": "Social security numbers",
}
"""LeakCheck's fields as HIBP's data classes, which all our rules use; other fields are ignored."""

_DATE = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Listed(_Row):
    name: str
    date: str | None = None


class _Public(_Row):
    success: bool
    found: int = 0
    error: str | None = None
    fields: list[str] = []
    sources: list[_Listed] = []


class _ProSource(_Row):
    name: str
    breach_date: str | None = None
    unverified: int = 0
    compilation: int = 0


class _ProRow(_Row):
    """A row of Pro without its personal fields: passwords come in clear text, and are not even read."""

    source: _ProSource
    fields: list[str] = []


class _Pro(_Row):
    success: bool
    found: int = 0
    error: str | None = None
    result: list[_ProRow] = []


_PUBLIC = TypeAdapter(_Public)
_PRO = TypeAdapter(_Pro)


def email_hash(canonical: str) -> str:
    """The hash that is sent in place of an address.

    >>> len(email_hash("test@example.com"))
    24
    """
    return hashlib.sha256(canonical.lower().encode()).hexdigest()[:HASH_DIGITS]


class LeakCheck(HttpSource):
    """LeakCheck Pro with a key, else the public API."""

    source = Source.LEAKCHECK
    name_of_service = "LeakCheck"

    def __init__(
        self, key: SecretStr | None = None, *, base_url: str = LEAKCHECK_URL, limits: HttpLimits | None = None
    ) -> None:
        super().__init__(base_url, limits=limits)
        self._key = key

    def _headers(self) -> Mapping[str, str]:
        return {"x-api-key": self._key.get_secret_value()} if self._key else {}

    def requests_for(self, kind: IdentifierKind) -> int:
        """The number of requests for an identifier of this kind: 1 for an e-mail address or username, and with a key
        also for a phone number or domain; otherwise 0."""
        if kind in {IdentifierKind.PHONE, IdentifierKind.DOMAIN}:
            return int(self._key is not None)
        return int(kind in {IdentifierKind.EMAIL, IdentifierKind.USERNAME})

    def terms(self) -> SourceTerms | None:
        """Pro's rate with a key; no request is needed."""
        return SourceTerms(requests_per_minute=PRO_REQUESTS_PER_MINUTE, burst=1) if self._key else None

    async def _findings(self, session: Session, question: Question) -> Sequence[Finding]:
        hashed = question.kind is IdentifierKind.EMAIL
        asked = email_hash(question.canonical) if hashed else question.canonical
        if self._key is None:
            reply = await session.get(f"{self._base}/public", params={"check": asked})
            return _public(reply)
        reply = await session.get(
            f"{self._base}/v2/query/{quote(asked, safe='')}",
            params={"type": "hash" if hashed else question.kind.value, "limit": str(ROWS_MOST)},
        )
        return _pro(reply)

    def describe(self, reference: str) -> Breach | None:
        """None: its answers have all that it knows."""
        return None


def _nothing(success: bool, error: str | None) -> bool:
    """True for the answer 'not found'.

    Raises:
        SourceFailed: it says something else went wrong.
    """
    if success:
        return False
    if (error or "").strip().lower() == "not found":
        return True
    raise SourceFailed(UnknownReason.UNREADABLE)


def _checked(reply: Reply) -> Reply:
    if reply.status != 200:
        raise SourceFailed(UnknownReason.UNREADABLE)
    return reply


def _public(reply: Reply) -> Sequence[Finding]:
    answer = _checked(reply).read_as(_PUBLIC)
    if _nothing(answer.success, answer.error):
        return ()
    if not answer.sources and answer.found:
        raise SourceFailed(UnknownReason.UNREADABLE)
    return [
        Finding(reference=one.name or "Unknown", breach=_breach(one.name, one.date, answer.fields))
        for one in answer.sources
    ]


def _pro(reply: Reply) -> Sequence[Finding]:
    answer = _checked(reply).read_as(_PRO)
    if _nothing(answer.success, answer.error) or (answer.found == 0 and not answer.result):
        return ()
    if not answer.result:
        raise SourceFailed(UnknownReason.UNREADABLE)
    by_name: dict[str, tuple[_ProSource, set[str]]] = {}
    for row in answer.result:
        by_name.setdefault(row.source.name or "Unknown", (row.source, set()))[1].update(row.fields)
    return [
        Finding(
            reference=name,
            breach=_breach(name, source.breach_date, sorted(fields), verified=not source.unverified),
        )
        for name, (source, fields) in by_name.items()
    ]


def _breach(name: str, when: str | None, fields: Iterable[str], *, verified: bool = True) -> Breach:
    classes = {"Email addresses", *(FIELDS[field] for field in fields if field in FIELDS)}
    return Breach(
        name=name or "Unknown",
        title=name or "Unknown",
        domain=name.lower() if re.fullmatch(r"[\w-]+(\.[\w-]+)+", name) else "",
        breached_on=_day(when),
        data_classes=tuple(sorted(classes)),
        is_verified=verified,
        source=BreachSource.LEAKCHECK,
    )


def _day(text: str | None) -> date | None:
    """`2019-07` or `2019-07-03` as a day; the first of the month where only the month is given.

    >>> _day("2019-07"), _day("?")
    (datetime.date(2019, 7, 1), None)
    """
    parts = _DATE.fullmatch(text or "")
    if parts is None:
        return None
    try:
        return date(int(parts[1]), int(parts[2]), int(parts[3] or 1))
    except ValueError:
        return None
