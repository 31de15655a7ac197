"""The ledger of a dump: which reader read which lines, and what was not understood. It decides whether a dump counts as
read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Self

from kordant_jobs.adapters.dumps.model import DumpShape

NOT_UNDERSTOOD = 0.1
"""The share of lines without a value for their reader above which a dump counts as partly read."""
NUMBERED = 0.005
"""The same for the share of lines without a person that hold a phone-like number: a watched number may be missed there,
which the limit of a tenth of the lines would not show."""
ONLY_SWEPT = 0.02
"""The same for the share of identifiers in text that no reader understood."""
SEGMENTS_MAX = 200
"""The most segments that are listed; further ones are added to the last one of their reader."""
SKIPPED_MAX = 100
LOGS_MAX = 5_000
"""The most stretches with a day that are listed; an exposure in a further one has no day."""


@dataclass(kw_only=True)
class Segment:
    """A stretch of one member that one reader read. Lines are numbered from 1 through the whole dump."""

    member: int
    reader: str
    first_line: int
    last_line: int
    lines: int = 0
    """The number of its non-blank lines."""
    bad: int = 0
    """The number of lines in which the reader found none of its values."""
    records: int = 0
    only_swept: int = 0
    """The number of addresses and numbers in it that only the sweep found, not its reader."""

    @property
    def not_understood(self) -> int:
        """The number of lines that no reader understood: of free text all, when the sweep found something in it; else
        `bad`."""
        return self.lines if self.reader == DumpShape.TEXT and self.only_swept else self.bad


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A member of an archive that was not read. Its name is not stored, since it may name a person."""

    member: int
    reason: str


@dataclass(kw_only=True)
class Ledger:
    """All segments of a dump, and what was skipped."""

    segments: list[Segment] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    skipped_members: int = 0
    undecoded: int = 0
    numbered: int = 0
    """The number of lines that were not understood and hold a phone-like number, which may be a person's."""
    given_up: int = 0
    """The number of lines that were only swept, since the shape changed too often before them."""
    logs: list[tuple[int, int, str]] = field(default_factory=list)
    """Stretches (first line, last line) that were taken from a device on a day (ISO 8601), by the name of their member.
    The name itself is not kept: it may name a person's device."""

    def add_log(self, first_line: int, last_line: int, logged_on: date) -> None:
        """Add the day of a member; members of one day in a row are one stretch."""
        day = logged_on.isoformat()
        if self.logs and self.logs[-1][2] == day and self.logs[-1][1] == first_line - 1:
            self.logs[-1] = (self.logs[-1][0], last_line, day)
        elif len(self.logs) < LOGS_MAX and last_line >= first_line:
            self.logs.append((first_line, last_line, day))

    def add(self, segment: Segment) -> None:
        """Add one more stretch; it is merged with the one before when the reader is the same."""
        for old in reversed(self.segments[-1:] if len(self.segments) < SEGMENTS_MAX else self.segments):
            if (old.member, old.reader) == (segment.member, segment.reader) or (
                len(self.segments) >= SEGMENTS_MAX and old.reader == segment.reader
            ):
                old.first_line = min(old.first_line, segment.first_line)
                old.last_line = max(old.last_line, segment.last_line)
                old.lines += segment.lines
                old.bad += segment.bad
                old.records += segment.records
                old.only_swept += segment.only_swept
                return
        self.segments.append(segment)

    def add_all(self, other: Ledger) -> None:
        """Add the counts of another ledger for a stretch of the same dump."""
        for segment in other.segments:
            self.add(segment)
        self.undecoded += other.undecoded
        self.numbered += other.numbered
        self.given_up += other.given_up

    def skip(self, member: int, reason: str) -> None:
        """Record a member that is not read."""
        self.skipped_members += 1
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append(Skipped(member=member, reason=reason))

    @property
    def lines(self) -> int:
        """The number of non-blank lines."""
        return sum(segment.lines for segment in self.segments)

    @property
    def records(self) -> int:
        """The number of records, mentions included."""
        return sum(segment.records for segment in self.segments)

    @property
    def only_swept(self) -> int:
        """The number of records that are mentions only."""
        return sum(segment.only_swept for segment in self.segments)

    @property
    def not_understood(self) -> int:
        """The number of lines about which nothing is known except the sweep's results."""
        return sum(segment.not_understood for segment in self.segments)

    @property
    def understood_share(self) -> float:
        """The share of non-blank lines that were understood."""
        return 1 - self.not_understood / self.lines if self.lines else 1.0

    def problem(self) -> str | None:
        """The reason why the dump counts as partly read, in one line with numbers; None when it counts as read."""
        reasons = []
        if self.skipped_members:
            first = self.skipped[0].reason
            reasons.append(f"{self.skipped_members} member{'s' * (self.skipped_members > 1)} not read ({first})")
        if self.given_up:
            reasons.append(f"{self.given_up:,} lines only swept, since the shape changes too often before them")
        if self.not_understood > NOT_UNDERSTOOD * self.lines:
            reasons.append(f"{self.not_understood:,} of {self.lines:,} lines not understood")
        if self.numbered > NUMBERED * self.lines:
            reasons.append(f"{self.numbered:,} lines with numbers in them not understood")
        if self.only_swept > ONLY_SWEPT * self.records:
            reasons.append(f"{self.only_swept:,} of {self.records:,} identifiers only swept")
        return "; ".join(reasons) or None

    def shares(self) -> dict[str, float]:
        """The share of lines that each reader read, the largest first."""
        total = self.lines or 1
        by_reader: dict[str, int] = {}
        for segment in self.segments:
            by_reader[segment.reader] = by_reader.get(segment.reader, 0) + segment.lines
        return {name: lines / total for name, lines in sorted(by_reader.items(), key=lambda pair: -pair[1])}

    def to_json(self) -> dict[str, Any]:
        """The ledger as JSON for the database."""
        return {
            **asdict(self),
            "not_understood": self.not_understood,
            "lines": self.lines,
            "only_swept": self.only_swept,
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Self:
        """The ledger from its stored JSON."""
        return cls(
            segments=[Segment(**segment) for segment in stored.get("segments", ())],
            skipped=[Skipped(**skipped) for skipped in stored.get("skipped", ())],
            skipped_members=stored.get("skipped_members", 0),
            undecoded=stored.get("undecoded", 0),
            numbered=stored.get("numbered", 0),
            given_up=stored.get("given_up", 0),
            logs=[(first, last, day) for first, last, day in stored.get("logs", ())],
        )


def members_of(ledger: Ledger) -> Iterable[int]:
    """The members of which at least a part was read."""
    return sorted({segment.member for segment in ledger.segments})
