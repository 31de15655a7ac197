"""The rows of the demo's dumps: strangers, people who are watched, near misses, and lines that are none.

Columns of values only, vectorised over a file's rows; how they are written out is `dump_files.py`'s.
"""

import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import phonenumbers
import polars as pl

from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.lab.world.population import (
    DOMAINS,
    IDN_DOMAINS,
    LATIN_NAMES,
    NAMES,
    PHONE_PREFIXES,
    STRANGERS_FROM,
    Item,
    Kind,
    Population,
    spell,
)

POOL = 6_000
"""Different passwords of each sort in all files together: people reuse them."""

EXPOSURES_PER_SUBSCRIBER = 0.3
"""Planted (identifier, dump) pairs; with second copies and shared identifiers a little more exposures."""

SECOND_COPY_SHARE = 0.1
"""So many planted identifiers stand in a second row of the same file too."""

_SECRET_KINDS = (SecretKind.NONE, SecretKind.CLEAR, SecretKind.HASHED)
_WORDS = "sunset dragao maple falcao orbit cobalt verao pepper tundra violet"
_AWKWARD = (":", ";", ",", "|", '"', "'", "\\", "),(", " ", "@", "é", "::", "('")
"""Parts that make a password hard to read past: delimiters, quotes, escapes, the seam between two SQL tuples."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Stolen passwords: they belong to no one, and none is a word that could stand elsewhere by chance.

    `clear` in simple characters, `awkward` in clear with delimiters and quotes, `hashed` in the usual forms.
    """

    clear: tuple[str, ...]
    awkward: tuple[str, ...]
    hashed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A watched identifier in a row (counted from 0 in its file), and what password stands there."""

    kind: Kind
    canonical: str
    row: int
    secret: SecretKind


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one file before they are written out.

    `values` has the columns email, phone, username, name, secret, date, note (String, '' for nothing) and number.
    Rows in `bad` are to be replaced by junk, those in `blank` by nothing. `mentions` stand in notes, for a file that
    writes them; `near_misses` are written and belong to no one;
    `secrets_used` is what stands in `secret`.
    """

    values: pl.DataFrame
    hits: tuple[Hit, ...]
    mentions: tuple[Hit, ...]
    near_misses: tuple[str, ...]
    bad: tuple[int, ...]
    blank: tuple[int, ...]
    secrets_used: frozenset[str]


def make_secrets(seed: int) -> Secrets:
    """The pools of stolen passwords; each holds 13 or more random characters or hex digits."""
    draw = random.Random(seed)  # noqa: S311 - the same seed, the same dumps
    words = _WORDS.split()
    letters = string.ascii_lowercase + string.digits

    def token(size: int, alphabet: str = letters) -> str:
        return "".join(draw.choices(alphabet, k=size))

    crypt = string.ascii_letters + string.digits + "./"
    forms = (
        lambda: token(32, "0123456789abcdef"),
        lambda: token(40, "0123456789abcdef"),
        lambda: token(64, "0123456789ABCDEF"),
        lambda: f"$2b$10${token(53, crypt)}",
        lambda: f"$6${token(8, crypt)}${token(86, crypt)}",
        lambda: f"$P$B{token(30, crypt)}",
        lambda: "{SSHA}" + token(38, crypt) + "==",
        lambda: f"*{token(40, '0123456789ABCDEF')}",
    )
    return Secrets(
        clear=tuple(f"{words[i % len(words)]}{'!#%_-.+'[i % 7]}{token(13)}" for i in range(POOL)),
        awkward=tuple(f"{words[i % len(words)]}{_AWKWARD[i % len(_AWKWARD)]}{token(13)}" for i in range(POOL // 3)),
        hashed=tuple(forms[i % len(forms)]() for i in range(POOL)),
    )


@dataclass(frozen=True, kw_only=True)
class SecretShares:
    """The shares of a file's rows with each kind of password; the remainder to 1 has none. `awkward` are among the
    clear ones."""

    clear: float = 0.0
    hashed: float = 0.0
    awkward: bool = False

    def pool(self, secrets: Secrets) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The passwords of this file, '' first, and the index of the kind of each."""
        clear = secrets.clear + (secrets.awkward if self.awkward else ())
        kinds = np.repeat([0, 1, 2], [1, len(clear), len(secrets.hashed)])
        return ["", *clear, *secrets.hashed], kinds

    def draw(self, rng: np.random.Generator, count: int, kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """An index into the pool for each of `count` rows."""
        clear, hashed = np.count_nonzero(kinds == 1), np.count_nonzero(kinds == 2)
        luck = rng.random(count)
        in_clear = rng.integers(1, 1 + clear, size=count)
        in_hash = rng.integers(1 + clear, 1 + clear + hashed, size=count)
        return np.where(luck < self.clear, in_clear, np.where(luck < self.clear + self.hashed, in_hash, 0))


class RowMaker:
    """Makes the rows of one dump after the other, from one stream of random numbers."""

    def __init__(self, population: Population, secrets: Secrets, *, seed: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64([seed, population.seed, 2]))
        self._secrets = secrets
        self._watched = {item.canonical for item in population.items}
        self._items = list({(item.kind, item.canonical): item for item in population.items}.values())
        self._exposures = round(len(population.subscribers) * EXPOSURES_PER_SUBSCRIBER)
        order = self._rng.permutation(len(self._items))[: max(1, self._exposures)]
        self._exposed = [self._items[place] for place in order]  # fewer than all, so that some are in several dumps
        people = population.subscribers
        self._siblings = {item.id: subscriber.items for subscriber in people for item in subscriber.items}

    def rows(
        self,
        count: int,
        *,
        kinds: Sequence[Kind],
        share: float,
        secrets: SecretShares,
        latin: bool,
        bad: int,
        blank: int,
    ) -> Rows:
        """`count` rows about `kinds` with `share` of all planted exposures; `bad` and `blank` of them tell nothing.

        `latin`: everything can be written in Latin-1.
        """
        rng = self._rng
        pool, pool_kinds = secrets.pool(self._secrets)
        chosen = secrets.draw(rng, count, pool_kinds)
        places = iter(rng.permutation(count).tolist())
        junk = tuple(sorted(next(places) for _ in range(bad)))
        gaps = tuple(sorted(next(places) for _ in range(blank)))
        written: dict[Kind, dict[int, str]] = {"email": {}, "phone": {}, "username": {}}
        hits = self._plant(kinds, round(self._exposures * share), places, written, chosen)
        near, notes, mentions = self._near_misses(kinds, max(6, len(hits) // 2), places, written)
        columns = self._strangers(count, kinds, latin=latin)
        columns |= {kind: _scattered(columns[kind], values) for kind, values in written.items()}
        columns["note"] = _scattered(pl.repeat("", count, dtype=pl.String, eager=True), notes)
        columns["secret"] = pl.Series(pool, dtype=pl.String).gather(chosen)
        return Rows(
            values=pl.DataFrame(columns).with_columns(number=pl.int_range(1, count + 1)),
            hits=tuple(
                Hit(kind=kind, canonical=canonical, row=row, secret=_SECRET_KINDS[pool_kinds[chosen[row]]])
                for kind, canonical, row in hits
            ),
            mentions=mentions,
            near_misses=near,
            bad=junk,
            blank=gaps,
            secrets_used=frozenset(pool[place] for place in np.unique(chosen)) - {""},
        )

    def _plant(
        self,
        kinds: Sequence[Kind],
        quota: int,
        places: Iterator[int],
        written: dict[Kind, dict[int, str]],
        chosen: npt.NDArray[np.int64],
    ) -> list[tuple[Kind, str, int]]:
        """Write watched identifiers into rows: one or several of a subscriber, some of them in a second row too."""
        rng = self._rng
        fitting = [item for item in self._exposed if item.kind in kinds]
        hits: dict[str, tuple[Kind, str, int]] = {}
        again: list[tuple[Kind, str, int]] = []
        for place in rng.permutation(len(fitting)).tolist():
            if len(hits) >= quota:
                break
            item = fitting[place]
            if item.canonical in hits:
                continue
            together = [other for other in self._siblings[item.id] if other.kind in kinds] if rng.random() < 0.2 else []
            row = next(places)
            for one in {each.kind: each for each in (*together, item)}.values():
                if one.canonical not in hits:
                    hits[one.canonical] = (one.kind, one.canonical, row)
                    written[one.kind][row] = self._spelled(one)
            if rng.random() < SECOND_COPY_SHARE:
                copy = next(places)
                again.append((item.kind, item.canonical, copy))
                written[item.kind][copy] = self._spelled(item)
                chosen[copy] = chosen[row]  # both copies with the same password, so that one fact is planted
        return [*hits.values(), *again]

    def _spelled(self, item: Item) -> str:
        written = spell(item.kind, item.canonical, int(self._rng.integers(24)))
        return f" {written} " if self._rng.random() < 0.04 else written

    def _near_misses(
        self, kinds: Sequence[Kind], count: int, places: Iterator[int], written: dict[Kind, dict[int, str]]
    ) -> tuple[tuple[str, ...], dict[int, str], tuple[Hit, ...]]:
        """Values that look like a watched identifier and are not, and notes that mention one in passing: an address or
        an allotted phone number is known there by its form, a user name is not."""
        made: list[str] = []
        notes: dict[int, str] = {}
        mentions: list[Hit] = []
        candidates = [item for item in self._items if item.kind in kinds]
        for turn in range(count if candidates else 0):
            item = candidates[int(self._rng.integers(len(candidates)))]
            ways = [way for way in near_misses(item.kind, item.canonical) if way not in self._watched]
            row = next(places)
            written[item.kind][row] = ways[turn % len(ways)]
            notes[row] = f"ask {item.canonical} about it"
            made.append(ways[turn % len(ways)])
            if _known_by_form(item):
                mentions.append(Hit(kind=item.kind, canonical=item.canonical, row=row, secret=SecretKind.MENTIONED))
        return tuple(made), notes, tuple(mentions)

    def _strangers(self, count: int, kinds: Sequence[Kind], *, latin: bool) -> dict[str, pl.Series]:
        """People whom no one watches: numbers behind their names have five digits or six, phones end in 50 to 99."""
        rng = self._rng
        person = rng.integers(LATIN_NAMES if latin else len(NAMES), size=count)
        shown, first, last = (pl.Series(column).gather(person) for column in zip(*NAMES, strict=True))
        marks = pl.Series(["", ".", "_", "-"])
        words = pl.DataFrame(
            {
                "first": first,
                "last": last,
                "mark": marks.gather(rng.integers(4, size=count)),
                "other": marks.gather(rng.integers(4, size=count)),
                "number": pl.Series(rng.integers(10_000, 1_000_000, size=count)),
                "second": pl.Series(rng.integers(10_000, 1_000_000, size=count)),
                "domain": pl.Series(_STRANGERS_DOMAINS).gather(rng.integers(len(_STRANGERS_DOMAINS), size=count)),
                "phone": pl.Series(_phone_starts()).gather(rng.integers(len(_phone_starts()), size=count)),
                "last2": pl.Series(rng.integers(STRANGERS_FROM, 100, size=count)),
                "day": pl.Series(rng.integers(14_000, 20_000, size=count)),  # 2008 to 2024, in days since 1970
                "luck": pl.Series(rng.random(count)),
            }
        )
        email = pl.concat_str("first", "mark", "last", "number", pl.lit("@"), "domain")
        phone = pl.concat_str("phone", "last2")
        if kinds[0] != "phone":
            phone = pl.when(pl.col("luck") < 0.6).then(phone).otherwise(pl.lit(""))
        made = words.select(
            email=pl.when(pl.col("luck") > 0.95).then(email.str.to_uppercase()).otherwise(email),
            phone=phone,
            username=pl.concat_str("last", "other", "first", "second"),
            date=pl.col("day").cast(pl.Int32).cast(pl.Date).dt.to_string("%Y-%m-%d"),
        )
        return {"name": shown, **made.to_dict()}


def _known_by_form(item: Item) -> bool:
    if item.kind == "phone":
        return phonenumbers.is_valid_number(phonenumbers.parse(item.canonical))
    return item.kind == "email"


def near_misses(kind: Kind, canonical: str) -> tuple[str, ...]:
    """Spellings that differ from a watched identifier by as little as a reader could get wrong.

    >>> near_misses("phone", "+12125550142")
    ('+12125550192',)
    """
    if kind == "phone":
        return (f"{canonical[:-2]}{int(canonical[-2]) + 5}{canonical[-1]}",)
    if kind == "username":
        return f"{canonical}x", f"the{canonical}", f"{canonical}.{canonical[0]}", f"{canonical[:-1]}zz"
    local, _, domain = canonical.partition("@")
    elsewhere = DOMAINS[(DOMAINS.index(domain) + 1) % len(DOMAINS)] if domain in DOMAINS else DOMAINS[0]
    return (
        f"{local}@{elsewhere}",
        f"{local}x@{domain}",
        f"old-{canonical}",
        f"{canonical}.test",
        f"{local}@sub.{domain}",
    )


_STRANGERS_DOMAINS = (*DOMAINS * 72, *IDN_DOMAINS, *IDN_DOMAINS.values())  # one in a hundred is no plain ASCII name


@cache
def _phone_starts() -> tuple[str, ...]:
    """All of a phone number but the last two digits, in several spellings; half of them from the US."""
    abroad = PHONE_PREFIXES["GB"] + PHONE_PREFIXES["BR"][::5]
    us = [spell("phone", f"{prefix}00", way)[:-2] for prefix in PHONE_PREFIXES["US"] for way in (0, 1, 2, 4)]
    return (*us, *abroad)


def _scattered(column: pl.Series, values: Mapping[int, str]) -> pl.Series:
    return column.scatter(list(values), list(values.values())) if values else column
