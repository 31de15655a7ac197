"""The console in Chromium: every page in light and dark, wide and narrow, judged by axe-core; and by keyboard alone."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import Engine

from kordant_jobs.adapters.openid import OpenIdProvider
from kordant_jobs.api.asked import OpenId
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.engine.control import operate
from kordant_jobs.lab.fakes.openid import FakeOpenId
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.postgres import database
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.browser.conftest import CHROMIUM
from kordant_jobs_tests.browser.console_world import fill, served
from kordant_jobs_tests.conftest import INDEX_ROOT, MASTER_KEY
from kordant_jobs_tests.databases import copy_of, database_at

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

FEW = ("", "requests", "dead")
PAGES = (
    *FEW, "performance", "approvals", "schedules", "schedules/reports_generate/plus", "alerts", "sources",
    "subscriptions", "agents", "agents/agent:planner", "audit", "doctor",
    "dead/replay?job=removebrokers_process&cause=exception",
)  # fmt: skip
PICTURES = "KORDANT_SCREENSHOTS" in os.environ
VIOLATIONS = """options => axe.run(document, {resultTypes: ["violations"], ...options}).then(
    found => found.violations.map(one => one.id + ": " + one.nodes.slice(0, 3).map(node => node.html).join(" | ")))"""
BY_LOOKS = ("color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block")
EXAMINE = {"en": "Examine now", "pt-BR": "Examinar agora"}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTHS = {"wide": 1280, "narrow": 320}


@pytest.fixture(scope="module")
def console(admin_url: str, template: str) -> Iterator[tuple[str, str, Engine]]:
    """Where it is, a token, and its database, which is its own: it lives longer than a test."""
    keyring = Keyring(MASTER_KEY, index_root=INDEX_ROOT)
    with copy_of(admin_url, template) as name:
        db = database.create_engine(database_at(admin_url, name))
        token = fill(db, keyring)
        with served(db, keyring) as address:
            yield address, token, db
        db.dispose()


def pages(db: Engine) -> list[str]:
    """Every page, with those of one request, proposal and subscription."""
    ones = {
        "requests": "SELECT id FROM kordant.job_requests WHERE status = 'dead' LIMIT 1",
        "subscriptions": "SELECT id FROM kordant.subscriptions LIMIT 1",
    }
    with db.connect() as connection:
        found = {name: connection.execute(sa.text(query)).scalar_one() for name, query in ones.items()}
        proposals = connection.execute(sa.text("SELECT kind, id FROM kordant.change_sets")).all()
    return [
        *PAGES,
        *(f"{name}/{one}" for name, one in found.items()),
        *(f"approvals/{one}#{kind}" for kind, one in proposals),
    ]


def window(
    browser: Browser, console: tuple[str, str, Engine], *, scheme: Scheme, width: int, locale: str
) -> BrowserContext:
    address, token, _ = console
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale)
    page = context.new_page()
    page.goto(address)
    page.get_by_role("textbox").fill(token)
    page.keyboard.press("Enter")
    page.wait_for_url(address)
    page.close()
    return context


def test_a_person_signs_in_through_a_provider_of_another_site_and_again_before_a_decision(
    browser: Browser, console: tuple[str, str, Engine]
) -> None:
    """Real cookies: those of a session are not sent on what another site began."""
    db = console[2]
    with FakeOpenId() as fake:
        fake.host, fake.asks, fake.person = "localhost", True, {"sub": "jane", "groups": ["admins"]}
        fake.lies = {"auth_time": int(time.time()) - 3600}
        provider = OpenIdProvider(issuer=fake.url, client_id=fake.client_id, client_secret=fake.client_secret)
        openid = OpenId(provider=provider, role_claim="groups", roles={"admins": Role.ADMIN})
        with served(db, Keyring(MASTER_KEY, index_root=INDEX_ROOT), openid=openid) as address:
            page = browser.new_context().new_page()
            page.goto(address + "requests?status=dead")
            page.get_by_role("link", name="your organisation's account").click()
            page.get_by_role("link", name="Yes, it is me").click()
            page.wait_for_url(address + "requests?status=dead")
            fake.lies = {}
            page.get_by_role("link", name="Approvals").click()
            page.locator("main a[href*='/approvals/']").first.click()
            proposal = page.url
            page.get_by_role("button", name="Reject").click()
            expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
            page.get_by_role("link", name="your organisation's account").click()
            page.get_by_role("link", name="Yes, it is me").click()
            page.wait_for_url(proposal)
            expect(page.get_by_role("button", name="Approve")).to_be_visible()
            page.context.close()


@pytest.mark.parametrize("locale", ["en", "pt-BR"])
def test_every_page_is_accessible_in_light_and_dark_wide_and_narrow(
    browser: Browser, console: tuple[str, str, Engine], screenshots: Path, locale: str
) -> None:
    """All rules in one of the four, and in the others those that depend on colours or room."""
    context = window(browser, console, scheme="light", width=WIDTHS["wide"], locale=locale)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(f"{page.url}: {said.text}") if said.type == "error" else None)
    for path in pages(console[2]) if locale == "en" else FEW:
        page.goto(console[0] + path)
        name = re.sub(r"[^a-z]+", "-", path.partition("/")[0]) + ("-one" if "/" in path else "") or "health"
        name += path.partition("#")[2].removeprefix("schedule_change")
        if path == "doctor":
            page.get_by_role("button", name=EXAMINE[locale]).click()
            expect(page.get_by_role("row")).to_have_count(len(CHECKS) + 1)
        page.evaluate(Axe().axe_script)
        for scheme, width in ((one, other) for one in SCHEMES for other in WIDTHS):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": WIDTHS[width], "height": 900})
            is_first = (scheme, width) == ("light", "wide")
            found = page.evaluate(VIOLATIONS, {} if is_first else {"runOnly": list(BY_LOOKS)})
            wrong += [f"{path} {scheme} {width}: {one}" for one in found]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append(f"{path} {scheme} {width}: scrolls sideways")
            if PICTURES:
                page.screenshot(path=screenshots / f"console-{name}-{scheme}-{width}-{locale}.png", full_page=True)
    context.close()
    assert not wrong, "\n".join(wrong)


def press_on(page: Page, name: str | re.Pattern[str]) -> None:
    """Go by Tab to the first link or button of this name, and press Enter: one step."""
    wanted = re.compile(name)
    for _ in range(150):
        page.keyboard.press("Tab")
        if wanted.search(page.evaluate("document.activeElement.innerText || ''").replace("\n", " ")):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"no way by keyboard to {name} on {page.url}")


def switch(db: Engine, word: str) -> None:
    """Pause a job, or let it go on."""
    with db.begin() as connection:
        if word == "paused":
            operate.pause(connection, "voiceprint_batch", reason="a test", by="user:test", now=datetime.now(UTC))
        else:
            operate.resume(connection, "voiceprint_batch")


def test_by_keyboard_alone_why_a_job_failed_is_found_and_it_is_replayed_in_three_steps(
    browser: Browser, console: tuple[str, str, Engine]
) -> None:
    address, _, db = console
    context = window(browser, console, scheme="light", width=1280, locale="en")
    page = context.new_page()
    page.goto(address)
    press_on(page, r"^3 dead letters of darkwatch_scan")
    expect(page).to_have_url(re.compile(r"/dead\?job=darkwatch_scan"))
    expect(page.get_by_text("the list of brokers has no column named url")).to_be_visible()
    press_on(page, r"^Replay 3…")
    expect(page.get_by_text("3 requests", exact=True)).to_be_visible()
    press_on(page, r"^Replay$")
    expect(page.get_by_role("status").first).to_have_text("Queued again. 3 requests.")
    with db.connect() as connection:
        left = sa.text("SELECT status, count(*) FROM kordant.job_requests WHERE job = 'darkwatch_scan' GROUP BY 1")
        assert dict(map(tuple, connection.execute(left))) == {"completed": 40, "pending": 3}
    context.close()


CLICKS = """addEventListener("click", () =>
    sessionStorage.setItem("clicks", 1 + Number(sessionStorage.getItem("clicks"))), {capture: true})"""


def test_a_new_user_finds_why_a_job_failed_and_replays_it_within_four_clicks(
    browser: Browser, console: tuple[str, str, Engine]
) -> None:
    """From the first page, with the mouse alone: what is dead and why, its requests, one with its attempts, replay."""
    address, _, db = console
    context = window(browser, console, scheme="light", width=1280, locale="en")
    page = context.new_page()
    page.add_init_script(CLICKS)
    page.goto(address)
    page.get_by_role("link", name="12 dead letters of removebrokers_process").click()
    expect(page.get_by_text("PermanentError: the list of brokers has no column named url")).to_be_visible()
    page.get_by_role("heading", name="removebrokers_process").get_by_role("link").click()
    page.get_by_role("row", name="removebrokers_process").first.get_by_role("link").first.click()
    why = page.get_by_role("region", name="Why it failed")
    expect(why.get_by_text("PermanentError: the list of brokers has no column named url")).to_be_visible()
    expect(page.get_by_role("table", name="Attempts").get_by_role("row")).to_have_count(1 + 4)
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("Queued again.")).to_be_visible()
    request_id = page.url.partition("/requests/")[2][:36]
    assert int(page.evaluate("sessionStorage.getItem('clicks')")) <= 4
    with db.connect() as connection:
        state = sa.text("SELECT status FROM kordant.job_requests WHERE id = :id")
        assert connection.execute(state, {"id": request_id}).scalar_one() == "pending"
    context.close()


def test_an_open_page_shows_a_change_by_itself_and_keeps_what_is_focused(
    browser: Browser, console: tuple[str, str, Engine]
) -> None:
    address, _, db = console
    context = window(browser, console, scheme="light", width=1280, locale="en")
    page = context.new_page()
    page.goto(address)
    link = page.get_by_role("link", name="voiceprint_batch")
    link.focus()
    switch(db, "paused")
    expect(page.get_by_role("row", name="voiceprint_batch").get_by_text("paused")).to_be_visible()
    expect(page.get_by_role("link", name="voiceprint_batch")).to_be_focused()
    switch(db, "ready")
    expect(page.get_by_role("row", name="voiceprint_batch").get_by_text("ready")).to_be_visible()
    took_s = []
    for word in ("paused", "ready") * 3:
        switch(db, word)
        began = time.monotonic()
        expect(page.get_by_role("row", name="voiceprint_batch").get_by_text(word)).to_be_visible()
        took_s.append(time.monotonic() - began)
    assert statistics.median(took_s) <= 1.0  # a change is shown within a second
    context.close()


def test_an_open_page_whose_stream_is_refused_or_whose_server_is_away_catches_up(
    browser: Browser, console: tuple[str, str, Engine]
) -> None:
    address, _, db = console
    context = window(browser, console, scheme="light", width=1280, locale="en")
    page = context.new_page()
    page.route("**/console/changes", lambda route: route.fulfill(status=503), times=1)
    page.goto(address)
    page.route(address, lambda route: route.abort(), times=1)  # what it asks for after the refusal
    switch(db, "paused")
    expect(page.get_by_role("row", name="voiceprint_batch").get_by_text("paused")).to_be_visible(timeout=30_000)
    switch(db, "ready")
    expect(page.get_by_role("row", name="voiceprint_batch").get_by_text("ready")).to_be_visible(timeout=30_000)
    context.close()
