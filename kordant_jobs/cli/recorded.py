"""Lists the commands that the audit log records, and makes their entries. The user of the shell is named like the
holder of a token.

The entry is committed before the command acts: an action that cannot be recorded is not done. It has the command's
words and ids; no path, no value, and nothing typed on standard input.
"""

import re
from collections.abc import Sequence

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.cli.arguments import actor
from kordant_jobs.domain.access.audit import Entry
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring

CHANGES = frozenset(
    """
    db upgrade|db downgrade|db prune|db harden|dumps add|dumps retry|dumps accept|dumps dismiss|corpus ingest
    catalogue import
    exposures not-me|properties add|properties remove|properties not-me|voices enrol|voices remove|voices add
    voices alerts|subscribers forget|subscribers create|subscribers change-tier|subscribers pause|subscribers resume
    subscribers cancel|subscribers correct|subscribers consent|entities create|entities forget|connections add
    connections sync|connections pause|connections resume|connections end|keys rotate|schedules set|schedules pause
    schedules resume|enqueue|hosts drain|jobs pause
    jobs resume|requests cancel|requests reprioritise|dead replay|dead ack
    dead expire|brokers import|brokers confirm|brokers directory|removals permit|removals request|removals done
    removals deny|removals cancel|removals answer|removals answered|insights seen
    insights dismiss|insights restore|alerts set|alerts ack
    alerts silence|cleanup run|cleanup hold place|cleanup hold release|cleanup policy set|tokens create|tokens rotate
    tokens revoke|tokens disable|agents grant|agents ungrant|notifications retry|notifications give-up
    notifications resume|notifications bounce|notifications suppress|notifications unsuppress
    notifications preferences|notifications addresses
    """.replace("\n", "|")
    .replace("    ", "")
    .strip("| ")
    .split("|")
)
"""Commands that change something."""
READS = frozenset(
    """
    corpus lookup|exposures list|exposures show|properties list|properties show|voices list|voices clips|voices show
    subscribers find|subscribers show|subscribers export|entities list|entities show|entities export|connections show
    reports open|requests show|dead show|removals list|removals show|removals disclosures|removals replies
    removals letter|removals complaint|insights list|insights show|notifications show|notifications preview
    audit list|audit export
    """.replace("\n", "|")
    .replace("    ", "")
    .strip("| ")
    .split("|")
)
"""Commands that show personal data, or the actions of others."""
_ID = re.compile(r"[0-9a-f]{4,8}(?:-?[0-9a-f]{1,12}){0,4}")
_DEPTH = 3


def command_of(words: Sequence[str]) -> str | None:
    """The recorded command in a command line; None: it is not recorded.

    >>> command_of(["dead", "replay", "--job", "cleanup"]), command_of(["--version"]), command_of(["dead", "list"])
    ('dead replay', None, None)
    """
    plain = [word for word in words if not word.startswith("-")]
    for depth in range(_DEPTH, 0, -1):
        name = " ".join(plain[:depth])
        if name in CHANGES | READS:
            return name
    return None


def entry_of(words: Sequence[str], command: str) -> Entry:
    """The entry of the log for a command line."""
    named = [word for word in words if word in BY_NAME or _ID.fullmatch(word)]
    return Entry(
        actor=actor(),
        role="operator",
        source="cli",
        action=f"cli.{command.replace(' ', '.')}",
        target_kind="command",
        target_id=" ".join(named[:8]) or "-",
        after={"dry_run": True} if "--dry-run" in words else None,
    )


def record(db: Engine, keyring: Keyring, words: Sequence[str]) -> None:
    """Record a command line, if its command is a recorded one."""
    command = command_of(words)
    if command is not None:
        with db.begin() as connection:
            log.record(connection, keyring, entry_of(words, command))
