"""Tells a broker's own words from what its reply quotes, our letters above all. Pure, but for reading their templates.

Our letters are known by their text, in every language: mail programs and ticket systems repeat them in too many ways
for their marks to be enough.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

SENTENCE_MAX = 600
RUN = 4
"""Words in a row that a letter of ours has, too."""
OURS_FROM = 0.6
"""The share of a sentence's words in such runs from which on it is ours."""

_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\uff07", "'"))


def plain_text(text: str) -> str:
    """Text as it is seen: without characters that have no width, with plain spaces and apostrophes.

    >>> plain_text("has\\u00a0n\\u200bot been dele\\u00adted; wasn\\u2019t")
    "has not been deleted; wasn't"
    """
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).translate(_APOSTROPHES)


_QUOTED_LINE = re.compile(r"^\s*>")
_NO_WORDS = re.compile(r"^\s*(_{8,}|##- .{0,80} -##)\s*$")
"""Lines that mail programs and ticket systems write around a reply."""
_ATTRIBUTION = re.compile(
    r"^[ \t]*(on|em|no dia|at)\b(?=[^\n]{0,200}(?:\n[^\n]{1,200}){0,2}?[\d@<])[^\n]{0,200}(?:\n[^\n>]{1,200}){0,2}?"
    r"\b(wrote|escreveu):[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(
    r"^[ \t*]*(from|de)[ \t*]*:[^\n]{1,200}\n(?:[^\n]{1,200}\n){0,2}?"
    r"[ \t*]*(sent|date|to|enviad[oa]( em)?|data|para)[ \t*]*:"
    r"|^[ \t]*-{2,}[ \t]*(original message|forwarded message|mensagem original|mensagem encaminhada)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Where the mail that is answered begins; from there to the end it is quoted."""


def own_words(text: str) -> str:
    """The reply without what it quotes.

    >>> own_words("Done.\\n\\nOn Mon, 2 Mar 2026, Kordant wrote:\\n> please delete\\n\\nRegards")
    'Done.\\n\\n\\n\\nRegards'
    >>> own_words("See below.\\n\\nDe: Kordant\\nEnviado: segunda-feira\\nSe não mantêm dados, pedimos que o digam.")
    'See below.'
    """
    whole = plain_text(text).replace("\r\n", "\n").replace("\r", "\n")
    if header := _HEADER.search(whole):
        whole = whole[: header.start()]
    while quoted := _ATTRIBUTION.search(whole):
        rest = whole[quoted.end() :]
        # answers below a quotation are the broker's; a quotation without marks goes on to the end
        whole = whole[: quoted.start()] + (rest if _QUOTED_LINE.match(rest.lstrip("\n")) else "")
    kept = [one for one in whole.split("\n") if not _QUOTED_LINE.match(one) and not _NO_WORDS.match(one)]
    return "\n".join(kept).strip()


_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[^\s])")


def sentences(text: str) -> list[str]:
    """The sentences of a text, without those of our letters; lines that were wrapped are put together. One that is very
    long is cut into several.

    >>> sentences("We have received\\nyour request. Thank you!\\n\\n- Privacy team")
    ['We have received your request.', 'Thank you!', '- Privacy team']
    >>> sentences("Noted. If you hold nothing, please say so.")
    ['Noted.']
    """
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*•\d])", text):
        for one in _SENTENCE.split(" ".join(paragraph.split())):
            if one and not is_ours(one):
                found += [one[start : start + SENTENCE_MAX] for start in range(0, len(one), SENTENCE_MAX)]
    return found


_WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=1)
def _our_runs() -> frozenset[tuple[str, ...]]:
    runs: set[tuple[str, ...]] = set()
    for letter in files(__package__).joinpath("letters").iterdir():
        if letter.name.endswith(".txt"):
            for fixed in re.split(r"\{[%{].*?[%}]\}", letter.read_text("utf-8")):
                words = _WORD.findall(fixed.lower())
                runs.update(tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return frozenset(runs)


def is_ours(sentence: str) -> bool:
    """True when a sentence is one of our letters to brokers.

    >>> is_ours("Se não mantêm dados, pedimos que o digam."), is_ours("We do not hold personal information about you.")
    (True, False)
    """
    words = _WORD.findall(sentence.lower())
    ours = {
        place
        for start in range(len(words) - RUN + 1)
        if tuple(words[start : start + RUN]) in _our_runs()
        for place in range(start, start + RUN)
    }
    return bool(ours) and len(ours) >= OURS_FROM * len(words)
