"""The text of the mail that announces a report, in the subscriber's language. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.reports.retention import LINK_LASTS, report_link
from kordant_jobs.jobs.notifications_send.alert_message import MailText, greeting
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports.notices import ReportNoticeRow
from kordant_jobs.wording import Wording, wording

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class ReportLinks:
    """Makes the links that open a report for a limited time without signing in. `public_url` is the address of
    `notifications serve`."""

    keyring: Keyring
    public_url: str

    def link(self, row: ReportNoticeRow, now: datetime) -> str:
        """A link to the report, valid for `LINK_LASTS` from `now`. It holds an id and no personal data."""
        return report_link(
            f"{self.public_url.rstrip('/')}/reports",
            row.report_id,
            expires_at=now + LINK_LASTS,
            key=self.keyring.report_link_key,
        )


@dataclass(frozen=True, kw_only=True)
class ReportMessage(MailText):
    """A mail that announces a report."""

    result: str
    advice: str
    open_word: str
    open_link: str | None = field(repr=False)


def report_subject(words: Wording, row: ReportNoticeRow) -> str:
    """The subject line names the report but not its content, since it is shown on locked screens."""
    match row.kind:
        case "weekly":
            return words.say("Your weekly protection report is ready")
        case "monthly":
            return words.say("Your monthly protection report is ready")
        case _:
            return words.say("Your protection report is ready")


def _result(words: Wording, row: ReportNoticeRow) -> str:
    """The report's result in a sentence. With an unknown source it never reads as an all-clear."""
    gap = row.overall == Verdict.UNKNOWN or Verdict.UNKNOWN in row.sources.values()
    found = []
    if row.voice_alerts:
        found.append(
            words.count(
                "It tells of %(number)s clip with a voice like a family member's and signs of an artificial voice.",
                "It tells of %(number)s clips with a voice like a family member's and signs of an artificial voice.",
                row.voice_alerts,
            )
        )
    if row.documents:
        found.append(
            words.count(
                "It tells of %(number)s new document on your property.",
                "It tells of %(number)s new documents on your property.",
                row.documents,
            )
        )
    if row.new:
        found.append(
            words.count(
                "It tells of %(number)s new exposure of your data, and what to do about it.",
                "It tells of %(number)s new exposures of your data, and what to do about them.",
                row.new,
            )
        )
    if found:
        said = " ".join(found)
    elif row.open:
        said = words.count(
            "Nothing new was found; %(number)s exposure is still open.",
            "Nothing new was found; %(number)s exposures are still open.",
            row.open,
        )
    elif not gap:
        return words.say("Nothing is open, and every source was checked.")
    else:
        said = words.say("Nothing was found in what could be checked.")
    if gap:
        said += " " + words.say("Not every source could be checked; the report says which, and why.")
    return said


def write_report_message(row: ReportNoticeRow, name: str, *, link: str | None) -> ReportMessage:
    """The text of the mail for one report; without a link it says where else the report is."""
    words = wording(Locale(row.locale))
    result = _result(words, row)
    advice = (
        words.count(
            "The link opens the report for %(number)s day, without a password. Do not pass it on.",
            "The link opens the report for %(number)s days, without a password. Do not pass it on.",
            LINK_LASTS // ONE_DAY,
        )
        if link
        else words.say("Sign in to Kordant to read it.")
    )
    return ReportMessage(
        locale=row.locale,
        subject=report_subject(words, row),
        preview=result,
        severity=row.severity,
        greeting=greeting(words, name),
        headline=words.say(
            "Your report for %(first)s to %(last)s is ready",
            first=words.day(row.period_start_on),
            last=words.day(row.period_end_on - ONE_DAY),
        ),
        result=result,
        advice=advice,
        open_word=words.say("Open the report (PDF)"),
        open_link=link,
        footer=[
            words.say("You get this mail because your subscription includes a report."),
            words.say("We never ask for a password, and no mail of ours needs one."),
        ],
    )
