"""A report carries its receipt: one for the same figures, in a chain, readable from the page by any reader of codes."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
import zxingcpp
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.cli.receipt import receipt_app
from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.reports import receipts
from kordant_jobs.domain.reports.receipts import ReceiptRefused, fingerprint, key_set, verify_chain
from kordant_jobs.jobs.reports_generate.receipt import receipt_section
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports.receipts import Unsigned, issue, of_subscription
from kordant_jobs.store.reports.tables import scan_receipts
from kordant_jobs.wording import wording
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.jobs.reports_generate.test_service import affected, make, rows
from kordant_jobs_tests.jobs.seed import add_alert, add_breach, add_verdict


def lines(db: Engine, person: Person) -> list[str]:
    with db.connect() as connection:
        return list(of_subscription(connection, person.subscription_id))


def test_each_change_is_one_more_receipt_and_the_same_figures_are_none(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path)
    first = rows(db)[person.subscription_id].content_sha256
    make(db, keyring, tmp_path, force=True)
    assert rows(db)[person.subscription_id].content_sha256 == first
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db, "Another"))
    make(db, keyring, tmp_path)
    public = keyring.receipt_key.public_key()
    one, two = verify_chain(lines(db, person), {receipts.key_id(public): public})
    assert (one.number, two.number, two.sub, two.items) == (1, 2, person.subscription_id, 1)
    assert [(source.source, source.verdict) for source in two.sources] == [("dumps", "exposed")]


def test_who_was_not_checked_has_a_receipt_that_says_unknown(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    make(db, keyring, tmp_path)
    (line,) = lines(db, person)
    public = keyring.receipt_key.public_key()
    assert receipts.verify(line, {receipts.key_id(public): public}).verdict == "unknown"
    assert "jane" not in json.dumps(receipts.verify(line, {receipts.key_id(public): public}).model_dump(mode="json"))


def test_reports_made_at_once_make_one_chain(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    add_verdict(db, person.subscription_id, Verdict.CLEAN)
    make(db, keyring, tmp_path)
    (known,) = lines(db, person)
    first = receipts.verify(known, public_of(keyring))

    def another(number: int) -> None:
        wanted = unsigned_like(first, bytes([number]) * 32)
        with db.begin() as connection:
            issue(connection, [wanted], keyring.receipt_key)

    threads = [threading.Thread(target=another, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in verify_chain(lines(db, person), public_of(keyring))] == list(range(1, 10))


def public_of(keyring: Keyring) -> receipts.PublicKeys:
    public = keyring.receipt_key.public_key()
    return {receipts.key_id(public): public}


def unsigned_like(receipt: receipts.Receipt, figures: bytes) -> Unsigned:
    return Unsigned(
        subscription_id=receipt.sub,
        kind=receipt.period,
        start_on=receipt.since,
        end_on=receipt.until,
        figures_sha256=figures,
        verdict=receipt.verdict,
        items=receipt.items,
        sources=receipt.sources,
    )


def test_the_code_on_the_page_is_the_receipt(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path)
    (line,) = lines(db, person)
    section = receipt_section(wording(Locale.EN), line)
    side = int(re.findall(r'viewBox="0 0 (\d+)', section.code)[0])
    picture = np.full((side, side), 255, dtype=np.uint8)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1", section.code):
        picture[int(y), int(x) : int(x) + int(width)] = 0
    (read,) = zxingcpp.read_barcodes(np.kron(picture, np.ones((4, 4), dtype=np.uint8)))
    assert read.text == line
    assert fingerprint(line)[:4] in section.line


@pytest.mark.usefixtures("settings")
def test_a_stranger_verifies_with_the_public_key_alone(
    db: Engine, keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path / "reports")

    def said(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(receipt_app, list(words))
        assert result.exit_code == code, result.output
        return result.output

    (tmp_path / "keys.json").write_text(said("key"))
    file = tmp_path / "lines.txt"
    assert "exposed" in said("list", str(person.subscription_id), "--to", str(file))
    assert "holds: receipt 1" in said("verify", str(file))
    monkeypatch.setenv("KORDANT_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    assert "holds: receipt 1" in said("verify", str(file), "--keys", str(tmp_path / "keys.json"))
    held = said(
        "verify", str(file), "--keys", str(tmp_path / "keys.json"), "--subscription", str(person.subscription_id)
    )
    assert str(person.subscription_id) in held
    other = said("verify", str(file), "--keys", str(tmp_path / "keys.json"), "--subscription", str(UUID(int=1)), code=1)
    assert "refused: it is of subscription" in other
    file.write_text(file.read_text()[:-9])
    assert json.loads(said("verify", str(file), "--keys", str(tmp_path / "keys.json"), "--json", code=1))["why"]
    (tmp_path / "none.json").write_text("[]")
    assert "holds no Ed25519 key" in str(
        CliRunner().invoke(receipt_app, ["verify", str(file), "--keys", str(tmp_path / "none.json")]).exception
    )


@pytest.mark.usefixtures("settings")
def test_what_was_changed_in_the_database_is_reported(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    person = affected(db, keyring)
    make(db, keyring, tmp_path)
    with db.begin() as connection:
        connection.execute(sa.update(scan_receipts).values(receipt=scan_receipts.c.receipt + "x"))
    result = CliRunner().invoke(receipt_app, ["list", str(person.subscription_id)])
    assert result.exit_code == 1
    assert "what is kept does not hold: receipt 1: " in result.output


def test_a_receipt_of_another_subscriber_does_not_fit_the_chain(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    ann, ben = affected(db, keyring), subscribe(db, keyring, "ben@watched.example")
    make(db, keyring, tmp_path)
    with pytest.raises(ReceiptRefused):
        verify_chain([*lines(db, ann), *lines(db, ben)], public_of(keyring))
    with db.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(scan_receipts)).scalar_one() == 2


def test_the_key_is_published_by_its_id(keyring: Keyring) -> None:
    (one,) = key_set([keyring.receipt_key.public_key()])["keys"]
    assert one["kid"] == receipts.key_id(keyring.receipt_key.public_key())
