"""Mutated dumps through the whole scan: the short form of `kordant-jobs fuzz scans`."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from kordant_jobs.lab.fuzz.scans import WATCHED, World, scans, standing
from kordant_jobs.store.people.keyring import Keyring


def test_mutated_dumps_break_no_scan_and_hide_no_one(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    found = scans(40, 1, world=World.made(db, keyring, tmp_path / "world"))
    assert found.broken == []
    assert {"ingested", "partial", "quarantined"} <= set(found.outcomes)


@pytest.mark.parametrize("sign", ["@", "%40", "&#64;", "\\u0040"])
def test_who_stands_in_a_dump_is_known_to_the_judge(sign: str) -> None:
    address = WATCHED[0].replace("@", sign)
    assert standing(f"id,{address},x\n".encode()) == [WATCHED[0]]
    assert standing(f"id,x{address},x\nhttps://{address}/\n".encode()) == []
