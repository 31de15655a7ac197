"""The demo's subscribers and what they watch, from a seed. What was stolen from them is `dump_files.py`'s.

A canonical form here is made first and the spelling from it, so that it checks the normaliser instead of using it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import idna
import numpy as np

from kordant_jobs.domain.people.subscriptions import Locale, Tier

Kind = Literal["email", "phone", "username"]

TIER_SHARES = {Tier.BASIC: 0.6, Tier.PLUS: 0.3, Tier.PREMIUM: 0.1}
OLDEST_ITEM_DAYS, NEWEST_ITEM_DAYS = 400, 3
"""Items are older than every dump of the demo (0 to 2 days), so that a dump is news to all of them."""

ACCENTED_SHARE = 0.03
"""So many subscribers with a Latin name keep its accents in addresses and user names (RFC 6531)."""

IDN_SHARE = 0.06
"""So many watched addresses are under a domain with other letters than a-z."""

STRANGERS_FROM = 50
"""Last two digits of a phone number: below are watched, from here on are strangers. None is ever both."""

_FIRST = (  # noqa: SIM905 (a list of words reads better as words)
    "Ana João Zoë Siân Bia Luís José Inês Renée Søren Jürgen Chloë Noa Emma Liam Mia Owen Lúcia Tiago Caio Iara "
    "Raúl Aoife Björn Elif Hana Kofi Mei Nia Omar"
).split()
_LAST = (  # noqa: SIM905 - words read better so
    "O'Brien Souza Conceição Müller García Nuñez Ångström D'Angelo Smith-Jones Lefèvre Ferreira Araújo Brandão "
    "Almeida Novák Kowalska Larsen Okafor Tanaka Walker Young Baker Campos Duarte Esteves Fonseca Gomes Hughes"
).split()
_OTHER_SCRIPTS = (
    ("Мария Иванова", "maria", "ivanova"),
    ("محمد الأحمد", "mohammed", "alahmad"),  # written from right to left
    ("עדי כהן", "adi", "cohen"),
    ("明 李", "ming", "li"),
    ("Σοφία Παππά", "sofia", "pappa"),
    ("प्रिया शर्मा", "priya", "sharma"),
    ("さくら 佐藤", "sakura", "sato"),
    ("Олег Шевчук", "oleh", "shevchuk"),
)
_ASCII = str.maketrans("ãáàâäåçéèêëíîïñóõôöøúüûý", "aaaaaaceeeeiiinooooouuuy", "'-")


def _slug(name: str) -> str:
    return name.lower().translate(_ASCII)


NAMES: tuple[tuple[str, str, str], ...] = (
    *((f"{first} {last}", _slug(first), _slug(last)) for first in _FIRST for last in _LAST),
    *_OTHER_SCRIPTS,
)
"""(as written, first and last name in a-z). The first `LATIN_NAMES` of them can be written in Latin-1."""
LATIN_NAMES = len(_FIRST) * len(_LAST)

IDN_DOMAINS = {idna.encode(name).decode(): name for name in ("bücher.example", "são-josé.example", "köln-post.test")}
"""Domains with other letters than a-z: as they are looked up, and as people write them."""
DOMAINS: tuple[str, ...] = (
    "example.com",
    "example.net",
    "example.org",
    "mail.example.com",
    "webmail.example.org",
    "post.example",
    "correio.example",
    "inbox.test",
)

AREA_CODES = (  # noqa: SIM905 - words read better so
    "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252 "
    "253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 "
    "321 323 325 330 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 "
    "419 423 425 430 432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 "
    "518 520 530 540 541 551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608 609 610 612 "
    "614 615 616 617 618 619 620 623 626 630 631 636 641 646 650 651 660 661 662 678 682 701 702 703 704 706 707 708 "
    "712 713 714 715 716 717 718 719 720 724 727 731 732 734 740 754 757 760 763 765 770 772 773 774 775 781 785 786"
).split()
_DDD = (  # noqa: SIM905 - words read better so
    "11 12 13 14 15 16 17 18 19 21 22 24 27 28 31 32 33 34 35 37 38 41 42 43 44 45 46 47 48 49 51 53 54 55"
).split()
PHONE_PREFIXES = {
    "US": tuple(f"+1{area}55501" for area in AREA_CODES),
    "GB": tuple(f"+447700900{hundred}" for hundred in range(10)),
    "BR": tuple(f"+55{ddd}90000{hundred:02d}" for ddd in _DDD for hundred in range(100)),
}
"""All but the last two digits, by country. US: 555-0100 to 555-0199 of every area code are kept for fiction (NANPA).
UK: so are 07700 900000 to 900999 (Ofcom). Brazil keeps none; mobile numbers with 9 0000 are well-formed and, as
far as we know, given to no one."""

_ZONES = {
    Locale.EN: ("America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London"),
    Locale.PT_BR: ("America/Sao_Paulo", "America/Manaus", "America/Recife"),
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One watched identifier. `raw` is as the subscriber typed it, `canonical` what it must become.

    `created_on_day` counts days back from the demo's now.
    """

    id: UUID
    kind: Kind
    raw: str
    canonical: str
    verified: bool
    created_on_day: int


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """A subscriber with the one subscription. `contact` is an e-mail address, always one of those watched."""

    id: UUID
    subscription_id: UUID
    tier: Tier
    locale: Locale
    time_zone: str
    name: str
    contact: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Population:
    """All subscribers that a seed gives. Some identifiers are watched by two of them, as in a household."""

    seed: int
    subscribers: tuple[Subscriber, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """Every watched item."""
        return tuple(item for subscriber in self.subscribers for item in subscriber.items)


def make_population(seed: int, subscribers: int = 5_000) -> Population:
    """So many subscribers over three tiers. The same seed (0 or more) and number give equal values, ids too."""
    maker = _Maker(np.random.Generator(np.random.PCG64([seed, 1])))
    return Population(seed=seed, subscribers=tuple(maker.subscriber() for _ in range(subscribers)))


def spell(kind: Kind, canonical: str, way: int) -> str:
    """The identifier as people write it; `way` (any int ≥ 0) picks among the spellings, 0 is the canonical one.

    No spelling holds a comma, semicolon, colon, bar, tab or quote. National forms only for US numbers.

    >>> spell("phone", "+12125550142", 1), spell("email", "ana@xn--bcher-kva.example", 2)
    ('+1 (212) 555-0142', 'ana@bücher.example')
    """
    ways = _SPELLINGS[kind](canonical)
    return ways[way % len(ways)]


def _email_spellings(canonical: str) -> tuple[str, ...]:
    local, _, domain = canonical.partition("@")
    shown = f"{local}@{IDN_DOMAINS.get(domain, domain)}"
    return canonical, f"{local.upper()}@{domain}", shown, f"{local.title()}@{domain.capitalize()}", shown.upper()


def _phone_spellings(canonical: str) -> tuple[str, ...]:
    if canonical.startswith("+1"):
        area, last = canonical[2:5], canonical[8:]
        return (
            canonical,
            f"+1 ({area}) 555-{last}",
            f"({area}) 555-{last}",
            f"{area}.555.{last}",
            f"1-{area}-555-{last}",
            f"{area}555{last}",
            f"0111{area}555{last}",
        )
    code, rest = canonical[:3], canonical[3:]
    return (
        canonical,
        f"{code} {rest[:2]} {rest[2:]}",
        f"{code} ({rest[:2]}) {rest[2:-4]}-{rest[-4:]}",
        f"011{canonical[1:]}",
    )


def _username_spellings(canonical: str) -> tuple[str, ...]:
    return canonical, canonical.title(), f"@{canonical}", canonical.upper()


_SPELLINGS = {"email": _email_spellings, "phone": _phone_spellings, "username": _username_spellings}


class _Maker:
    """Draws subscribers one after the other from one stream of random numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()
        self._phones = {country: self._numbers(country) for country in PHONE_PREFIXES}
        self._tiers = list(TIER_SHARES)
        self._bounds = np.cumsum(list(TIER_SHARES.values()))

    def subscriber(self) -> Subscriber:
        rng = self._rng
        tier = self._tiers[min(int(np.searchsorted(self._bounds, rng.random(), side="right")), 2)]
        locale = Locale.PT_BR if rng.random() < 0.4 else Locale.EN
        place = int(rng.integers(len(NAMES)))
        name, first, last = NAMES[place]
        if place < LATIN_NAMES and rng.random() < ACCENTED_SHARE:
            first, last = name.lower().replace("'", "").replace("-", "").split(" ")
        kinds = self._kinds(tier)
        canonicals = list(dict.fromkeys((kind, self._canonical(kind, first, last, locale)) for kind in kinds))
        return Subscriber(
            id=self._uuid(),
            subscription_id=self._uuid(),
            tier=tier,
            locale=locale,
            time_zone=_ZONES[locale][int(rng.integers(len(_ZONES[locale])))],
            name=name,
            contact=canonicals[0][1],
            items=tuple(self._item(kind, canonical) for kind, canonical in canonicals),
        )

    def _kinds(self, tier: Tier) -> list[Kind]:
        luck = self._rng.random()
        if tier is Tier.BASIC:
            return ["email", "phone"] if luck < 0.4 else ["email"]
        if tier is Tier.PLUS:
            return ["email", "phone", "username"] if luck < 0.5 else ["email", "email", "phone"]
        return (
            ["email", "email", "phone", "phone", "username"] if luck < 0.5 else ["email", "email", "phone", "username"]
        )

    def _item(self, kind: Kind, canonical: str) -> Item:
        rng = self._rng
        typed = spell(kind, canonical, int(rng.integers(12)) if rng.random() < 0.5 else 0)
        return Item(
            id=self._uuid(),
            kind=kind,
            raw=f" {typed} " if rng.random() < 0.05 else typed,
            canonical=canonical,
            verified=bool(rng.random() < 0.85),
            created_on_day=int(rng.integers(NEWEST_ITEM_DAYS, OLDEST_ITEM_DAYS + 1)),
        )

    def _canonical(self, kind: Kind, first: str, last: str, locale: Locale) -> str:
        if kind == "phone":
            country = "BR" if locale is Locale.PT_BR else "GB" if self._rng.random() < 0.1 else "US"
            return next(self._phones[country])
        while True:
            made = self._name(kind, first, last)
            if made not in self._taken:
                self._taken.add(made)
                return made

    def _name(self, kind: Kind, first: str, last: str) -> str:
        """Numbers have at most four digits: those of strangers have five or more."""
        mark = "._-"[int(self._rng.integers(3))]
        number = str(self._rng.integers(1, 10_000)) if self._rng.random() < 0.9 else ""
        word = f"{first}{mark}{last}{number}"
        if kind == "username":
            return word
        domains = tuple(IDN_DOMAINS) if self._rng.random() < IDN_SHARE else DOMAINS
        return f"{word}@{domains[int(self._rng.integers(len(domains)))]}"

    def _numbers(self, country: str) -> Iterator[str]:
        """Each number of the range once in a random order, and again when they run out."""
        prefixes = PHONE_PREFIXES[country]
        order = self._rng.permutation(len(prefixes) * STRANGERS_FROM)
        household = 50  # every 50th number is watched by two
        while True:
            for count, place in enumerate(order):
                number = f"{prefixes[place // STRANGERS_FROM]}{place % STRANGERS_FROM:02d}"
                yield number
                if count % household == 0:
                    yield number

    def _uuid(self) -> UUID:
        return UUID(bytes=self._rng.bytes(16), version=4)
