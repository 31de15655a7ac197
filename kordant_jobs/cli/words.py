"""Members of closed sets as people type them."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from kordant_jobs.errors import SettingsError

Word = TypeVar("Word", bound=StrEnum)


def one_of(kind: type[Word], text: str, option: str) -> Word:
    """The member of a closed set that was typed.

    Raises:
        SettingsError: the text is not a member of the set.
    """
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: choose one of {', '.join(kind)}.") from None
