"""The known limit, held in every text: no words of ours reassure, and none claims that today's copies are noticed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.voice.verdicts import ClipStatus, Match, Synthesis
from kordant_jobs.wording import wording

NEVER = {
    "en": r"\b(real|safe|safely|verified|verify|authentic|genuine|human|legit\w*|trust\w*|certain|proven|proof|fake"
    r"|deepfake\w*|clone\w* (is|are) (found|detected)|detects?|sure)\b|\d\s*%",
    "pt-BR": r"\b(real|reais|segur[oa]s?|verificad[oa]s? por nós|autêntic[oa]s?|genuín[oa]s?|human[oa]s?|confiáve\w*"
    r"|confia\w*|certeza|prova\w*|fals[oa]s?|deepfake\w*|detect\w+|legítim[oa]s?)\b|\d\s*%",
}
"""Words that would say more than is known."""


def texts(node: Any, language: str) -> Iterator[str]:
    """Every text of one language below a node of `voice.toml`."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == language and isinstance(value, str):
                yield value
            else:
                yield from texts(value, language)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, language)


def table() -> dict[str, Any]:
    return tomllib.loads(files("kordant_jobs.wording").joinpath("voice.toml").read_text("utf-8"))


@pytest.mark.parametrize("language", [locale.value for locale in Locale])
def test_no_text_about_voices_reassures_or_claims(language: str) -> None:
    said = list(texts(table(), language))
    assert len(said) > 20
    for text in said:
        assert not re.search(NEVER[language], text, re.IGNORECASE), text


@pytest.mark.parametrize("locale", list(Locale))
def test_every_verdict_has_words_and_every_text_all_languages(locale: Locale) -> None:
    words = wording(locale)
    for match in Match:
        assert words.voice(f"match.{match}", person="Ann")
    for synthesis in Synthesis:
        assert words.voice(f"synthesis.{synthesis}")
    for status in set(ClipStatus) - {ClipStatus.OK}:
        assert words.voice(f"status.{status}")
    assert len(words.voice_actions()) == len(table()["advice"])


def test_a_match_says_that_a_copy_would_match_and_no_signs_that_todays_programs_leave_none() -> None:
    english, portuguese = wording(Locale.EN), wording(Locale.PT_BR)
    assert "copy of that voice would be" in english.voice("match.consistent", person="Ann")
    assert "cópia dessa voz também" in portuguese.voice("match.consistent", person="Ana")
    assert "today's programs show none" in english.voice("synthesis.no_signs_found")
    assert "programas atuais também não" in portuguese.voice("synthesis.no_signs_found")


CLAIM = re.compile(
    r"\b(detect|recogni[sz]|notic|spot|catch|expos)\w*\s+(all |any |every |most )?"
    r"(deepfake|clone|modern|ai[- ]generated|today's (voice|cop))",
    re.IGNORECASE,
)


def test_no_file_of_the_project_claims_that_modern_copies_are_noticed() -> None:
    assert CLAIM.search("It detects deepfakes.")
    read = 0
    texts = (("kordant_jobs", "**/*.py"), ("kordant_jobs/wording", "**/*.po"), ("kordant_jobs/wording", "**/*.toml"))
    for folder, pattern in (*texts, ("docs", "**/*.md")):
        for path in [*(CHECKOUT / folder).glob(pattern), CHECKOUT / "README.md"]:
            found = CLAIM.search(path.read_text("utf-8"))
            assert found is None, f"{path.name}: {found}"
            read += 1
    assert read > 500
    assert "not today's" in (CHECKOUT / "docs" / "voices.md").read_text("utf-8")
