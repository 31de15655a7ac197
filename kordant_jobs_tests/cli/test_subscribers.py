"""kordant-jobs subscribers …: nothing personal is a word of the command line, and what is wrong is said by its line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.main import app
from kordant_jobs.settings import Settings


def run(*words: str, typed: str | bytes = "") -> Any:
    return CliRunner().invoke(app, ["subscribers", *words], input=typed)


def test_what_to_watch_and_whom_to_write_to_come_by_standard_input(db: Engine, settings: Settings) -> None:
    lines = "\ufeffann@example.com\r\n\r\n+1 202 555 0143\nusername:ann_roe\nname: Ann\ncontact: roe@mail.example\n"
    made = run("create", "--tier", "plus", "--json", typed=lines)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["tier"] == "plus"


def test_words_of_the_command_line_are_refused_and_not_repeated(settings: Settings) -> None:
    refused = run("create", "ann@example.com")
    assert refused.exit_code == 1
    assert "standard input" in str(refused.exception)
    assert "ann" not in str(refused.exception) + refused.output


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "nothing to watch"),
        ("ann@example.com\ncard:12\n", "line 2 is no card"),
        ("+12025550143\n", "say where alerts go"),
        ("ann@example.com\ncontact: ann@example.com\rBcc: x@y.example\n", "no e-mail address"),
        ("ann@example.com\ncontact: ann@example.com>\n", "no e-mail address"),
        ("ann@example.com\nname: A\x1b[2Jnn\n", "nothing can print"),
        (b"\xff\xfeann", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_made(settings: Settings, typed: str | bytes, says: str) -> None:
    refused = run("create", typed=typed)
    assert refused.exit_code == 1
    assert says in str(refused.exception)
    assert "\n" not in str(refused.exception)
