"""What a subscriber reads of a clip: the result, what it cannot show, what to do; no name where screens are locked."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.notifications.pending import NoticeRow, VoiceRow
from kordant_jobs.domain.voice.verdicts import (
    Band,
    ChannelMeasurements,
    ClipStatus,
    Compared,
    Match,
    Reason,
    Synthesis,
    Verdict,
    Voice,
)
from kordant_jobs.jobs.notifications_send.bundle import Bundle
from kordant_jobs.jobs.notifications_send.digest import write_digest
from kordant_jobs.jobs.notifications_send.mail import MailFrom
from kordant_jobs.jobs.notifications_send.preview import preview
from kordant_jobs.jobs.notifications_send.voice_message import ROWS_MAX
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.voice import analyses, clips, enrolments
from kordant_jobs_tests.jobs.notifications_send.test_alert_message import NOW, OPENED, ROW
from kordant_jobs_tests.jobs.voiceprint_batch.desk import PERSON, Desk, desk_of
from kordant_jobs_tests.wording.test_voice_words import NEVER

SENDER = MailFrom(header="Kordant <alerts@kordant.example>")


def told(desk: Desk, number: int, verdict: Verdict) -> Any:
    """The mail about a clip of which this is said."""
    notice = noticed(desk, number, verdict)
    with desk.db.connect() as connection:
        return preview(connection, desk.keyring, [notice], sender=SENDER)


def noticed(desk: Desk, number: int, verdict: Verdict) -> UUID:
    """The notification about a clip of which this is said."""
    clip_id = desk.give(bytes([number]))
    nobody = Voice(speech_s=5.0, embedding=np.zeros(192, np.float32))
    measured = ChannelMeasurements(seconds=9.0, speech_s=5.0, band=Band.PHONE, voices=(nobody, nobody), is_whole=False)
    with desk.db.begin() as connection:
        clip = clips.begin(connection, clip_id)
        assert clip is not None
        analyses.save(connection, clip, verdict, measured, speaker_model="m", detector="d")
        notice: UUID = connection.execute(
            sa.text(
                "SELECT o.id FROM kordant.notification_outbox o JOIN kordant.alerts a ON a.id = o.alert_id "
                "JOIN kordant.voice_analyses v ON v.id = a.analysis_id WHERE v.job_id = :id"
            ),
            {"id": clip_id},
        ).scalar_one()
    return notice


@pytest.mark.parametrize("locale", ["en", "pt-BR"])
def test_no_verdict_gets_a_reassuring_mail_not_even_a_copy_that_matches_without_signs(
    db: Engine, keyring: Keyring, locale: str
) -> None:
    desk = desk_of(db, keyring, locale=locale, name="Ann")
    member = desk.enrol()
    with db.begin() as connection:
        enrolments.set_always_alert(connection, desk.person.subscriber_id, True)
    verdicts = [Verdict(status=status) for status in ClipStatus if status is not ClipStatus.UNKNOWN]
    verdicts += [Verdict(status=ClipStatus.UNKNOWN, reason=Reason.PARTLY_READ)]
    verdicts += [
        Verdict(
            status=ClipStatus.OK,
            compared=match and Compared(match=match, member=member, score=0.9, margin=None),
            synthesis=synthesis,
        )
        for match in (None, *Match)
        for synthesis in (None, *Synthesis)
    ]
    for number, verdict in enumerate(verdicts):
        subject, texts = told(desk, number, verdict)
        text = " ".join(texts["text/plain"].split())
        assert PERSON not in subject
        assert not re.search(NEVER[locale], text, re.IGNORECASE), text
        is_match = verdict.compared is not None and verdict.compared.match is Match.CONSISTENT
        assert (PERSON in text) is is_match
        assert ("voice pass it" in text) or ("vozes passam" in text) or ("voz passam" in text)
        if is_match:
            assert ("a copy of that voice would be" in text) or ("uma cópia dessa voz também" in text)
        assert ("number that you have known" in text) or ("número que você já conhece" in text)


def test_the_high_alert_says_both_and_what_to_do(db: Engine, keyring: Keyring) -> None:
    desk = desk_of(db, keyring)
    member = desk.enrol()
    compared = Compared(match=Match.CONSISTENT, member=member, score=0.9, margin=None)
    verdict = Verdict(status=ClipStatus.OK, compared=compared, synthesis=Synthesis.SIGNS, voices=2)
    subject, texts = told(desk, 1, verdict)
    text = texts["text/plain"]
    mark = desk.rows("SELECT id FROM kordant.analysis_jobs")[0].id.hex[-6:]
    assert subject == f"Voice alert: clip {mark} that you gave us was analysed"
    assert f"{mark}, 0:09 long" in text
    for words in (
        f"like that of {PERSON}",
        "Hang up",
        "family word",
        "several voices in it (2)",
        "telephone",
        "a part",
    ):
        assert words in text, words
    assert f"like that of {PERSON}" in texts["text/html"]


@pytest.mark.parametrize(
    ("locale", "subject", "more"),
    [
        ("en", "Voice alert: 26 clips that you gave us were analysed", "And 1 more."),
        ("pt-BR", "Alerta de voz: 26 áudios que você nos enviou foram analisados", "E mais 1."),
    ],
)
def test_a_mail_of_several_clips_says_how_many(
    db: Engine, keyring: Keyring, locale: str, subject: str, more: str
) -> None:
    desk = desk_of(db, keyring, locale=locale)
    desk.enrol()
    with db.begin() as connection:
        enrolments.set_always_alert(connection, desk.person.subscriber_id, True)
    notices = [noticed(desk, n, Verdict(status=ClipStatus.UNDECODABLE)) for n in range(ROWS_MAX + 1)]
    with db.connect() as connection:
        said, texts = preview(connection, keyring, notices, sender=SENDER)
    assert said == subject
    assert more in texts["text/plain"]


def test_a_digest_counts_its_clips_and_calls_them_no_stolen_data() -> None:
    shared = {one.name: getattr(ROW, one.name) for one in fields(NoticeRow)}
    clip = VoiceRow(
        **{**shared, "category": "voice"}, clip_id=UUID(int=3), seconds=9.0, status="undecodable", reason="not_sound",
        match=None, synthesis=None, band=None, voices=0, is_whole=True, windows=(), alert_id=UUID(int=4), why=[],
        alerted_at=NOW, received_at=NOW, consent_id=None, person_encrypted=None,
    )  # fmt: skip
    found = write_digest(Bundle(id=UUID(int=5), rows=(ROW, clip), opened=(OPENED, replace(OPENED, identifier=""))))
    assert found.subject == found.headline == "Security alert: 2 findings"
    assert write_digest(Bundle(id=UUID(int=5), rows=(ROW, ROW), opened=(OPENED,) * 2)).headline == (
        "Your data was found 2 times in stolen data."
    )
