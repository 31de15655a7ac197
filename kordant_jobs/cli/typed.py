"""Reads personal data from a prompt or standard input.

Words of a command line are in the shell's history and, for every user of the machine, in the list of processes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from kordant_jobs.errors import SettingsError

STDIN = "-"


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
