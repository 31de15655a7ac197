"""A real Chromium on the real system: `up` on an embedded Postgres with a small invented world in it.

Where there is no Chromium these tests are left out; `kordant-jobs test` says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.check import BROWSERS

CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
UP_WITHIN_S = 240
expect.set_options(timeout=60_000)  # a first page on two busy cores; it is a bound, not a wait


@dataclass(frozen=True)
class System:
    """A served system: where its UI is, and its state folder."""

    url: str
    state: Path

    @property
    def token(self) -> str:
        """The token that `up` makes for an operator of this machine."""
        return (self.state / "operator.token").read_text().strip()

    def command(self, *arguments: str) -> str:
        """Run a kordant-jobs command on it and give its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "kordant_jobs.cli", *arguments],
            cwd=CHECKOUT,
            env=environ(self.state),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def graphql(self, query: str, **variables: object) -> dict[str, object]:
        """Ask Dagster."""
        sent = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"{self.url}/graphql", json=sent, headers=headers, timeout=30)
        data: dict[str, object] = answer.json()["data"]
        return data


def environ(state: Path) -> dict[str, str]:
    """The environment of a system of the test's own: nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KORDANT_", "DAGSTER"))}
    catalogue = str(state / "catalogue.json")
    return {**kept, "KORDANT_STATE_DIR": str(state), "KORDANT_BREACH_CATALOGUE": catalogue, "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`up`, with 60 subscribers and ten dumps that became known on the last three days, none of them scanned yet."""
    state = tmp_path_factory.mktemp("system") / "state"
    state.mkdir(mode=0o700)
    subprocess.run(
        [sys.executable, "-m", f"{__package__}.world", str(state)], cwd=CHECKOUT, env=environ(state), check=True
    )
    log = (state / "up.log").open("w+")
    with subprocess.Popen(
        [sys.executable, "-m", "kordant_jobs.cli", "up"], cwd=CHECKOUT, env=environ(state), stdout=log, stderr=log
    ) as process:
        try:
            yield System(url=_url(process, state / "up.log"), state=state)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Dagster UI" in line:
                return line.split()[-1].rstrip("/")
        time.sleep(0.2)
    raise AssertionError(f"up did not come up: {log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all pages."""
    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), headless=True)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh window."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def screenshots() -> Path:
    """Where screenshots go: KORDANT_SCREENSHOTS, else a folder of the checkout's state."""
    folder = Path(os.environ.get("KORDANT_SCREENSHOTS") or CHECKOUT / ".state" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
