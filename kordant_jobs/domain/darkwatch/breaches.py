"""A breach: an incident at a company, in the model of Have I Been Pwned (API v3, 'The breach model')."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class BreachSource(StrEnum):
    """The source that reported a breach."""

    HIBP = "hibp"
    DUMP = "dump"
    """A dump of an unknown breach; its name is made from its content."""
    PASTE = "paste"
    """A published text; HIBP lists those with addresses."""
    XPOSEDORNOT = "xposedornot"
    LEAKCHECK = "leakcheck"


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One breach. `name` is the stable key: a title may change, a name never does. `description` is sanitised HTML.
    `breached_on` is approximate, as the catalogue itself states. `extra` has the catalogue's keys that we have no field
    for."""

    name: str
    title: str
    domain: str = ""
    breached_on: date | None = None
    added_at: datetime | None = None
    modified_at: datetime | None = None
    pwn_count: int | None = None
    description: str = ""
    data_classes: tuple[str, ...] = ()
    is_verified: bool = False
    is_fabricated: bool = False
    is_sensitive: bool = False
    is_retired: bool = False
    is_spam_list: bool = False
    is_malware: bool = False
    is_stealer_log: bool = False
    is_subscription_free: bool = False
    logo_path: str | None = None
    attribution: str | None = None
    disclosure_url: str | None = None
    source: BreachSource = BreachSource.HIBP
    extra: dict[str, Any] = field(default_factory=dict)
