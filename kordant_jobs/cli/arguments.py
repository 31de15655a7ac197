"""The words that people type: options that many commands have, ids, members of closed sets, personal data.

Personal data is read from a prompt or standard input: words of a command line are in the shell's history and, for every
user of the machine, in the list of processes.
"""

import getpass
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Connection

from kordant_jobs.errors import SettingsError

Subscription = Annotated[str, typer.Argument(help="The subscription, by id.")]
Subscriber = Annotated[str, typer.Argument(help="The subscriber, by id.")]

FIND = "`kordant-jobs subscribers find`"

Word = TypeVar("Word", bound=StrEnum)
STDIN = "-"
MATCHING_IDS_SHOWN = 5
_PREFIX = re.compile(r"[0-9a-f]{4,32}")


def as_uuid(text: str) -> UUID:
    """A complete id.

    Raises:
        SettingsError: the text is not an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no id; they look like 0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e.") from None


def id_of(connection: Connection, column: sa.Column[Any], text: str, what: str, hint: str = "") -> UUID:
    """The typed id of a row with its id in `column`. A complete id is not checked against the table.

    Raises:
        SettingsError: the text is not an id, or no id or several ids begin with it.
    """
    try:
        return UUID(text)
    except ValueError:
        digits = text.strip().lower().replace("-", "")
    where = f" {hint} lists them." if hint else ""
    if not _PREFIX.fullmatch(digits):
        raise SettingsError(
            f"{text!r} is no {what} id; they look like 0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e, and the first characters "
            f"are enough.{where}"
        )
    between = column.between(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
    query = sa.select(column).where(between).order_by(column.desc()).limit(MATCHING_IDS_SHOWN + 1)
    found: list[UUID] = list(connection.execute(query).scalars())
    if not found:
        raise SettingsError(f"there is no {what} whose id begins with {text}.{where}")
    if len(found) > 1:
        several = ", ".join(map(str, found[:MATCHING_IDS_SHOWN])) + (", …" if len(found) > MATCHING_IDS_SHOWN else "")
        raise SettingsError(f"several {what} ids begin with {text}: {several}")
    return found[0]


def one_of(kind: type[Word], text: str, option: str) -> Word:
    """The member of a closed set that was typed.

    Raises:
        SettingsError: the text is not a member of the set.
    """
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: choose one of {', '.join(kind)}.") from None


def actor() -> str:
    """The user of this shell, as the database records who did something."""
    return f"cli:{getpass.getuser()}"


def refuse_words(words: Sequence[str], what: str) -> None:
    """Refuse personal data as a word of the command line; `-` is allowed, as the sign for standard input.

    Raises:
        SettingsError: there is one. The text does not repeat it.
    """
    if any(word != STDIN for word in words):
        raise SettingsError(
            f"{what} is not taken from the command line, which the shell's history keeps and `ps` shows to everybody. "
            "Type it when asked, or give it by standard input."
        )


def read_line(prompt: str, *, hidden: bool = False) -> str:
    """One line of input: typed at a prompt on a terminal, else the first line of standard input.

    Raises:
        SettingsError: the input is not UTF-8, or is empty.
    """
    if sys.stdin.isatty():
        typed: str = typer.prompt(prompt, hide_input=hidden, err=True)
        return typed.strip()
    lines = _piped()
    if not lines:
        raise SettingsError(f"standard input is empty: give the {prompt} there.")
    return lines[0]


def read_lines(prompt: str) -> list[str]:
    """Lines without blank ones: typed until an empty one on a terminal, else all of standard input.

    Raises:
        SettingsError: it is not UTF-8.
    """
    if not sys.stdin.isatty():
        return _piped()
    lines = []
    while line := typer.prompt(f"{prompt} (empty: that is all)", default="", show_default=False, err=True).strip():
        lines.append(line)
    return lines


def _piped() -> list[str]:
    binary = getattr(sys.stdin, "buffer", None)
    try:
        text = binary.read().decode("utf-8-sig") if binary else sys.stdin.read()
    except UnicodeDecodeError:
        raise SettingsError("standard input is not UTF-8. Write it as UTF-8.") from None
    return [line.strip() for line in text.split("\n") if line.strip()]
