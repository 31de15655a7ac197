"""XposedOrNot, API v1: e-mail addresses, without a key. It receives the full address, so it is off unless
configured."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from kordant_jobs.adapters.sources.http import HttpSource, Reply, Session, SourceFailed
from kordant_jobs.domain.darkwatch.breaches import Breach, BreachSource
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import Finding, Question


class _Found(BaseModel):
    model_config = ConfigDict(extra="ignore")

    breaches: list[list[str]] | None = None
    email: str | None = None
    status: str | None = None
    error: str | None = Field(None, alias="Error")


class _Exposed(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(alias="breachID", min_length=1, max_length=200)
    breached_at: datetime | date | None = Field(None, alias="breachedDate")
    added_at: datetime | None = Field(None, alias="addedDate")
    domain: str | None = None
    exposed_data: list[str] = Field(default=[], alias="exposedData")
    records: int | None = Field(None, alias="exposedRecords")
    sensitive: bool = False
    verified: bool = False


class _Exposures(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: str
    exposed: list[_Exposed] = Field(default=[], alias="exposedBreaches")


_FOUND = TypeAdapter(_Found)
_EXPOSURES = TypeAdapter(_Exposures)


class XposedOrNot(HttpSource):
    """The consumer API: two requests a second, 25 an hour, 100 a day from one IP address."""

    source = Source.XPOSEDORNOT
    name_of_service = "XposedOrNot"

    def _headers(self) -> Mapping[str, str]:
        return {}

    def requests_for(self, kind: IdentifierKind) -> int:
        """One request for an e-mail address; 0 for other kinds, which the source does not accept."""
        return int(kind is IdentifierKind.EMAIL)

    async def _findings(self, session: Session, question: Question) -> Sequence[Finding]:
        reply = await session.get(f"{self._base}/v1/check-email/{quote(question.canonical, safe='')}")
        return [Finding(reference=name) for name in _names(reply, question.canonical)]

    def describe(self, reference: str) -> Breach | None:
        """One breach by its id.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """
        reply = self.fetch("/v1/breaches", params={"breach_id": reference})
        if reply.status == 404 and not reply.looks_like_a_page:
            return None
        try:
            rows = reply.read_as(_EXPOSURES).exposed
        except SourceFailed as failure:
            raise SourceUnavailable(f"XposedOrNot gave no usable answer ({failure.reason}).") from None
        return next((_breach(row) for row in rows if row.name == reference), None)


def _names(reply: Reply, asked: str) -> list[str]:
    """The breaches in the answer `[["Tesco", "KiwiFarms"]]`; empty for 'Error: Not found', with 404 or 200.

    Raises:
        SourceFailed: it is neither, or the answer to another question.
    """
    found = reply.read_as(_FOUND)
    if found.error is not None:
        if found.error.strip().lower() == "not found":
            return []
        raise SourceFailed(UnknownReason.UNREADABLE)
    names = [name for inner in found.breaches or () for name in inner if name]
    another = found.email is not None and found.email.strip().lower() != asked
    if reply.status != 200 or not names or another:
        raise SourceFailed(UnknownReason.UNREADABLE)
    return names


def _breach(row: _Exposed) -> Breach:
    moment: Any = row.breached_at
    return Breach(
        name=row.name,
        title=row.name,
        domain=row.domain or "",
        breached_on=moment.date() if isinstance(moment, datetime) else moment,
        added_at=row.added_at,
        pwn_count=row.records,
        data_classes=tuple(row.exposed_data),
        is_verified=row.verified,
        is_sensitive=row.sensitive,
        source=BreachSource.XPOSEDORNOT,
    )
