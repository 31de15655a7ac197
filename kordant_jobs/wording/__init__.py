"""Texts, dates and numbers in the subscriber's language, and advice on leaked data.

Texts in the jobs are English; `locale/<locale>.po` beside this file has the other languages, read directly (there is no
compiled catalogue to forget). `data_classes.toml` has the texts on data classes.
"""

import io
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import dates, lists, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.domain.people.subscriptions import Locale

HERE = files(__package__)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One piece of advice, and the data classes and kinds of password that it is for."""

    id: str
    text: dict[str, str]
    classes: frozenset[str]
    secret: frozenset[str]


@lru_cache(maxsize=1)
def _data_classes() -> tuple[tuple[Advice, ...], dict[str, dict[str, str]]]:
    raw = tomllib.loads(HERE.joinpath("data_classes.toml").read_text("utf-8"))
    advice = tuple(
        Advice(
            id=entry["id"],
            text={locale.value: entry[locale.value] for locale in Locale},
            classes=frozenset(entry["classes"]),
            secret=frozenset(entry.get("secret", ())),
        )
        for entry in raw["advice"]
    )
    return advice, raw["names"]


def _catalogue(locale: Locale) -> NullTranslations:
    if locale is Locale.EN:
        return NullTranslations()
    with HERE.joinpath("locale", f"{locale}.po").open("rb") as file:
        catalogue = read_po(file, locale=locale.replace("-", "_"))
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


class Wording:
    """The texts of one language. `say` and `count` look up the translation of an English text and fill in
    `%(name)s`."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.translations = _catalogue(locale)
        self._babel = locale.replace("-", "_")
        self._advice, names = _data_classes()
        self._names = {name.lower(): said for name, said in names.get(locale.value, {}).items()}

    def say(self, text: str, **values: object) -> str:
        """`text` in this language."""
        found: str = self.translations.gettext(text)
        return found % values if values else found

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """The form of the text for `number`, which replaces `%(number)s`."""
        found: str = self.translations.ngettext(one, many, number)
        return found % {"number": self.number(number), **values}

    def number(self, value: int) -> str:
        """A whole number with this language's separators."""
        return _number(value, self._babel)

    def money(self, value: Decimal, currency: str = "BRL") -> str:
        """An amount with its currency."""
        return str(numbers.format_currency(value, currency, locale=self._babel))

    def month(self, value: date) -> str:
        """A month with its year."""
        return str(dates.format_skeleton("yMMMM", value, locale=self._babel))

    def percent(self, share: float) -> str:
        """A share from 0 to 1 as whole percent."""
        return str(numbers.format_percent(share, locale=self._babel))

    def day(self, value: date, length: str = "long") -> str:
        """A date without a time; `length` is one of Babel's (short, medium, long)."""
        return _day(value, length, self._babel)

    def moment(self, value: datetime, time_zone: str) -> str:
        """Date and time in the subscriber's zone; UTC for an unknown zone, with 'UTC' written out."""
        return _moment(value, time_zone, self._babel)

    def join_list(self, parts: Sequence[str]) -> str:
        """The parts as a list: `a, b and c`."""
        return _all_of(tuple(parts), self._babel)

    def data_classes(self, names: Sequence[str]) -> list[str]:
        """The names of data classes, given in any case; one without a translation stays English."""
        return [self._names.get(name.lower()) or _within_a_sentence(name) for name in names]

    def actions(self, classes: Collection[str], secret: SecretKind) -> list[str]:
        """The advised actions after a leak of these data classes or of this kind of password, the most urgent first."""
        held = set(classes)
        return [one.text[self.locale] for one in self._advice if one.classes & held or secret in one.secret]

    def property_event(self, event: str) -> str:
        """The words for an event on a parcel."""
        return str(_property()["events"][event][self.locale])

    def property_reason(self, code: str) -> str | None:
        """The reason for an event's severity; None for a code that this version does not know."""
        said = _property()["reasons"].get(code)
        return said[self.locale] if said else None

    def property_actions(self, event: str, severity: str) -> list[str]:
        """The actions after an event, the most urgent first."""
        return [
            one[self.locale]
            for one in _property()["advice"]
            if event in one["events"] and severity in one["severities"]
        ]

    def voice(self, code: str, **values: object) -> str:
        """The words for a clip, by its place in `voice.toml`: `match.consistent`."""
        found: Any = _voice()
        for part in code.split("."):
            found = found[part]
        return str(found[self.locale]) % values if values else str(found[self.locale])

    def voice_consent(self, version: str) -> str:
        """The text that a person agrees to when their voice is enrolled.

        Raises:
            KeyError: there is no text of that version.
        """
        return str(_voice()["consent"][version][self.locale]).strip()

    def voice_actions(self) -> list[str]:
        """The actions after an alert about a clip, the most urgent first."""
        return [one[self.locale] for one in _voice()["advice"]]


@lru_cache(maxsize=1)
def _voice() -> dict[str, Any]:
    return tomllib.loads(HERE.joinpath("voice.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def _property() -> dict[str, Any]:
    return tomllib.loads(HERE.joinpath("property.toml").read_text("utf-8"))


_MANY = 4096
"""The size of the caches: mails and reports of one day repeat the same dates and numbers, and Babel takes 50 µs for
each."""


@lru_cache(_MANY)
def _number(value: int, babel: str) -> str:
    return str(numbers.format_decimal(value, locale=babel))


@lru_cache(_MANY)
def _day(value: date, length: str, babel: str) -> str:
    return str(dates.format_date(value, length, locale=babel))


@lru_cache(_MANY)
def _all_of(parts: tuple[str, ...], babel: str) -> str:
    return str(lists.format_list(list(parts), locale=babel))


@lru_cache(_MANY)
def _moment(value: datetime, time_zone: str, babel: str) -> str:
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    local = value.astimezone(zone)
    return f"{_day(local.date(), 'long', babel)}, {local:%H:%M} {_offset(local)}"


def _offset(moment: datetime) -> str:
    """The zone as an offset, which everybody understands without knowing abbreviations.

    >>> _offset(datetime(2026, 6, 1, tzinfo=ZoneInfo("America/Sao_Paulo")))
    'UTC-3'
    >>> _offset(datetime(2026, 6, 1, tzinfo=ZoneInfo("Asia/Kolkata")))
    'UTC+5:30'
    """
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02d}" if rest else "")


def _within_a_sentence(name: str) -> str:
    """An English class name within a sentence: abbreviations keep their capitals.

    >>> _within_a_sentence("Email addresses"), _within_a_sentence("IP addresses")
    ('email addresses', 'IP addresses')
    """
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


@lru_cache(maxsize=len(Locale))
def wording(locale: Locale) -> Wording:
    """The texts of `locale`, read once in each process."""
    return Wording(locale)
