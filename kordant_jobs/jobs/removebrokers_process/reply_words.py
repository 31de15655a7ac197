"""A second reader for replies that no rule fits: how likely each class is, by the words of the reply.

Logistic regression on words, pairs and triples of words; its table (`reply_words.json`) is made by
`kordant-jobs fit-replies` from labelled replies of invented brokers. Pure, but for reading the table.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from kordant_jobs.domain.removals.replies import ReplyClass

SCALE = 100
"""The table holds hundredths."""
STEM = 6
"""Letters of a word that count: English and Portuguese differ at the end of words."""


@dataclass(frozen=True, kw_only=True)
class WordTable:
    """`words`: the rarity of each, then its weight for each of `classes`. All in units of 1 / `SCALE`."""

    classes: tuple[ReplyClass, ...]
    bias: Sequence[int]
    words: Mapping[str, Sequence[int]]


@lru_cache(maxsize=1)
def word_table() -> WordTable:
    """The table, read once a process."""
    raw = json.loads(files(__package__).joinpath("reply_words.json").read_text("utf-8"))
    return WordTable(classes=tuple(map(ReplyClass, raw["classes"])), bias=raw["bias"], words=raw["words"])


_TOKEN = re.compile(r"[a-z0]+|\?")


def words_of(text: str) -> set[str]:
    """Words, pairs and triples of words, folded to lower-case ASCII and cut at `STEM` letters.

    >>> sorted(words_of("Não há dados!"))
    ['dados', 'ha', 'ha_dados', 'nao', 'nao_ha', 'nao_ha_dados']
    """
    folded = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(one for one in folded if not unicodedata.combining(one))
    plain = re.sub(r"https?://\S+", " zurl ", plain)
    plain = re.sub(r"\S+@\S+", " zmail ", plain)
    plain = re.sub(r"\d+", "0", plain).replace("’", "'").replace("n't", " not")
    found = [one[:STEM] for one in _TOKEN.findall(plain)]
    pairs, triples = pairwise(found), zip(found, found[1:], found[2:], strict=False)
    return {*found, *map("_".join, pairs), *map("_".join, triples)}


def features(subject: str, text: str) -> set[str]:
    """The words of a reply; those of its subject are marked."""
    return words_of(text) | {f"S:{one}" for one in words_of(subject)}


def likelihoods(words: Collection[str], table: WordTable | None = None) -> dict[ReplyClass, float]:
    """The share of each class; the sum is 1."""
    table = table or word_table()
    known = [table.words[one] for one in words if one in table.words]
    length = math.sqrt(sum(row[0] ** 2 for row in known)) or 1.0
    scores = [
        (bias + sum(row[0] * row[place] for row in known) / length) / SCALE
        for place, bias in enumerate(table.bias, start=1)
    ]
    most = max(scores)
    raised = [math.exp(one - most) for one in scores]
    return {one: value / sum(raised) for one, value in zip(table.classes, raised, strict=True)}
