"""The words for clips, for mails and reports alike. Nothing here reassures, whatever the verdict."""

from __future__ import annotations

from kordant_jobs.domain.voice.verdicts import Band, ClipStatus, Reason, SaidOfClip
from kordant_jobs.wording import Wording

PERSON_MAX = 60


def person_word(words: Wording, name: str) -> str:
    """A member's name on one line, or words that stand for it."""
    return " ".join(name.split())[:PERSON_MAX] or words.voice("labels.somebody")


def clip_result(words: Wording, said: SaidOfClip, person: str, *, reason: str | None = None) -> list[tuple[str, str]]:
    """A line a question, each with its label. `person`: the opened name of the member it is most like."""
    if said.status != ClipStatus.OK:
        code = Reason.MODEL_MISSING.value if reason == Reason.MODEL_MISSING else said.status
        return [(words.voice("labels.result"), words.voice(f"status.{code}"))]
    match, synthesis = said.match or "not_compared", said.synthesis or "not_screened"
    named = {"person": person_word(words, person)} if match == "consistent" else {}
    lines = [
        (words.voice("labels.voice"), words.voice(f"match.{match}", **named)),
        (words.voice("labels.synthesis"), words.voice(f"synthesis.{synthesis}")),
    ]
    notes = [
        words.voice("notes.several_voices", number=words.number(said.voices)) if said.voices > 1 else "",
        words.voice("notes.phone") if said.band == Band.PHONE else "",
        "" if said.is_whole else words.voice("notes.not_whole"),
    ]
    return lines + [(words.voice("labels.note"), note) for note in notes if note]
