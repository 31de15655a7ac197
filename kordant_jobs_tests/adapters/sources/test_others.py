"""Pwned Passwords, XposedOrNot and LeakCheck by their contracts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from kordant_jobs.adapters.sources import pwned_passwords
from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.pwned_passwords import PwnedPasswordsCorpus, PwnedPasswordsRange, password_hash
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.darkwatch.exposures import UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.errors import PermanentError, SourceUnavailable
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck, FakePwnedPasswords, FakeXposedOrNot
from kordant_jobs.lab.fakes.sources.server import FakeServer, Told
from kordant_jobs_tests.adapters.sources.providers import REAL, about

COUNTED = {"password": 9_545_824, "hunter2": 17_043, "": 3, "zzz": 1}


@pytest.fixture(scope="module")
def hashes() -> dict[str, int]:
    """A corpus of a few thousand hashes, those of `COUNTED` among them."""
    filling = {hashlib.sha1(str(n).encode()).hexdigest().upper(): n + 1 for n in range(3000)}
    return filling | {password_hash(word): seen for word, seen in COUNTED.items()}


def test_a_password_is_asked_by_five_digits_with_padding_and_padding_counts_nothing() -> None:
    fake = FakePwnedPasswords()
    with fake.server() as server:
        ranges = PwnedPasswordsRange() if REAL else PwnedPasswordsRange(server.url)
        assert ranges.times_seen("password") >= 9_545_824
        assert ranges.times_seen("no one ever had this ♥ password") == 0
    for asked in server.log:
        assert len(asked.path.removeprefix("/range/")) == pwned_passwords.PREFIX_DIGITS
        assert asked.headers["add-padding"] == "true"


def test_a_padding_row_of_the_very_hash_is_never_seen() -> None:
    rows = [f"{n:035X}:0" for n in range(850)] + [f"{password_hash('password')[5:]}:0"]
    with FakeServer(lambda _: Told(body="\r\n".join(rows).encode(), headers={"content-type": "text/plain"})) as server:
        assert PwnedPasswordsRange(server.url).times_seen("password") == 0


def test_a_range_that_was_cut_off_is_not_taken_for_whole() -> None:
    rows = "\r\n".join(f"{n:035X}:1" for n in range(500))
    with (
        FakeServer(lambda _: Told(body=rows.encode(), headers={"content-type": "text/plain"})) as server,
        pytest.raises(SourceUnavailable),
    ):
        PwnedPasswordsRange(server.url).times_seen("password")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("layout", ["file", "folder"])
def test_the_downloaded_corpus_says_the_same_in_both_layouts(
    tmp_path: Path, hashes: dict[str, int], layout: str, end: str
) -> None:
    lines = [f"{digest}:{seen}" for digest, seen in sorted(hashes.items())]
    path = tmp_path / "pwned"
    if layout == "file":
        path.write_bytes((end.join(lines) + end).encode())
    else:
        path.mkdir()
        for prefix in {line[:5] for line in lines}:
            rows = [line[5:] for line in lines if line.startswith(prefix)]
            (path / f"{prefix}.txt").write_bytes((end.join(rows) + end).encode())
    corpus = PwnedPasswordsCorpus(path)
    assert {word: corpus.times_seen(word) for word in COUNTED} == COUNTED
    words = [str(n) for n in range(0, 3000, 7)]
    assert [corpus.times_seen(word) for word in words] == [hashes[password_hash(word)] for word in words]
    if layout == "file":
        assert corpus.times_seen("not in it") == 0


def test_a_damaged_or_absent_corpus_is_said(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="KORDANT_PWNED_PASSWORDS_CORPUS"):
        PwnedPasswordsCorpus(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.txt").write_text("<html>no corpus</html>\n" * 50)
    for path in (tmp_path / "empty", tmp_path / "odd.txt"):
        with pytest.raises(SourceUnavailable):
            PwnedPasswordsCorpus(path).times_seen("password")


@pytest.mark.parametrize("status", [200, 404])
def test_xposedornot_says_nothing_in_two_ways(status: int) -> None:
    with FakeXposedOrNot(not_found_status=status).server() as server:
        [answer] = XposedOrNot(server.url).ask([about("nobody@example.com")])
    assert answer.verdict is Verdict.CLEAN


def test_xposedornot_tells_of_a_breach_by_its_id() -> None:
    with FakeXposedOrNot().server() as server:
        source = XposedOrNot(server.url)
        tesco = source.describe("Tesco")
        assert tesco is not None
        assert (tesco.domain, tesco.data_classes) == ("tesco.com", ("Email addresses", "Passwords"))
        assert source.describe("Nope") is None


@pytest.mark.parametrize(
    "body",
    [
        {"breaches": [], "status": "success"},
        {"breaches": [["Tesco"]], "email": "someone.else@example.com", "status": "success"},
        {"Error": "Internal"},
        {"status": "success"},
    ],
)
def test_xposedornot_is_clean_only_by_its_own_word(body: object) -> None:
    with FakeServer(lambda _: Told(body=body)) as server:
        [answer] = XposedOrNot(server.url).ask([about("ann@example.com")])
    assert answer.reason is UnknownReason.UNREADABLE


def test_leakcheck_is_never_told_an_address() -> None:
    fake = FakeLeakCheck()
    with fake.server() as server:
        for key in (None, SecretStr(fake.key)):
            LeakCheck(key, base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert len(server.log) == 2
    assert not any("found" in asked.target or "%40" in asked.target for asked in server.log)


def test_leakcheck_pro_keeps_no_password_and_speaks_of_data_in_our_words() -> None:
    fake = FakeLeakCheck()
    with fake.server() as server:
        [answer] = LeakCheck(SecretStr(fake.key), base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert fake.password not in repr(answer)
    adobe = next(finding.breach for finding in answer.findings if finding.reference == "Adobe.com")
    assert adobe is not None
    assert adobe.data_classes == ("Email addresses", "Names", "Passwords")
    assert (adobe.domain, str(adobe.breached_on)) == ("adobe.com", "2013-10-01")


def test_leakcheck_takes_phones_only_with_a_key() -> None:
    assert LeakCheck().requests_for(IdentifierKind.PHONE) == 0
    assert LeakCheck(SecretStr("k")).requests_for(IdentifierKind.PHONE) == 1


def test_a_wrong_key_of_leakcheck_is_unknown() -> None:
    with FakeLeakCheck().server() as server:
        [answer] = LeakCheck(SecretStr("wrong"), base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert (answer.verdict, answer.reason) == (Verdict.UNKNOWN, UnknownReason.BAD_REQUEST)
