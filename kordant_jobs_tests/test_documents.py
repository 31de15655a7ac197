"""Documents say what is there: commands and options, files, tables made from the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from kordant_jobs.adapters.messengers import NEEDED
from kordant_jobs.catalog import SCHEDULES
from kordant_jobs.cli import serve
from kordant_jobs.cli.main import app
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.lab.documents import CHECKOUT, README, documents
from kordant_jobs.settings import Settings

PAGES = [README, *(CHECKOUT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")), *CHECKOUT.glob("docs/*.md")]
DECISIONS = sorted(CHECKOUT.glob("docs/decisions/*.md"))
_COMMAND = re.compile(
    r"(?:`|^|\$ |: |\| )(?:python3 -m kordant_jobs|(?:\.venv/bin/)?kordant-jobs) ((?:[^\s`'()|;]|'[^']*')[^`()|;]*)"
)


@cache
def command() -> Any:
    return typer.main.get_command(app)


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of ours that a page shows, in a block or in a sentence."""
    for line in text.splitlines():
        for found in _COMMAND.finditer(line):
            words = found[1].split("  ")[0].split(" #")[0].split(" < ")[0].split(" > ")[0]
            try:
                yield shlex.split(words)
            except ValueError:
                yield words.split()


def faults(words: list[str]) -> Iterator[str]:
    """What of a command line there is not. Words in capitals stand for values."""
    at, group = 0, command()
    while at < len(words) and getattr(group, "commands", None):
        name = words[at].strip(",.:…")
        if name.isupper() or not name or name.startswith(("-", "…")):
            return
        following = group.get_command(None, name)
        if following is None:
            yield f"there is no command {' '.join(words[: at + 1])!r}"
            return
        group, at = following, at + 1
    if words[:1] in (["test"], ["dagster"]):  # what follows is pytest's or Dagster's
        return
    known = {one for parameter in group.params for one in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in words[at:]:
        name = word.split("=")[0].strip(",.:;)")
        if name.startswith("--") and len(name) > 2 and name not in known:
            yield f"{' '.join(words[:at])!r} has no option {name!r}"


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=lambda page: page.stem)
def test_every_command_and_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [fault for words in commands(text) for fault in faults(words)] == []
    named = re.findall(r"`(docs/[\w/.-]+)`", text)
    missing = [name for name in named if not any(CHECKOUT.glob(name if "." in name else f"{name}*"))]
    assert missing == []


def test_every_test_that_the_page_of_faults_names_is_there() -> None:
    named = re.findall(r"`([a-z_/]*test_[a-z_]+\.py)`", (CHECKOUT / "docs" / "faults.md").read_text("utf-8"))
    assert len(named) > 30
    assert [one for one in named if not (Path(__file__).parent / one).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_that_a_page_names_is_there(page: Path) -> None:
    known = {f"KORDANT_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"KORDANT_[A-Z][A-Z0-9_]*[A-Z0-9]", page.read_text("utf-8")))
    assert {one for one in named - known if not any(name.startswith(f"{one}_") for name in known)} <= ELSEWHERE


ELSEWHERE = {"KORDANT_LIVE_COUNTIES", "KORDANT_TEST_POOLER"}
"""Variables that only tests read."""


def test_pages_made_from_the_code_are_as_the_code_is() -> None:
    for path, text in documents().items():
        assert path.read_text("utf-8") == text, "run `python -m kordant_jobs.lab.documents`"


def test_the_readme_is_read_in_minutes() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def shown(page: str, shell: str) -> list[list[str]]:
    """The cells of each line that a page shows below a command."""
    block = (CHECKOUT / "docs" / page).read_text("utf-8").split(f"$ python3 -m kordant_jobs {shell}\n")[1]
    lines = block[: re.search(r"^(?:\$|```|…)", block, re.MULTILINE).start()].splitlines()  # type: ignore[union-attr]
    return [re.split(r" {2,}", line.strip()) for line in lines]


def test_the_output_of_commands_is_as_pages_show_it() -> None:
    heads, *channels = shown("notifications.md", "notifications channels")
    assert heads == ["channel", "on", "setting", "paused"]
    on = {Channel.EMAIL: "yes"}
    assert channels == [[one, on.get(one, "no"), *([NEEDED[one]] if one in NEEDED else [])] for one in Channel]
    first, *rows = shown("schedules.md", "schedules list")
    assert first == ["schedule", "what", "cron", "zone", "next tick", "serves", "state"]
    made = [[one.name, one.words, one.cron, one.time_zone] for one in SCHEDULES]
    assert rows
    assert [row[:4] for row in rows if row[:4] not in made] == []
    title, *facts = shown("operate.md", "up")
    said = Path(serve.__file__).read_text("utf-8")
    assert all(f"{sentence}." in said for sentence in title[0].rstrip(".").split(". "))
    assert [name for name, *_ in facts if f'"{name}"' not in said and name != "Dagster UI"] == []
