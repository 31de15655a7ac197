"""Names as recorders index them, split into parts: the kind of bearer and the words. Pure. `likeness` compares two.

Recorders write 'SMITH JOHN Q JR', 'SMITH, JOHN Q', 'JOHN Q SMITH ESTATE OF', 'SMITH FAMILY TRUST', '12 ELM ST LLC'.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files

SUFFIXES = {
    "JR": "JR", "SR": "SR", "II": "II", "2ND": "II", "III": "III", "3RD": "III", "IV": "IV",
    "ESQ": "", "MD": "", "PHD": "", "DDS": "",
}  # fmt: skip
"""Generation suffixes, and titles that a comparison ignores."""
TITLES = frozenset({"MR", "MRS", "MS", "DR", "HON", "REV"})
_TAILS = re.compile(
    r"\b(ET\.? ?AL\.?|ET\.? ?UX\.?|ET\.? ?VIR\.?|ETALS?|ETUX|AKA .*|A/K/A .*|FKA .*|F/K/A .*|NKA .*|N/K/A .*|"
    r"AS (TRUSTEE|EXECUTOR|EXECUTRIX|ADMINISTRATOR|NOMINEE).*|(HIS|HER) WIFE|H/?W|HUSBAND AND WIFE|JT(WROS)?|TIC|"
    r"(AN? )?(UN)?MARRIED (MAN|WOMAN|PERSON)|A SINGLE (MAN|WOMAN|PERSON)|DECEASED|DECD|INDIVIDUALLY|C/O .*)(?=\s|$|,)"
)
_ESTATE = re.compile(r"\b((THE )?(EST|ESTATE|HEIRS?|DEVISEES)( OF( THE)?)?)\b")
_TRUST = re.compile(
    r"\b(TRUSTS?|TRUSTEES?( OF)?|TRS?TEES?|TTEES?|TRUST AGREEMENT|U/?A( DTD)?|REV(OCABLE)? LIV(ING)?)\b"
)
_SIGNS = str.maketrans(dict.fromkeys('/,;:()[]{}"*+-_#|', " ") | {"'": "", "’": "", "`": "", ".": "", "&": " "})


class NameKind(StrEnum):
    """The kind of person or organisation that bears a name."""

    PERSON = "person"
    ESTATE = "estate"
    """The estate of a deceased person."""
    TRUST = "trust"
    ORGANISATION = "organisation"


class Order(StrEnum):
    """The order in which a source writes a person's names. EITHER: the first word decides."""

    SURNAME_FIRST = "surname_first"
    GIVEN_FIRST = "given_first"
    EITHER = "either"


@dataclass(frozen=True, kw_only=True)
class Name:
    """A parsed name. `words` are all words that count. Surname and given names are set for persons, estates, and trusts
    that contain a person's name."""

    kind: NameKind
    words: tuple[str, ...]
    surname: str = ""
    given: str = ""
    middle: tuple[str, ...] = ()
    suffix: str = ""

    @property
    def is_person(self) -> bool:
        """True for a person, alive or deceased."""
        return self.kind in {NameKind.PERSON, NameKind.ESTATE}


def _table(name: str) -> list[list[str]]:
    text = (files("kordant_jobs.domain.property") / "tables" / name).read_text("utf-8")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def _words(kind: str) -> frozenset[str]:
    return frozenset(word for row in _table("bodies.txt") if row[0] == kind for word in row[1:])


LEGAL, _ORGANISATION, LIGHT = _words("legal"), _words("body"), _words("light")
"""Words of organisations' names: legal forms and words without meaning; words that only organisations have; words of
little weight."""
INSTITUTIONS, SEPARATE = _words("institution"), _words("separate")
"""Words of institutions that have departments; words that show that a name with an institution's name in it is a
separate body."""
COMMON_WORDS = _words("surname")
"""Surnames that companies use as words without meaning a person: FOREVER YOUNG PROPERTIES LLC."""


@lru_cache(maxsize=1)
def surname_shares() -> Mapping[str, float]:
    """The share of people with each listed surname. Surnames that are not listed are rarer."""
    return {name: int(share) / 1e6 for name, share in _table("surnames.txt")}


@lru_cache(maxsize=1)
def given_shares() -> Mapping[str, float]:
    """The share of people with each listed given name, both sexes together."""
    return {name: int(share) / 1e6 for name, share in _table("given_names.txt")}


@lru_cache(maxsize=1)
def nicknames() -> Mapping[str, frozenset[str]]:
    """The usual nicknames by given name."""
    return {row[0]: frozenset(row[1:]) for row in _table("nicknames.txt")}


def are_nicknames(one: str, other: str) -> bool:
    """True when one of two given names is a usual nickname of the other.

    >>> are_nicknames("WILLIAM", "BILL"), are_nicknames("WILLIAM", "WALTER")
    (True, False)
    """
    called = nicknames()
    return other in called.get(one, ()) or one in called.get(other, ())


@lru_cache(maxsize=1)
def _formal_names() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for formal, called in nicknames().items():
        for one in (formal, *called):
            found.setdefault(one, set()).add(formal)
    return {one: frozenset(formals) for one, formals in found.items()}


def share_a_formal_name(one: str, other: str) -> bool:
    """True when bearers of some given name are called by each of the two, or by one of them.

    >>> share_a_formal_name("LIZ", "BETH"), share_a_formal_name("LIZ", "ELIZABETH"), share_a_formal_name("ANN", "BOB")
    (True, True, False)
    """
    formals = _formal_names()
    return not formals.get(one, frozenset()).isdisjoint(formals.get(other, frozenset()))


def normalise_name(raw: str) -> str:
    """A text in upper case, without accents and signs, with single blanks.

    >>> normalise_name(" O'Brien-Müller,  José ")
    'OBRIEN MULLER JOSE'
    """
    decomposed = unicodedata.normalize("NFKD", raw.upper())
    text = "".join(one for one in decomposed if not unicodedata.combining(one))
    return " ".join(text.translate(_SIGNS).split())


def joined(raw: str) -> str:
    """A text whose separate single letters are joined, so that 'L L C' is one word.

    >>> joined("ELM L L C")
    'ELM LLC'
    """
    text = re.sub(r"\bL L C\b", "LLC", raw)
    return re.sub(r"\b([A-Z]) ([A-Z]) ([A-Z])$", r"\1\2\3", text) if not re.search(r"\bLLC\b", text) else text


@lru_cache(maxsize=65_536)
def parse(raw: str, order: Order = Order.EITHER) -> Name:
    """Parse a name. Never raises; the same text always gives the same result.

    >>> parse("SMITH, JOHN Q JR").suffix, parse("Smith, John Q Jr").given
    ('JR', 'JOHN')
    >>> [parse(one).kind.value for one in ("ESTATE OF JOHN SMITH", "SMITH FAMILY TRUST", "12 ELM ST LLC")]
    ['estate', 'trust', 'organisation']
    """
    text = " ".join(raw.upper().split())
    is_estate = bool(_ESTATE.search(text))
    text = _ESTATE.sub(" ", text) if is_estate else text
    text = _TAILS.sub(" ", text)
    comma = _comma_first(text)
    words = [word for word in joined(normalise_name(text)).split() if word not in TITLES]
    is_trust = bool(_TRUST.search(text)) and not is_estate
    core = [word for word in words if not _TRUST.fullmatch(word)] if is_trust else words
    if _is_body(core):
        return Name(kind=NameKind.ORGANISATION, words=tuple(words))
    core = [word for word in core if word not in {"FAMILY", "REVOCABLE", "LIVING", "IRREVOCABLE", "REV", "LIV", "DATED",
                                                  "DTD", "OF", "THE", "AND", "UA"} and not word.isdigit()]  # fmt: skip
    kind = NameKind.ESTATE if is_estate else NameKind.TRUST if is_trust else NameKind.PERSON
    if not core:
        return Name(kind=NameKind.ORGANISATION, words=tuple(words))
    suffix = next((SUFFIXES[word] for word in core[1:] if word in SUFFIXES), "")
    core = [core[0], *(word for word in core[1:] if word not in SUFFIXES)]
    if len(core) == 1:
        return Name(kind=kind, words=tuple(core), surname=core[0], suffix=suffix)
    surname_first = comma or order is Order.SURNAME_FIRST or (order is Order.EITHER and _reads_surname_first(core))
    surname, rest = _surname(core, first=surname_first, comma=comma)
    return Name(
        kind=kind,
        words=tuple(core),
        surname=surname,
        given=rest[0] if rest else "",
        middle=tuple(rest[1:]),
        suffix=suffix,
    )


def _is_body(words: list[str]) -> bool:
    if not words or any(character.isdigit() for character in words[0]):
        return True
    return any(word in _ORGANISATION or word.startswith("UNIVERSIT") for word in words)


def _comma_first(text: str) -> bool:
    head, comma, tail = text.partition(",")
    return (
        bool(comma)
        and normalise_name(tail).split()[:1] not in ([], *([one] for one in SUFFIXES))
        and len(head.split()) <= 3
    )


_PREFIXES = frozenset({"DE", "LA", "DEL", "DI", "VAN", "VON", "DER", "DEN", "MC", "MAC", "ST", "DA", "DOS", "LE", "DU"})


def _surname(core: list[str], *, first: bool, comma: bool) -> tuple[str, list[str]]:
    """The surname with its prefixes, and the other words."""
    words = core if first else core[::-1]
    size = 1
    if first:
        while size < len(words) - 1 and words[size - 1] in _PREFIXES:
            size += 1
    else:
        while size < len(words) - 1 and words[size] in _PREFIXES:
            size += 1
    taken, rest = words[:size], words[size:]
    return ("".join(taken), rest) if first else ("".join(taken[::-1]), rest[::-1])


def _reads_surname_first(core: list[str]) -> bool:
    """True when the first word is more likely the surname. Recorders put the surname first, people last."""
    if len(core[-1]) == 1:
        return True
    surnames, given = surname_shares(), given_shares()
    rare = 1e-6

    def odds(surname: str, name: str) -> float:
        return surnames.get(surname, rare) * given.get(name, rare)

    return odds(core[0], core[1]) >= odds(core[-1], core[0])


def flipped(name: Name) -> Name:
    """The other reading of a person's name: first and last word swap their roles as surname."""
    if not name.given or len(name.words) < 2:
        return name
    words = list(name.words)
    if name.surname == words[0]:
        return Name(kind=name.kind, words=name.words, surname=words[-1], given=words[0], middle=tuple(words[1:-1]),
                    suffix=name.suffix)  # fmt: skip
    return Name(kind=name.kind, words=name.words, surname=words[0], given=words[1], middle=tuple(words[2:]),
                suffix=name.suffix)  # fmt: skip


def lookup_keys(name: Name) -> tuple[str, ...]:
    """The keys by which a name is looked up before it is compared. Two spellings of one name nearly always share a key.

    >>> lookup_keys(parse("SMITH JANE")), lookup_keys(parse("SMYTH JAYNE"))[0]
    (('p:SMT:J', 'g:JANE:S'), 'p:SMT:J')
    """
    if name.surname and name.given:
        keys = [f"p:{skeleton(name.surname)}:{name.given[0]}", f"g:{name.given}:{name.surname[0]}"]
        keys += [f"p:{skeleton(name.surname)}:{one[0]}" for one in sorted(nicknames().get(name.given, ()))[:6]]
        return tuple(dict.fromkeys(keys))
    heavy = sorted({word for word in name.words if word not in LEGAL}, key=lambda word: (-len(word), word))[:3]
    return tuple(f"o:{skeleton(word)}" for word in heavy)


def skeleton(word: str) -> str:
    """The first five consonants of a word, doubles once: these survive when a name is misspelt by ear.

    >>> skeleton("SCHMIDT"), skeleton("PHILLIPS"), skeleton("FILIPS")
    ('SMDT', 'FLPS', 'FLPS')
    """
    text = word.replace("SCH", "S").replace("PH", "F").replace("CK", "K")
    text = text[:1] + re.sub(r"[AEIOUYHW]", "", text[1:])
    return re.sub(r"(.)\1+", r"\1", text)[:5]
