"""The words of mails about clips of voices: what was found, what that cannot show, and what to do. Pure."""

from collections.abc import Sequence

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.pending import VoiceRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.alert_message import AlertMessage, alert_footer, greeting
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import severity_word
from kordant_jobs.wording.voices import clip_result, clip_word, person_word, short_clip_id

ROWS_MAX = 25
"""The most clips that one mail lists."""


def voice_facts(words: Wording, row: VoiceRow, person: str) -> list[tuple[str, str]]:
    """The facts of a clip: when it came, whose voice it is like, the result of the screen. `person`: the member's name,
    opened."""
    return [
        (words.say("Severity"), severity_word(words, Severity(row.severity))),
        (words.voice("labels.clip"), clip_word(words, row)),
        (words.voice("labels.received"), words.moment(row.received_at, row.time_zone)),
        *clip_result(words, row, person),
    ]


def clip_subject(words: Wording, rows: Sequence[VoiceRow]) -> str:
    """The subject of a mail about clips. For one clip it has the clip's mark, so that several mails within a minute
    differ; for several it has their number."""
    if len(rows) == 1:
        return words.voice("subject_of_one", clip=short_clip_id(rows[0]))
    return words.voice("subject_of_several", number=words.number(len(rows)))


def write_voice_message(bundle: Bundle) -> AlertMessage:
    """The text of one or several clips in one mail, the most urgent first."""
    words = wording(Locale(bundle.first.locale))
    order = list(Severity)
    pairs = [(row, one) for row, one in zip(bundle.rows, bundle.opened, strict=True) if isinstance(row, VoiceRow)]
    pairs.sort(key=lambda pair: -order.index(Severity(pair[0].severity)))
    shown = pairs[:ROWS_MAX]
    facts = [fact for row, one in shown for fact in voice_facts(words, row, one.identifier)]
    if more := len(pairs) - len(shown):
        facts.append((words.voice("labels.clips"), words.voice("labels.more", number=words.number(more))))
    reasons = list(dict.fromkeys(said for row, one in shown for said in _reasons(words, row, one.identifier)))
    first, subject = pairs[0][0], clip_subject(words, bundle.clips)
    return AlertMessage(
        locale=bundle.first.locale,
        subject=subject,
        preview=words.voice_actions()[0],
        severity=first.severity,
        severity_word=severity_word(words, Severity(first.severity)),
        greeting=greeting(words, bundle.name),
        headline=reasons[0] if first.severity == Severity.HIGH else subject,
        facts=[*facts, (words.voice("labels.limits"), words.voice("limits"))],
        reasons_title=words.voice("labels.reasons"),
        reasons=reasons,
        actions_title=words.say("What to do now"),
        actions=words.voice_actions(),
        footer=alert_footer(words),
    )


def _reasons(words: Wording, row: VoiceRow, person: str) -> list[str]:
    codes = [reason["code"] for reason in row.why]
    return [
        words.voice(f"reasons.{code}", person=person_word(words, person))
        for code in codes
        if code in {"voice_like_a_member_with_signs", "every_clip_wanted"}  # a later version may know more
    ]
