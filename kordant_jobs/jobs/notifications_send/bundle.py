"""The notifications of one message: one, or the several of a digest, with their decrypted facts."""

from dataclasses import dataclass, field
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.domain.notifications.pending import AlertRow, PropertyRow, VoiceRow
from kordant_jobs.store.finance.notices import FinanceNoticeRow
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.store.reports.notices import Notice, ReportNoticeRow


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The decrypted facts of one notification; they live only while the message is composed. `identifier` is empty
    where the notification is about none; for a removal request it is the page for the subscriber."""

    name: str = field(repr=False)
    address: str = field(repr=False)
    identifier: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One message to one address. `id` is the same in every attempt. There is at least one row; the rows are alerts,
    one report, or notices of removal requests or bank accounts."""

    id: UUID
    rows: tuple[Notice, ...]
    opened: tuple[Opened, ...]

    @property
    def first(self) -> Notice:
        """The first row, for values that all rows share: subscriber, language, channel."""
        return self.rows[0]

    @property
    def alerts(self) -> tuple[AlertRow, ...]:
        """The rows when they are alerts."""
        return tuple(row for row in self.rows if isinstance(row, AlertRow))

    @property
    def findings(self) -> tuple[PropertyRow, ...]:
        """The rows that are about parcels."""
        return tuple(row for row in self.rows if isinstance(row, PropertyRow))

    @property
    def clips(self) -> tuple[VoiceRow, ...]:
        """The rows that are about clips of voices."""
        return tuple(row for row in self.rows if isinstance(row, VoiceRow))

    @property
    def report(self) -> ReportNoticeRow | None:
        """The row when it is a report."""
        return self.first if isinstance(self.first, ReportNoticeRow) else None

    @property
    def removals(self) -> tuple[RemovalNoticeRow, ...]:
        """The rows when they are about removal requests."""
        return tuple(row for row in self.rows if isinstance(row, RemovalNoticeRow))

    @property
    def finances(self) -> tuple[FinanceNoticeRow, ...]:
        """The rows when they are about bank accounts."""
        return tuple(row for row in self.rows if isinstance(row, FinanceNoticeRow))

    @property
    def address(self) -> str:
        """The address of the recipient."""
        return self.opened[0].address

    @property
    def name(self) -> str:
        """The name for the greeting; may be empty."""
        return self.opened[0].name

    @property
    def category(self) -> Category:
        """The category of the first notification."""
        return Category(self.first.category)

    @property
    def severity(self) -> Severity:
        """The highest severity of its notifications."""
        order = list(Severity)
        return max((Severity(row.severity) for row in self.rows), key=order.index)
