"""The sources that one suite holds to their contracts: each against its fake, and, when asked for, the real service.

`KORDANT_TEST_REAL_SOURCES=1` turns to the real ones: HIBP's integration-test accounts (any key is good for them),
the keyless APIs with addresses that belong to nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from pydantic import SecretStr

from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.http import HttpLimits, HttpSource
from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.lab.fakes.sources.hibp import TEST_DOMAIN, TEST_KEY, FakeHibp
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck, FakeXposedOrNot
from kordant_jobs.ports import Question

REAL = os.environ.get("KORDANT_TEST_REAL_SOURCES") == "1"
QUICK = HttpLimits(connect_s=5, read_s=0.3, total_s=0.4, max_bytes=1 << 20)
"""For what never ends by itself. `read_s` is what the slow drip stays far within, so that only `total_s` ends it."""
PATIENT = HttpLimits(connect_s=20, read_s=20, total_s=20, max_bytes=1 << 20)
"""For what ends by itself, so that a busy machine is not taken for a slow source."""
NAMES = ("hibp", "hibp_range", "xposedornot", "leakcheck", "leakcheck_pro")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source with an address that it has in a breach, and one that it has not."""

    source: HttpSource
    found: str
    clean: str


def source_at(name: str, url: str, limits: HttpLimits | None = None) -> HttpSource:
    """The adapter of a source, turned to a server at `url`."""
    key, base = SecretStr(TEST_KEY), f"{url}/api/v3"
    match name:
        case "hibp":
            return Hibp(key, base_url=base, limits=limits)
        case "hibp_range":
            return Hibp(key, base_url=base, use_range=True, limits=limits)
        case "xposedornot":
            return XposedOrNot(url, limits=limits)
        case "leakcheck":
            return LeakCheck(base_url=f"{url}/api", limits=limits)
        case _:
            return LeakCheck(SecretStr(FakeLeakCheck().key), base_url=f"{url}/api", limits=limits)


_FAKES = {
    "hibp": FakeHibp,
    "hibp_range": FakeHibp,
    "xposedornot": FakeXposedOrNot,
    "leakcheck": FakeLeakCheck,
    "leakcheck_pro": FakeLeakCheck,
}


@contextmanager
def provider(name: str) -> Iterator[Case]:
    """A source against its fake, or against the real service."""
    hibp = name.startswith("hibp")
    found = f"account-exists@{TEST_DOMAIN}" if hibp else "found@example.com"
    clean = f"opt-out@{TEST_DOMAIN}" if hibp else "clean@example.com"
    if REAL:
        if name == "hibp":
            yield Case(source=Hibp(SecretStr(TEST_KEY)), found=found, clean=clean)
        else:
            source = XposedOrNot("https://api.xposedornot.com") if name == "xposedornot" else LeakCheck()
            yield Case(source=source, found="test@example.com", clean=f"nobody-{uuid4().hex}@example.com")
        return
    with _FAKES[name]().server() as server:
        yield Case(source=source_at(name, server.url), found=found, clean=clean)


def about(address: str, kind: IdentifierKind = IdentifierKind.EMAIL) -> Question:
    """A question about an identifier."""
    return Question(item_id=uuid4(), kind=kind, canonical=address)
