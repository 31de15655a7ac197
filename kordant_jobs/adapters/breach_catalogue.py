"""The catalogue of known breaches, in the model of Have I Been Pwned: from a file, or from the keyless endpoint.

Breach data by Have I Been Pwned is licensed CC BY 4.0; every page that shows it must name the source.
"""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import nh3
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from kordant_jobs import outside_json
from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.errors import CatalogueUnreadable, SourceUnavailable
from kordant_jobs.ports import BreachCatalogue
from kordant_jobs.redaction import storable

USER_AGENT = "kordant-jobs"
"""HIBP answers 403 without one ('API v3', 'Specifying the user agent')."""

MAX_BYTES = 64 << 20
"""The whole catalogue was 1.1 MB with 920 breaches in November 2025."""

DESCRIPTION_TAGS = {"a", "em", "strong", "i", "b", "p", "br", "ul", "ol", "li", "blockquote", "code"}


DEPTH_MAX = 20
LARGEST = 2**63 - 1


def _keepable(value: Any, depth: int = 0) -> bool:
    """True when a database can store a JSON value: no NUL, no unpaired surrogate, no number beyond its range, not
    nested too deep."""
    if isinstance(value, str):
        return value == storable(value)
    if isinstance(value, dict):
        return depth < DEPTH_MAX and all(_keepable(part, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return depth < DEPTH_MAX and all(_keepable(part, depth + 1) for part in value)
    return not isinstance(value, int | float) or -LARGEST <= value <= LARGEST  # which NaN is not


def _sanitised(html: Any) -> str:
    if not isinstance(html, str):
        raise ValueError("a description is a text")  # noqa: TRY004 - pydantic's way
    return nh3.clean(html, tags=DESCRIPTION_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https"})


class HibpBreach(BaseModel):
    """The breach model of HIBP v3. Keys without a field are kept in `extra`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: str = Field(alias="Name", min_length=1, max_length=200)
    title: str = Field(alias="Title", max_length=500)
    domain: Annotated[str, BeforeValidator(lambda value: value or "")] = Field("", alias="Domain")
    breached_on: date | None = Field(None, alias="BreachDate")
    added_at: datetime | None = Field(None, alias="AddedDate")
    modified_at: datetime | None = Field(None, alias="ModifiedDate")
    pwn_count: int | None = Field(None, alias="PwnCount")
    description: Annotated[str, BeforeValidator(lambda value: _sanitised(value or ""))] = Field("", alias="Description")
    data_classes: tuple[str, ...] = Field((), alias="DataClasses")
    is_verified: bool = Field(False, alias="IsVerified")
    is_fabricated: bool = Field(False, alias="IsFabricated")
    is_sensitive: bool = Field(False, alias="IsSensitive")
    is_retired: bool = Field(False, alias="IsRetired")
    is_spam_list: bool = Field(False, alias="IsSpamList")
    is_malware: bool = Field(False, alias="IsMalware")
    is_stealer_log: bool = Field(False, alias="IsStealerLog")
    is_subscription_free: bool = Field(False, alias="IsSubscriptionFree")
    logo_path: str | None = Field(None, alias="LogoPath")
    attribution: str | None = Field(None, alias="Attribution")
    disclosure_url: str | None = Field(None, alias="DisclosureUrl")

    @model_validator(mode="before")
    @classmethod
    def _must_be_keepable(cls, values: Any) -> Any:
        if not _keepable(values):
            raise ValueError("it holds what no database can")
        return values

    def breach(self) -> Breach:
        """The same breach as our own value."""
        return Breach(**self.model_dump(exclude=set(self.model_extra or ())), extra=dict(self.model_extra or {}))


_ONE = TypeAdapter(HibpBreach)


def parse_catalogue(content: bytes) -> tuple[list[Breach], int]:
    """The breaches of a catalogue, and the number of entries that are no breach (they are left out).

    Raises:
        CatalogueUnreadable: it is not a JSON array of objects, or no entry of it is a breach.
    """
    try:
        entries = outside_json.loads(content)
    except ValueError:
        raise CatalogueUnreadable(
            "the breach catalogue is not JSON. Give the answer of GET /api/v3/breaches as a file, or its address."
        ) from None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise CatalogueUnreadable("the breach catalogue is JSON, but not an array of breaches (HIBP v3 model).")
    breaches: dict[str, Breach] = {}
    rejected = 0
    for entry in entries:
        try:
            breach = _ONE.validate_python(entry).breach()
        except ValidationError:
            rejected += 1
        else:
            breaches[breach.name] = breach
    if entries and not breaches:
        raise CatalogueUnreadable(
            f"none of the {len(entries)} entries of the breach catalogue is a breach (HIBP v3 model)."
        )
    return list(breaches.values()), rejected


class FileCatalogue:
    """A catalogue in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            SourceUnavailable: it cannot be read.
        """
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise SourceUnavailable(
                f"the breach catalogue cannot be read ({error.strerror}). Check KORDANT_BREACH_CATALOGUE."
            ) from None


class HttpCatalogue:
    """A catalogue at a URL; HIBP's needs no key."""

    def __init__(self, url: str, *, timeout_s: float = 20.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def read(self) -> bytes:
        """The answer's bytes.

        Raises:
            SourceUnavailable: no answer in time, or not a 200 of JSON; with the server's Retry-After.
        """
        import httpx  # takes a quarter of a second, and a catalogue is mostly a file

        try:
            with httpx.stream("GET", self._url, headers={"user-agent": USER_AGENT}, timeout=self._timeout_s) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise SourceUnavailable(
                        f"the breach catalogue answered {answer.status_code}; it is asked again at the next scan.",
                        retry_after_s=_seconds(answer.headers.get("retry-after")),
                    )
                content = bytearray()
                for block in answer.iter_bytes():
                    content += block
                    if len(content) > MAX_BYTES:
                        raise SourceUnavailable(f"the breach catalogue is larger than {MAX_BYTES >> 20} MB.")
        except httpx.HTTPError as error:
            raise SourceUnavailable(
                f"the breach catalogue did not answer ({type(error).__name__}); it is asked again at the next scan."
            ) from None
        return bytes(content)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None


def open_catalogue(where: str | None) -> BreachCatalogue | None:
    """The catalogue that a setting names; None without the setting."""
    if where is None:
        return None
    return HttpCatalogue(where) if where.startswith(("http://", "https://")) else FileCatalogue(Path(where))
