"""The likelihood that two names are the same person or organisation: a calibrated probability, and the features that
agree or differ.

The weights are a small table with a version (`tables/likeness.json`), made by `kordant-jobs fit-names` from labelled
pairs: logistic regression, then bins by isotonic regression. There are two tables. `parcel` compares names of one
parcel, where few people are candidates. `alone` compares by the name only, where everybody in the county is a
candidate, so that the rarity of the name counts. Pure.
"""

import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, JaroWinkler

from kordant_jobs.domain.property.names import (
    INSTITUTIONS,
    LEGAL,
    LIGHT,
    SEPARATE,
    Name,
    NameKind,
    are_nicknames,
    flipped,
    given_shares,
    surname_shares,
)

RARE_SHARE = 3e-6
"""The assumed share of a name that no table lists (the last one listed has 20 in a million)."""
INITIAL_SHARE = 0.08
"""The chance that two people share an initial (1990 census, sum of squares)."""


class Question(StrEnum):
    """The table of weights that a comparison uses."""

    PARCEL = "parcel"
    ALONE = "alone"
    BODY = "body"


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The likelihood that two names mean the same. `agrees` and `differs` are codes that explain it, never names."""

    probability: float
    agrees: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One table: the weight of each feature, and the calibration that maps a raw score to a probability."""

    bias: float
    weights: Mapping[str, float]
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def probability(self, features: Mapping[str, float]) -> float:
        """The calibrated probability of these features."""
        z = self.bias + sum(self.weights.get(name, 0.0) * value for name, value in features.items())
        raw = 1 / (1 + math.exp(-max(-40.0, min(40.0, z))))
        if not self.scores:
            return raw
        at = bisect_right(self.scores, raw)
        if at == 0 or at == len(self.scores):
            return self.probabilities[min(at, len(self.scores) - 1)]
        low, high = self.scores[at - 1], self.scores[at]
        share = (raw - low) / (high - low) if high > low else 0.0
        return self.probabilities[at - 1] + share * (self.probabilities[at] - self.probabilities[at - 1])


@lru_cache(maxsize=1)
def tables() -> tuple[str, Mapping[Question, Weights]]:
    """The version of the tables, and each table."""
    text = (files("kordant_jobs.domain.property") / "tables" / "likeness.json").read_text("utf-8")
    given = json.loads(text)
    found = {
        Question(name): Weights(
            bias=one["bias"],
            weights=one["weights"],
            scores=tuple(one["scores"]),
            probabilities=tuple(one["probabilities"]),
        )
        for name, one in given["tables"].items()
    }
    return given["version"], found


def likeness(one: Name, other: Name, *, among: int | None = None) -> Likeness:
    """Compute the likelihood that two names mean the same person or organisation. `among` is the number of people who
    are candidates; None: only those of one parcel.

    >>> from kordant_jobs.domain.property.names import parse
    >>> likeness(parse("SMITH JOHN Q"), parse("Smith, John Q")).probability > 0.9
    True
    >>> likeness(parse("SMITH JOHN"), parse("ACME PROPERTIES LLC")).probability
    0.0
    """
    both = {one.kind, other.kind}
    if one.is_person and other.is_person and one.given and other.given:
        question = Question.PARCEL if among is None else Question.ALONE
        table = tables()[1][question]
        readings = [(one, other), (one, flipped(other))]
        found = [
            (table.probability(features), features) for features in (person_features(*r, among=among) for r in readings)
        ]
        probability, features = max(found, key=lambda pair: pair[0])
        return _said(probability, features)
    is_mixed = one.is_person != other.is_person and NameKind.ORGANISATION in both
    if NameKind.TRUST in both and (one.is_person or other.is_person):
        return Likeness(probability=0.0, differs=("kind",))
    if is_mixed and _has_given_name(one, other):
        return Likeness(probability=0.0, differs=("kind",))
    features = body_features(one, other)
    return _said(tables()[1][Question.BODY].probability(features), features)


def _has_given_name(*names: Name) -> bool:
    """True when a name that reads as a person's has a known given name; a misspelt 'LAKESIDE UNVRSTY' has none."""
    return any(set(name.words) & given_shares().keys() for name in names if name.is_person)


def _said(probability: float, features: Mapping[str, float]) -> Likeness:
    present = [name for name, value in features.items() if value >= 0.5 and not name.startswith("n_")]
    return Likeness(
        probability=probability,
        agrees=tuple(name for name in present if not name.endswith("_differs")),
        differs=tuple(name.removesuffix("_differs") for name in present if name.endswith("_differs")),
    )


def person_features(one: Name, other: Name, *, among: int | None = None) -> dict[str, float]:
    """The features on which two persons agree. Each is 0 or 1, except `n_namesakes`: the logarithm of the number of
    others among the candidates who share the name."""
    found: dict[str, float] = {}
    share = 1.0
    similar = JaroWinkler.similarity(one.surname, other.surname)
    if one.surname == other.surname:
        found["surname"] = 1
    elif _one_letter(one.surname, other.surname):
        found["surname_nearly"] = 1
    elif one.surname in other.middle or other.surname in one.middle or _part(one.surname, other.surname):
        found["surname_part"] = 1
    elif similar >= 0.88:
        found["surname_resembles"] = 1
    elif _same_letters(one.surname, other.surname):
        found["surname_jumbled"] = 1
    else:
        found["surname_differs"] = 1
    share *= surname_shares().get(one.surname, RARE_SHARE)
    given, share_given = _given(one.given, other.given)
    found[given] = 1
    middle, share_middle = _middle(one.middle, other.middle)
    found[middle] = 1
    if one.suffix != other.suffix:
        found["suffix_differs" if one.suffix and other.suffix else "suffix_missing"] = 1
    if among is not None:
        found["n_namesakes"] = math.log10(1 + among * share * share_given * share_middle)
    return found


def _one_letter(one: str, other: str) -> bool:
    return min(len(one), len(other)) >= 4 and OSA.distance(one, other, score_cutoff=1) <= 1


JUMBLED_AT = 0.75
"""The share of the longer name's letters that a name with letters out of order must share; 1 pair of census names in
200 shares as many."""


def _same_letters(one: str, other: str) -> bool:
    """True when two names consist of nearly the same letters, in any order."""
    common = (Counter(one) & Counter(other)).total()
    return min(len(one), len(other)) >= 3 and common >= JUMBLED_AT * max(len(one), len(other))


def _part(one: str, other: str) -> bool:
    """True when one name is the beginning of the other, as in a double name or one that was cut off."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 5 and long.startswith(short)


def _given(one: str, other: str) -> tuple[str, float]:
    if one == other:
        return "given", given_shares().get(one, RARE_SHARE * 10)
    if len(one) == 1 or len(other) == 1:
        return ("given_initial", INITIAL_SHARE) if one[0] == other[0] else ("given_differs", 1.0)
    if _one_letter(one, other):
        return "given_nearly", given_shares().get(one, RARE_SHARE * 10)
    if are_nicknames(one, other):
        return "given_nickname", given_shares().get(one, RARE_SHARE * 10)
    if one.startswith(other) or other.startswith(one) or JaroWinkler.similarity(one, other) >= 0.9:
        return "given_resembles", given_shares().get(one, RARE_SHARE * 10) * 2
    if _same_letters(one, other):
        return "given_jumbled", given_shares().get(one, RARE_SHARE * 10) * 2
    return "given_differs", 1.0


def _middle(one: Sequence[str], other: Sequence[str]) -> tuple[str, float]:
    if not one and not other:
        return "middle_absent", 1.0
    if not one or not other:
        return "middle_missing", 1.0
    if set(one) & set(other) and max(map(len, set(one) & set(other))) > 1:
        return "middle", given_shares().get(one[0], RARE_SHARE * 10)
    if one[0][0] == other[0][0]:
        if len(one[0]) == 1 or len(other[0]) == 1:
            return "middle_initial", INITIAL_SHARE
        return ("middle", 0.01) if _one_letter(one[0], other[0]) else ("middle_differs", 1.0)
    return "middle_differs", 1.0


_SHORT = {
    "UNIVERSITY": ("UNIV", "UNI", "UNV", "UNIVER", "UNVER", "U"),
    "ASSOCIATION": ("ASSN", "ASSOC"),
    "DEPARTMENT": ("DEPT",),
    "TRUSTEES": ("TRUSTEE", "TRS", "TR", "TRSTE", "TRST", "TRUS", "TRSTEE", "TRTEES", "TRP"),
    "CITY": ("CTY", "C", "CNY"),
    "YORK": ("Y", "NY", "NYC", "CNY"),
    "NEW": ("N", "NY", "NYC", "CNY"),
    "NATIONAL": ("NATL", "NAT"),
    "SAVINGS": ("SVGS", "SAV"),
    "STREET": ("ST",),
    "AVENUE": ("AVE", "AV"),
    "SAINT": ("ST",),
}


_LIGHT_GLUED = re.compile(r"(?:NYC?|CNY|CTY|CI?TY|NEW|YORK|TR[USTEOFP]*|ETC|ETAL?|OF|THE|IN|AND|[NYC])+")
"""Words of little weight that were run together, as in NYCTRS."""


def _stands_for(one: str, other: str) -> bool:
    """True when two words of organisations' names mean the same: misspelt, cut short, or a listed abbreviation."""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    if short in _SHORT.get(long, ()):
        return True
    if len(short) >= 3 and long.startswith(short):
        return True
    if len(short) >= 8 and short[0] == long[0] and fuzz.partial_ratio(short, long) >= 85:
        return True
    if len(short) >= 5 and OSA.normalized_similarity(short, long) >= 0.75:
        return True
    return len(short) >= 4 and short[0] == long[0] and _is_within(short, long) and len(short) * 2 >= len(long)


def _is_within(short: str, long: str) -> bool:
    """True when the letters of `short` occur in `long` in the same order."""
    left = iter(long)
    return all(letter in left for letter in short)


def _unglued(words: Sequence[str], other: Sequence[str]) -> list[str]:
    """The words, with those that were run together (at column 20) split where the other name shows how."""
    found = []
    for word in words:
        heads = [one for one in other if len(one) >= 5 and len(word) > len(one) + 1 and word.startswith(one)]
        tails = [one for one in other if len(one) >= 5 and len(word) > len(one) + 1 and word.endswith(one)]
        if heads:
            head = max(heads, key=len)
            found += [head, word[len(head) :]]
        elif tails:
            tail = max(tails, key=len)
            found += [word[: -len(tail)], tail]
        else:
            found.append(word)
    return found


def _weight(word: str) -> float:
    """The weight of a word: a number has full weight, a legal form none."""
    if word in LEGAL:
        return 0.0
    if word in LIGHT or _LIGHT_GLUED.fullmatch(word) or (len(word) <= 2 and not word.isdigit()):
        return 0.15
    return 1.0


def body_features(one: Name, other: Name) -> dict[str, float]:
    """The features on which two organisations agree: the weighted share of words that either lacks, the likeness of the
    first word with weight, numbers that differ."""
    mine, theirs = _unglued(one.words, other.words), _unglued(other.words, one.words)
    mine, theirs = _without_part(mine, theirs), _without_part(theirs, mine)
    lost_mine, lost_theirs = _lost(mine, theirs), _lost(theirs, mine)
    all_mine, all_theirs = sum(map(_weight, mine)) or 1.0, sum(map(_weight, theirs)) or 1.0
    first_mine, first_theirs = _first(mine), _first(theirs)
    numbers_mine, numbers_theirs = _numbers(mine), _numbers(theirs)
    return {
        "n_lost": min(4.0, sum(map(_weight, lost_mine)) + sum(map(_weight, lost_theirs))),
        "n_lost_share": (sum(map(_weight, lost_mine)) + sum(map(_weight, lost_theirs))) / (all_mine + all_theirs),
        "all_words": float(not any(_weight(word) >= 1 for word in (*lost_mine, *lost_theirs))),
        "first_word": float(_stands_for(first_mine, first_theirs)),
        "first_word_differs": float(not _stands_for(first_mine, first_theirs)),
        "number_differs": float(numbers_mine != numbers_theirs),
    }


def _without_part(words: Sequence[str], other: Sequence[str]) -> list[str]:
    """The words without those that name a department. After the full name of an institution the rest names a
    department, unless it names a separate body (a chapter, a club)."""
    whole = [word for word in other if _weight(word) >= 1]
    heavy = [at for at, word in enumerate(words) if _weight(word) >= 1]
    size = len(whole)
    if len(heavy) <= size or size < 2 or not any(_stands_for(one, two) for one in whole for two in INSTITUTIONS):
        return list(words)
    begins = all(_stands_for(words[heavy[at]], whole[at]) for at in range(size))
    own = any(word in SEPARATE for word in words[heavy[size] :])
    return list(words[: heavy[size]]) if begins and not own else list(words)


def _lost(words: Sequence[str], other: Sequence[str]) -> list[str]:
    return [word for word in words if _weight(word) > 0 and not any(_stands_for(word, one) for one in other)]


def _first(words: Sequence[str]) -> str:
    return next((word for word in words if _weight(word) >= 1), words[0] if words else "")


def _numbers(words: Iterable[str]) -> set[str]:
    return {word for word in words if word.isdecimal()}
