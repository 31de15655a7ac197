"""Retention terms of reports, and the signed links that open one for a limited time. Pure: the time is an argument."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.errors import PermanentError

KEEP_DAYS: Mapping[Tier, int] = MappingProxyType({Tier.BASIC: 92, Tier.PLUS: 400, Tier.PREMIUM: 1130})
"""The days for which a report is kept after its last day: a quarter, or one or three years plus a month, so that last
year's report of the same month is still available. Our own choice; no law requires reports to be kept."""

LINK_LASTS = timedelta(days=14)
"""The time for which a link in a message opens a report."""


def storage_key(content: bytes) -> str:
    """The key under which a report with this content is stored: `<aa>/<sha256>.pdf`.

    >>> storage_key(b"")[:12]
    'e3/e3b0c4429'
    """
    digest = hashlib.sha256(content).hexdigest()
    return f"{digest[:2]}/{digest}.pdf"


class ExpiredLink(PermanentError):
    """A link of ours that has expired."""


def expires_before(tier: Tier, today: date) -> date:
    """The day before which the period of a report of `tier` must have ended for it to be deleted.

    >>> expires_before(Tier.BASIC, date(2026, 11, 22))
    datetime.date(2026, 8, 22)
    """
    return today - timedelta(days=KEEP_DAYS[tier])


def _signature(report_id: UUID, expires: int, key: bytes) -> str:
    return hmac.new(key, report_id.bytes + expires.to_bytes(8, "big"), hashlib.sha256).hexdigest()


def report_link(base_url: str, report_id: UUID, *, expires_at: datetime, key: bytes) -> str:
    """A link below `base_url` that opens this report until `expires_at` (whole seconds). It has no personal data.

    >>> new_year = datetime(2026, 1, 1, tzinfo=UTC)
    >>> report_link("https://kordant.example/r", UUID(int=7), expires_at=new_year, key=b"k").split("&")[0]
    'https://kordant.example/r/00000000-0000-0000-0000-000000000007.pdf?expires=1767225600'
    """
    expires = int(expires_at.timestamp())
    signature = _signature(report_id, expires, key)
    return f"{base_url.rstrip('/')}/{report_id}.pdf?expires={expires}&signature={signature}"


def check_link(link: str, *, now: datetime, key: bytes) -> UUID:
    """The id of the report that the link opens, after verifying it in constant time.

    Raises:
        PermanentError: the link is not one of ours, or was changed.
        ExpiredLink: it is ours, and its time is over.
    """
    refused = PermanentError("this link to a report is not valid. Open the newest message about it.")
    try:
        parts = urlsplit(link)
        query = parse_qs(parts.query, strict_parsing=True)
        (expires_text,), (signature,) = query["expires"], query["signature"]
        report_id = UUID(parts.path.rpartition("/")[2].removesuffix(".pdf"))
        expires = int(expires_text)
        expected = _signature(report_id, expires, key)
    except (ValueError, KeyError, OverflowError):
        raise refused from None
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise refused
    if now >= datetime.fromtimestamp(expires, UTC):
        raise ExpiredLink("this link to a report has expired. Ask for a new one.")
    return report_id
