"""Chooses the days of an account to read, where the list of the last days is cheap and the historic list is
rationed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from kordant_jobs.ports import BankFailed, KnownAccount

HISTORY = timedelta(days=364)
HISTORIC_EVERY = timedelta(days=8)
"""The shortest time between two historic reads: four a month."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The reads of one account. `recent` is the time that the cheap list covers; `cursor` is updated: the last day
    read, and the last historic read."""

    provider_id: str
    known: KnownAccount | None
    cursor: dict[str, Any]
    today: date
    recent: timedelta

    def choose(self) -> tuple[date, bool]:
        """The first day to read, and whether that takes the historic list: the first time, after a gap longer than the
        cheap list covers, and at intervals while an older row is not final."""
        last, historic = self.cursor.get(self.provider_id), self.cursor.get(f"history {self.provider_id}")
        if self.known is None or not isinstance(last, str):
            return self.today - HISTORY, True
        recent, waiting = self.today - self.recent, self.known.oldest_provisional_on or self.today
        is_silent = date.fromisoformat(last) < recent
        may = not isinstance(historic, str) or date.fromisoformat(historic) <= self.today - HISTORIC_EVERY
        if not is_silent and (waiting >= recent or not may):
            return recent, False
        return max(min(date.fromisoformat(last), waiting) - self.recent, self.today - HISTORY), True

    async def read(self, fetch: Callable[[date, bool], Awaitable[list[Any]]]) -> tuple[list[Any], date]:
        """The rows that `fetch` returns for a first day (True: from the historic list), and that day. When the month's
        historic reads are used up, only the last days are read, and the gap remains for a later read.

        Raises:
            BankFailed: they could not be read.
        """
        begin, is_historic = self.choose()
        try:
            found = await fetch(begin, is_historic)
        except BankFailed as failure:
            if not (is_historic and failure.code == "budget" and self.known is not None):
                raise
            begin = self.today - self.recent
            return await fetch(begin, False), begin
        if is_historic:
            self.cursor[f"history {self.provider_id}"] = self.today.isoformat()
        self.cursor[self.provider_id] = self.today.isoformat()
        return found, begin
