"""Links to reports open one report, for a while, and only as we made them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kordant_jobs.domain.people.subscriptions import Tier
from kordant_jobs.domain.reports.retention import KEEP_DAYS, check_link, expires_before, report_link
from kordant_jobs.errors import PermanentError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REPORT, KEY = UUID(int=7), bytes(range(32))
LINK = report_link("https://kordant.example/reports/", REPORT, expires_at=NOW + timedelta(days=1), key=KEY)


def test_a_link_opens_its_report_until_it_expires() -> None:
    assert check_link(LINK, now=NOW, key=KEY) == REPORT
    assert check_link(LINK, now=NOW + timedelta(days=1, seconds=-1), key=KEY) == REPORT
    with pytest.raises(PermanentError, match="expired"):
        check_link(LINK, now=NOW + timedelta(days=1), key=KEY)


@pytest.mark.parametrize(
    "link",
    [
        LINK.replace("0007.pdf", "0008.pdf"),
        LINK.replace("expires=1", "expires=2"),
        LINK[:-1],
        LINK.split("&", maxsplit=1)[0],
        LINK.split("?", maxsplit=1)[0],
        LINK.replace("expires=", "expires=-"),
        LINK.replace("expires=", "expires=99999999999999999999"),
        LINK + "&signature=00",
        "",
        "https://[",
    ],
)
def test_a_changed_link_opens_nothing(link: str) -> None:
    with pytest.raises(PermanentError, match="not valid"):
        check_link(link, now=NOW, key=KEY)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(PermanentError, match="not valid"):
        check_link(LINK, now=NOW, key=bytes(32))


@given(st.text())
def test_any_text_is_refused_and_never_breaks(text: str) -> None:
    with pytest.raises(PermanentError):
        check_link(text, now=NOW, key=KEY)


def test_every_tier_keeps_a_period_longer_than_its_reports() -> None:
    assert set(KEEP_DAYS) == set(Tier)
    assert all(expires_before(tier, date(2026, 3, 1)) < date(2026, 1, 1) for tier in Tier)
