"""The texts on clips, for mails and reports. They never reassure, whatever the verdict."""

from kordant_jobs.domain.voice.verdicts import Band, ClipStatus, ClipSummary, Reason, Synthesis
from kordant_jobs.wording import Wording

PERSON_NAME_MAX = 60


def person_word(words: Wording, name: str) -> str:
    """A member's name on one line, or general words in its place."""
    return " ".join(name.split())[:PERSON_NAME_MAX] or words.voice("labels.somebody")


def short_clip_id(said: ClipSummary) -> str:
    """The short name of a clip: the last characters of its id, which `voices clips` shows."""
    return said.clip_id.hex[-6:]


def clip_word(words: Wording, said: ClipSummary) -> str:
    """A clip's mark and length."""
    if said.seconds is None:
        return short_clip_id(said)
    minutes, seconds = divmod(round(said.seconds), 60)
    return f"{short_clip_id(said)}, {words.voice('labels.length', time=f'{minutes}:{seconds:02d}')}"


def clip_result(words: Wording, said: ClipSummary, person: str) -> list[tuple[str, str]]:
    """One line for each question, with its label. `person`: the decrypted name of the member it is most like."""
    if said.status != ClipStatus.OK:
        code = said.reason if said.reason in {Reason.MODEL_MISSING, Reason.PARTLY_READ} else said.status
        return [(words.voice("labels.result"), words.voice(f"status.{code}"))]
    match, synthesis = said.match or "not_compared", said.synthesis or "not_screened"
    named = {"person": person_word(words, person)} if match == "consistent" else {}
    lines = [
        (words.voice("labels.voice"), words.voice(f"match.{match}", **named)),
        (words.voice("labels.synthesis"), words.voice(f"synthesis.{synthesis}")),
    ]
    signs = said.windows.count(Synthesis.SIGNS) if synthesis != Synthesis.SIGNS else 0
    parts = {"signs": words.number(signs), "number": words.number(len(said.windows))}
    notes = [
        words.voice("notes.signs_in_a_part", **parts) if signs else "",
        words.voice("notes.several_voices", number=words.number(said.voices)) if said.voices > 1 else "",
        words.voice("notes.phone") if said.band == Band.PHONE else "",
        "" if said.is_whole else words.voice("notes.not_whole"),
    ]
    return lines + [(words.voice("labels.note"), note) for note in notes if note]
