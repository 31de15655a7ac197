"""The field's words: names, docstrings, comments, texts and documentation do without the words that readers stumble on.

The left column of `WORDS` is searched in the whole text of code, pages and decisions, and in the names of tests;
`docs/glossary.md` has our words. Migrations, which record what was, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ROOT / "kordant_jobs"
TESTS = ROOT / "kordant_jobs_tests"

WORDS = {
    "told": "configured, given, reported, alerted (people are notified)",
    "untold": "without an alert",
    "whoever": "the reader, the caller, every process that …",
    "somebody": "an operator, a person, another process",
    "nobody": "no process, no operator; or the passive voice",
    "anew": "again",
    "outlets?": "channel sender",
    "made wrong": "invalid",
    "put right": "repaired",
    "the other side": "the server, the provider",
    "ha(?:s|ve) (?:its|their) say": "contributes a verdict",
    "is owed": "is overdue",
    "is due as": "is scheduled for",
    "a look(?!-up)": "a check",
    "rests": "is paused; depends on",
}
LAND = {"parcels?": "bundle", "letters?": "message"}

COLUMNS = ("told_at", "told_days", "told_off_at", "told_paid", "told_shape", "is_told")
"""Names of columns, which stay: `told` within them, in SQL or as an attribute of a row, is no word of ours."""
ALLOWED = {
    "kordant_jobs/domain/removals/states.py": "Turn.NOBODY is a word of the database",
    "kordant_jobs/jobs/reports_generate/removals.py": "the same",
    "docs/decisions/0002-embedded-postgres.md": "`nobody` is a user of Unix",
    "kordant_jobs/lab/bench/console.py": "a name that no row has",
    "kordant_jobs/lab/world/dump_shapes.py": "a name in rows of no one",
    "kordant_jobs/postgres/embedded/account.py": "`nobody` is the Unix user that the server runs as",
    "kordant_jobs/postgres/embedded/cluster.py": "the same",
    "kordant_jobs/postgres/embedded/folders.py": "the same",
    "kordant_jobs/store/property/matching.py": "a parameter is called like its column",
    "kordant_jobs/store/operators": "columns `told` and their check",
    "kordant_jobs/observability/alerting.py": "reads the column `told`",
    "kordant_jobs/wording/voices.py": "a key of the wording's file",
    "kordant_jobs/jobs/notifications_send/alert_message.py": "a sentence for people, 'where somebody logged in'",
    "kordant_jobs/jobs/reports_generate/receipt.py": "a sentence for people, 'whoever has our public key'",
}
TABLES = re.compile(r"store/(?:[a-z]+/)?\w*tables\.py$")
"""Comments of tables and columns change by a migration only."""
OPENING = re.compile(r'^\s*r?"""(What|Whether|How|Who|Whom|Whose|Which)\b', re.MULTILINE)


def sources() -> list[Path]:
    """The Python files of the product and of its lab."""
    return sorted(path for path in PRODUCT.rglob("*.py") if "migrations" not in path.parts)


def pages() -> list[Path]:
    """The pages of documentation and of decisions."""
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")]


def names_of_tests() -> list[str]:
    """Each test's name without `test_`."""
    files = TESTS.rglob("test_*.py")
    return [name for path in files for name in re.findall(r"def test_(\w+)", path.read_text())]


def words_in(text: str, words: Iterable[str]) -> list[str]:
    """The words that stand in a text, as `line: word`; names are taken apart at `_`."""
    text = text.lower()
    places = []
    for word in words:
        for hit in re.finditer(rf"{word}(?![a-z])", text):  # the word first: a search for a literal is fast
            before, after = text[max(0, hit.start() - 20) : hit.start()], text[hit.start() : hit.start() + 20]
            whole = re.findall(r"\w*$", before)[0] + re.findall(r"^\w*", after)[0]
            if not before[-1:].isalpha() and whole not in COLUMNS:
                places.append(f"{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]}")
    return places


def found(files: Iterable[Path], words: Iterable[str]) -> list[str]:
    """The words of files beside what is allowed there, as `path:line: word`."""
    by_name = {path.relative_to(ROOT).as_posix(): path for path in files}
    return [
        f"{name}:{place}"
        for name, path in by_name.items()
        if not any(name == one or name.startswith(f"{one}/") for one in ALLOWED)
        for place in words_in(path.read_text(), words)
    ]


def test_no_text_or_name_has_a_word_that_readers_stumble_on() -> None:
    files = [path for path in sources() if not TABLES.search(path.as_posix())] + pages()
    assert len(files) > 500
    assert found(files, WORDS) == []


def test_names_of_tests_have_no_such_word_either() -> None:
    names = names_of_tests()
    unix = [name for name in names if re.search("root_run|other_programs|closed_to_nobody", name)]
    assert len(names) > 1000
    assert [name for name in names if name not in unix and words_in(name, WORDS)] == []


def test_a_notification_is_no_parcel_and_no_letter() -> None:
    folders = ("jobs/notifications_send", "store/notifications", "domain/notifications")
    files = [path for folder in folders for path in sorted((PRODUCT / folder).rglob("*.py"))]
    land = {"property_message.py", "pending.py", "service.py", "bundle.py", "digest.py"}  # they speak of land, too
    assert found([path for path in files if path.name not in land], LAND) == []


def test_docstrings_open_with_what_the_reader_gets() -> None:
    openings = [
        f"{path.relative_to(ROOT)}: {opening[1]}"
        for path in sources()
        if not re.search("kordant_jobs/lab/.*voice", path.as_posix())
        for opening in OPENING.finditer(path.read_text())
    ]
    assert openings == []


@pytest.mark.parametrize(
    "text", ["def is_told_of():", "Whoever asks", "OUTLETS = 1", "that is told", "takes a look at"]
)
def test_the_check_sees_words_in_prose_and_within_names(text: str) -> None:
    assert len(words_in(text, WORDS)) == 1


@pytest.mark.parametrize("text", ["row.told_at", "f.is_told AND f.is_news", "retold", "a look-up"])
def test_columns_and_parts_of_other_words_pass(text: str) -> None:
    assert words_in(text, WORDS) == []
