"""Every command is recorded in the audit log, or says here why not; the entry comes first and holds no value."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from sqlalchemy import Engine

from kordant_jobs.cli.main import app
from kordant_jobs.cli.recorded import CHANGES, READS, entry_of
from kordant_jobs.cli.session import open_session
from kordant_jobs.settings import Settings
from kordant_jobs.store.audit import log
from kordant_jobs.store.people.keyring import Keyring

NOTHING = {
    "look at the system, of nobody": """settings|status|db url|dumps list|dumps show|dumps explain|corpus status
        catalogue list|sources list|sources check|counties list|counties check|models list|connections list
        connections runs|reports list|keys show|keys verify|schedules list|schedules history|schedules simulate
        schedules diff
        jobs cost|jobs trends|jobs list|jobs history|hosts list|requests list
        dead list|brokers diff|brokers list|brokers show|doctor|alerts list
        alerts rules|alerts check|cleanup plan|cleanup history|cleanup report|cleanup hold list|cleanup policy list
        tokens list|agents show|agents workflows|agents execution|audit verify|notifications list
        notifications channels|notifications suppressions|logs|receipt list|receipt verify|receipt key
        removals drp-agent""",
    "only make files or talk": """up|host|test|new job|release|dagster|db migration|models pull|alerts test
        alerts export|audit anchor|capacity|api serve|api openapi|api mcp|console|notifications serve|sources webhook
        properties resolve
        voices evaluate|voices consent""",
    "are the lab's": """demo|bench audit|bench engine|bench notifications|bench hometitle|bench finance|bench voiceprint
        bench cleanup|bench hosts|bench console|bench api|bench dumps|bench darkwatch|bench reports|bench removebrokers
        bench schedules
        fuzz dumps|fuzz outside|fuzz scans|fuzz damage|fuzz agents|fuzz api|read-cases|false-identifiers
        fit-names|judge-hometitle|judge-insights|soak|simulate-banks|read-ofb-mass
        simulate-removals|chaos-notifications|chaos-rotation|chaos-hosts|chaos""",
}


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if getattr(command, "commands", None):
        for name in command.list_commands(None):
            yield from _commands(command.get_command(None, name), (*path, name))
    else:
        yield " ".join(path)


def test_every_command_is_recorded_or_has_a_reason_not_to_be() -> None:
    unrecorded = {
        " ".join(one.split()) for text in NOTHING.values() for line in text.split("\n") for one in line.split("|")
    }
    there = set(_commands(typer.main.get_command(app)))
    assert not CHANGES & READS
    assert not (CHANGES | READS) & unrecorded
    assert there - CHANGES - READS - unrecorded == set()
    assert (CHANGES | READS | unrecorded) - there == set()


def test_an_entry_names_who_what_and_ids_and_no_other_word() -> None:
    words = [
        "dumps",
        "add",
        "/home/ann@example.com.txt",
        "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e",
        "0198c2b4",
        "--dry-run",
    ]
    entry = entry_of(words, "dumps add")
    assert (entry.actor, entry.action) == (f"cli:{getpass.getuser()}", "cli.dumps.add")
    assert entry.target_id == "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e 0198c2b4"
    assert entry.after == {"dry_run": True}


def test_a_command_is_recorded_before_it_does_anything(
    settings: Settings, db: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last() -> list[str]:
        with db.connect() as connection:
            return [entry["action"] for _, entry in log.entries(connection, limit=9)]

    monkeypatch.setattr(sys, "argv", ["kordant-jobs", "dead", "replay", "--job", "cleanup"])
    with open_session(settings):
        assert last() == ["cli.dead.replay"]
    monkeypatch.setattr(sys, "argv", ["kordant-jobs", "status"])
    with open_session(settings):
        assert last() == ["cli.dead.replay"]
    with db.connect() as connection:
        assert log.check(connection, keyring).holds
