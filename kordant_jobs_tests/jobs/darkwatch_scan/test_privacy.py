"""A canary is watched, asked about everywhere and found: it and its hashes stand nowhere that they should not.

Looked through are what the services were told, everything that Dagster keeps of the run, our own tables and the logs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Engine

from kordant_jobs.adapters.corpus import Corpus
from kordant_jobs.adapters.sources.registry import open_sources
from kordant_jobs.domain.identifiers import sha1_hex
from kordant_jobs.jobs.darkwatch_scan.job import JOBS
from kordant_jobs.lab.fakes.sources.hibp import TEST_KEY, FakeHibp
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck
from kordant_jobs.pages.hooks import PATH, range_webhook
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.darkwatch import source_checks
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.asgi import Client
from kordant_jobs_tests.jobs.darkwatch_scan.bench import bench_in
from kordant_jobs_tests.jobs.people import subscribe

CANARY = "canary.bird+7c1e@example.com"
PASSWORD = "canary-sings-alone-7c1e"


def forms(word: str) -> set[str]:
    """How a word may leak: as it is, escaped, hashed."""
    raw = word.encode()
    sha1 = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    return {
        form.lower()
        for form in (word, word.partition("@")[0], quote(word), quote(word, safe=""), raw.hex(), sha1, sha1[6:],
                     hashlib.sha256(raw).hexdigest(), hashlib.md5(raw, usedforsecurity=False).hexdigest())
    }  # fmt: skip


def _assert_absent(text: str, where: str, allowed: frozenset[str] = frozenset()) -> None:
    for word in (CANARY, PASSWORD):
        for form in forms(word) - allowed:
            assert form not in text.lower(), f"{form} in {where}"


def test_a_canary_is_found_and_stands_nowhere(
    settings: Settings,
    db: Engine,
    keyring: Keyring,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    subscribe(db, keyring, CANARY)
    bench = bench_in(tmp_path, db, keyring)
    bench.drop(f"{CANARY}-{PASSWORD}.txt", f"someone@example.org:x\n{CANARY.upper()}:{PASSWORD}\n")
    bench.drop("cut.txt.gz", gzip.compress(f"{CANARY}:{PASSWORD}\n".encode() * 9)[:-9])
    hibp = FakeHibp(rpm=60_000, accounts={CANARY: ("Adobe",)})
    leaks = FakeLeakCheck(accounts={CANARY: (("Evony.com", None),)}, password=PASSWORD)
    (tmp_path / "dagster").mkdir()
    with (
        hibp.server() as hibp_server,
        leaks.server() as leak_server,
        dg.instance_for_test(temp_dir=str(tmp_path / "dagster")) as instance,
    ):
        for name, value in {
            "HIBP_API_KEY": TEST_KEY,
            "HIBP_URL": f"{hibp_server.url}/api/v3",
            "LEAKCHECK_API_KEY": leaks.key,
            "LEAKCHECK_URL": f"{leak_server.url}/api",
            "SOURCES_BUDGET_S": "5",
        }.items():
            monkeypatch.setenv(f"KORDANT_{name}", value)
        loaded = load_settings()
        result = JOBS.plain.execute_in_process(
            instance=instance,
            resources={
                "db": db,
                "keyring": keyring,
                "drop_box": bench.box,
                "corpus": Corpus(tmp_path / "corpus"),
                "catalogue": None,
                "sources": open_sources(loaded),
                "settings": loaded,
            },
        )
        assert result.success
        assert result.output_for_node("summarise")["new_alerts"] == 3
        told = "\n".join(
            f"{asked.target} {asked.headers}" for server in (hibp_server, leak_server) for asked in server.log
        )
        events = "\n".join(str(event) for event in instance.all_logs(result.run_id))
        runs = "\n".join(str(run) for run in instance.get_runs())
    assert sha1_hex(CANARY)[:6] in told
    _assert_absent(told, "what services were told")
    _assert_absent(events + runs, "Dagster's events and runs")
    _assert_absent(caplog.text, "logs")
    kept = [tmp_path / "dagster", tmp_path / "corpus"]
    files = [file for folder in kept for file in folder.rglob("*") if file.is_file()]
    assert any(file.name == "shard-000" for file in files)
    for file in files:
        _assert_absent(file.read_bytes().decode("latin-1"), str(file))
        assert hashlib.sha1(CANARY.encode(), usedforsecurity=False).digest() not in file.read_bytes()
    _assert_absent_from_tables(db)


def test_a_pushed_canary_stands_nowhere(db: Engine, keyring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    person = subscribe(db, keyring, CANARY)
    with db.begin() as connection:
        price_list.ensure(connection)
        source_checks.keep_range_indexes(connection, {person.items[CANARY]: keyring.range_index(sha1_hex(CANARY))})
    digest = sha1_hex(CANARY)
    pushed = {"breachName": "Adobe", "hashPrefix": digest[:6], "hashSuffixes": [digest[6:], "0" * 34]}
    client = Client(range_webhook(db, keyring, SecretStr("s3cret")))
    answers = [
        client.post(PATH, content=json.dumps(body), headers={"authorization": f"Bearer {word}"})
        for body, word in ((pushed, "s3cret"), (pushed, "wrong"), ({**pushed, "breachName": 7}, "s3cret"))
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 400]
    _assert_absent("".join(answer.text + str(answer.headers) for answer in answers), "answers to a webhook")
    _assert_absent(caplog.text, "logs")
    _assert_absent_from_tables(db)


def _assert_absent_from_tables(db: Engine) -> None:
    with db.connect() as connection:
        tables = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'kordant'")).scalars()
        for table in list(tables):
            rows = connection.execute(sa.text(f"SELECT t::text FROM kordant.{table} t")).scalars()
            _assert_absent("\n".join(rows), table)
