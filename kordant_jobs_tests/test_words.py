"""The field's words: names, docstrings, comments, texts and documentation do without the words that readers stumble on.

The left column of `WORDS` is looked for in the whole text of product code and pages; `docs/glossary.md` has the words that
we use instead. Code of the lab, migrations and decisions, which record what was, are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ROOT / "kordant_jobs"

WORDS = {
    "told": "configured, given, reported, alerted (people are notified)",
    "untold": "without an alert",
    "told off": "not configured",
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
    "a look": "a check",
    "rests": "is paused; depends on",
}
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(WORDS)})(?![A-Za-z])", re.IGNORECASE)
PARCEL = re.compile(r"(?<![A-Za-z])(parcels?|letters?)(?![A-Za-z])", re.IGNORECASE)

COLUMNS = ("told", "told_at", "told_by", "told_days", "told_off_at", "told_paid", "told_shape", "is_told")
"""Names of columns, which stay: `told` within them, in SQL or as an attribute of a row, is no word of ours."""
ALLOWED = {
    "kordant_jobs/domain/removals/states.py": "Turn.NOBODY is a word of the database",
    "kordant_jobs/jobs/reports_generate/removals.py": "the same",
    "kordant_jobs/postgres/embedded/account.py": "`nobody` is the Unix user that the server runs as",
    "kordant_jobs/postgres/embedded/cluster.py": "the same",
    "kordant_jobs/postgres/embedded/folders.py": "the same",
    "kordant_jobs/store/property/matching.py": "a parameter is called like its column",
    "kordant_jobs/store/operators": "columns `told` and their check",
    "kordant_jobs/wording/voices.py": "a key of the wording's file",
    "kordant_jobs/jobs/notifications_send/alert_message.py": "a sentence for people, 'where somebody logged in'",
    "kordant_jobs/jobs/reports_generate/receipt.py": "a sentence for people, 'whoever has our public key'",
}
TABLES = re.compile(r"store/[a-z]+/(\w*tables)\.py$")
"""Comments of tables and columns change by a migration only."""
OPENING = re.compile(r'^\s*r?"""(What|Whether|How|Who|Whom|Whose|Which|Where|When)\b', re.MULTILINE)


def sources() -> list[Path]:
    """The Python files of the product."""
    left_out = {"lab", "migrations"}
    return sorted(path for path in PRODUCT.rglob("*.py") if not left_out & set(path.relative_to(PRODUCT).parts))


def pages() -> list[Path]:
    """The pages of documentation, without decisions."""
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def found(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """The places of a file where the pattern stands, as `path:line: word`."""
    name = path.relative_to(ROOT).as_posix()
    if any(name == one or name.startswith(f"{one}/") for one in ALLOWED):
        return []
    text = path.read_text()
    places = []
    for word in pattern.finditer(text):
        around = re.search(r"\w*$", text[: word.start()])[0] + re.match(r"\w*", text[word.start() :])[0]  # type: ignore[index]
        if around not in COLUMNS[1:]:
            places.append(f"{name}:{text.count(chr(10), 0, word.start()) + 1}: {word[1]}")
    return places


def test_no_text_or_name_has_a_word_that_readers_stumble_on() -> None:
    files = [path for path in sources() if not TABLES.search(path.as_posix())] + pages()
    assert len(files) > 500
    assert [place for path in files for place in found(path, WORD)] == []


def test_a_notification_is_no_parcel_and_a_mail_no_letter() -> None:
    files = [
        path
        for folder in ("jobs/notifications_send", "store/notifications", "domain/notifications", "adapters/mail")
        for path in sorted((PRODUCT / folder).rglob("*.py"))
    ]
    land = {"property_message.py", "pending.py", "service.py", "bundle.py", "digest.py"}  # they speak of land, too
    assert [place for path in files if path.name not in land for place in found(path, PARCEL)] == []


def test_docstrings_open_with_what_the_reader_gets() -> None:
    assert [place for path in sources() for place in found(path, OPENING)] == []


@pytest.mark.parametrize("word", ["told", "is_told_of", "Whoever", "OUTLET", "a look"])
def test_the_check_sees_words_within_names(word: str) -> None:
    assert WORD.search(f"def {word}(self)")
