"""The texts of push messages and text messages. Both are read on locked screens, so they name no identifier. Pure."""

from __future__ import annotations

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.pending import AlertRow, PropertyRow, VoiceRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.alert_message import subject_of
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.finance_message import finance_subject
from kordant_jobs.jobs.notifications_send.property_message import property_subject
from kordant_jobs.jobs.notifications_send.report_message import report_subject
from kordant_jobs.jobs.notifications_send.voice_message import clip_subject
from kordant_jobs.ports import OutgoingPush, OutgoingText
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line

BODY_MAX = 240
"""The most characters; phones show about four lines of 60. It also keeps a message far below the 4096 bytes that FCM,
APNs and Web Push accept."""


def _said(words: Wording, bundle: Bundle) -> str:
    if bundle.report:
        return report_subject(words, bundle.report)
    if bundle.finances:
        return finance_subject(words, bundle.finances)
    if len(bundle.rows) == 1 and bundle.findings:
        return property_subject(words, bundle.findings[0])
    if bundle.clips and len(bundle.clips) == len(bundle.rows):
        return clip_subject(words, bundle.clips)
    if len(bundle.rows) == 1:
        return subject_of(words, bundle.alerts[0])
    return words.count("Security alert: %(number)s finding", "Security alert: %(number)s findings", len(bundle.rows))


def _about(bundle: Bundle) -> dict[str, str]:
    if bundle.finances:
        return {"notice_id": str(bundle.finances[0].notice_id)}
    rows: list[AlertRow | PropertyRow | VoiceRow] = [*bundle.alerts, *bundle.findings, *bundle.clips]
    return {"alert_id": str(rows[0].alert_id)}


def compose_push(bundle: Bundle) -> OutgoingPush:
    """The push message for one bundle; the app finds the rest by the id of the alert or the report."""
    words = wording(Locale(bundle.first.locale))
    if bundle.report:
        advice, about = words.say("Open the app to read it."), {"report_id": str(bundle.report.report_id)}
    else:
        advice, about = (
            words.say("Open the app to see what to do."),
            _about(bundle),
        )
    return OutgoingPush(
        id=bundle.id,
        address=bundle.address,
        title="Kordant",
        body=one_line(f"{_said(words, bundle)}. {advice}", BODY_MAX),
        data={"notification_id": str(bundle.id), **about, "category": bundle.category},
        urgent=bundle.severity in {Severity.HIGH, Severity.CRITICAL},
    )


def compose_text(bundle: Bundle) -> OutgoingText:
    """The text message for one bundle. It has no link, since people are advised to distrust links in text messages."""
    words = wording(Locale(bundle.first.locale))
    advice = (
        words.say("Sign in to read it. We never ask for a password.")
        if bundle.report
        else words.say("Sign in to see what to do. We never ask for a password.")
    )
    return OutgoingText(
        id=bundle.id, address=bundle.address, text=one_line(f"Kordant. {_said(words, bundle)}. {advice}", BODY_MAX)
    )
