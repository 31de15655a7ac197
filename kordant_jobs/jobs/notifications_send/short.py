"""The words of a push message and of a text message. Both are read on locked screens: they name no identifier. Pure."""

from __future__ import annotations

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.pending import LetterRow, PropertyRow, VoiceRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.finance_letter import finance_subject
from kordant_jobs.jobs.notifications_send.letter import one_line, subject_of
from kordant_jobs.jobs.notifications_send.parcel import Parcel
from kordant_jobs.jobs.notifications_send.property_letter import property_subject
from kordant_jobs.jobs.notifications_send.report_letter import report_subject
from kordant_jobs.ports import OutgoingPush, OutgoingText
from kordant_jobs.wording import Wording, wording

BODY_MAX = 240
"""Characters; phones show about four lines of 60. It also keeps a message far below the 4096 bytes that FCM, APNs and
Web Push take."""


def _said(words: Wording, parcel: Parcel) -> str:
    if parcel.report:
        return report_subject(words, parcel.report)
    if parcel.finances:
        return finance_subject(words, parcel.finances)
    if len(parcel.rows) == 1 and parcel.findings:
        return property_subject(words, parcel.findings[0])
    if parcel.clips and len(parcel.clips) == len(parcel.rows):
        return words.voice("subject")
    if len(parcel.rows) == 1:
        return subject_of(words, parcel.alerts[0])
    return words.count("Security alert: %(number)s finding", "Security alert: %(number)s findings", len(parcel.rows))


def _about(parcel: Parcel) -> dict[str, str]:
    if parcel.finances:
        return {"notice_id": str(parcel.finances[0].notice_id)}
    rows: list[LetterRow | PropertyRow | VoiceRow] = [*parcel.alerts, *parcel.findings, *parcel.clips]
    return {"alert_id": str(rows[0].alert_id)}


def compose_push(parcel: Parcel) -> OutgoingPush:
    """The push message for one parcel; the app finds the rest by the id of the alert or the report."""
    words = wording(Locale(parcel.first.locale))
    if parcel.report:
        advice, about = words.say("Open the app to read it."), {"report_id": str(parcel.report.report_id)}
    else:
        advice, about = (
            words.say("Open the app to see what to do."),
            _about(parcel),
        )
    return OutgoingPush(
        id=parcel.id,
        address=parcel.address,
        title="Kordant",
        body=one_line(f"{_said(words, parcel)}. {advice}", BODY_MAX),
        data={"notification_id": str(parcel.id), **about, "category": parcel.category},
        urgent=parcel.severity in {Severity.HIGH, Severity.CRITICAL},
    )


def compose_text(parcel: Parcel) -> OutgoingText:
    """The text message for one parcel. No link: people are told to distrust those."""
    words = wording(Locale(parcel.first.locale))
    advice = (
        words.say("Sign in to read it. We never ask for a password.")
        if parcel.report
        else words.say("Sign in to see what to do. We never ask for a password.")
    )
    return OutgoingText(
        id=parcel.id, address=parcel.address, text=one_line(f"Kordant. {_said(words, parcel)}. {advice}", BODY_MAX)
    )
