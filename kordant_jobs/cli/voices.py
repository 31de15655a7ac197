"""Commands for voices: kordant-jobs voices enrol | consent | list | remove | alerts | add | clips | show | evaluate.

Names are typed at a prompt or piped in, and are never arguments of the command line.
"""

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
import typer
from sqlalchemy import Connection

from kordant_jobs.cli.arguments import FIND, Subscriber, Subscription, actor, id_of
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.cli.subscriptions import known_subscriber
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.voice.enrolment import (
    CONSENT_TEXT,
    centroids,
    consent_problem,
    enrolled_already,
    enrolment_problem,
)
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.voice import analyses, clips, enrolments
from kordant_jobs.store.voice.enrolments import Consent
from kordant_jobs.store.voice.tables import analysis_jobs, voice_enrolments
from kordant_jobs.wording import wording

voices_app = typer.Typer(help="Voices: the family's enrolments, clips and their analyses.", no_args_is_help=True)
Language = Annotated[Locale, typer.Option(help="The language of the consent text.")]
LISTED = "`kordant-jobs voices list SUBSCRIBER`"


def _asked(prompt: str) -> str:
    """A line of standard input; at a terminal there is a prompt."""
    said = typer.prompt(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not str(said).strip():
        raise SettingsError(f"{prompt.lower()}: a line is needed, typed or piped in.")
    return str(said).strip()


def _known(connection: Connection, column: sa.Column[Any], text: str, what: str, hint: str) -> UUID:
    """The id of an existing row, from an id or its first characters.

    Raises:
        SettingsError: there is no such row.
    """
    found = id_of(connection, column, text, what, hint)
    if connection.execute(sa.select(column).where(column == found)).first() is None:
        raise SettingsError(f"there is no {what} {found}; {hint} shows them.")
    return found


@voices_app.command()
def consent(language: Language = Locale.EN) -> None:
    """Print the consent text that a person agrees to before their voice is enrolled."""
    out.print(f"{wording(language).voice_consent(CONSENT_TEXT)}\n({CONSENT_TEXT})", soft_wrap=True)


@voices_app.command()
def enrol(
    subscriber: Subscriber,
    folder: Annotated[Path, typer.Argument(help="A folder with clips of one person: 3 or more, 20 s of speech.")],
    given_on: Annotated[str | None, typer.Option(help="When the consent was given; unset: today.")] = None,
    language: Language = Locale.EN,
    add_to: Annotated[
        str | None, typer.Option(help="Add the clips to this enrolment of the same person, without a new consent.")
    ] = None,
    another_person: Annotated[
        bool, typer.Option("--another-person", help="Enrol a voice like one that is enrolled: a twin's.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Enrol a family member's voice. Shows the consent text, and asks whose voice it is and who agreed to it: the
    person, or who may for them.

    The clips are read and not changed; only embeddings are stored, sealed under the subscriber's key. A voice that is
    enrolled already is refused; `--add-to` adds clips to it.
    """
    from kordant_jobs.adapters.voice.analysis import read_clips
    from kordant_jobs.adapters.voice.models.files import open_models

    with open_session() as session:
        with session.db.connect() as connection:
            owner = known_subscriber(connection, subscriber)
            joins = add_to and _known(connection, voice_enrolments.c.id, add_to, "enrolment", LISTED)
        agreement = None if joins else _agreement(given_on, language)
        models = open_models(session.settings.models, session.settings.voice_detector)
        clips = read_clips(folder, models)
        manifest = models.speaker_manifest
        limits = manifest.match_thresholds
        if problem := enrolment_problem(clips, limits):
            raise SettingsError(f"not enrolled: {problem}")
        found = centroids(clips)
        size: dict[str, Any] = {"clips": len(clips), "speech_s": sum(clip.speech_s for clip in clips)}
        with session.db.begin() as connection:
            enrolments.lock(connection, owner)
            members = enrolments.of_subscriber(connection, session.keyring, owner, model=manifest.tag)
            known = enrolled_already(found, [one for one in members if not joins or one.id == joins], limits)
            if known and not joins and not another_person:
                raise SettingsError(
                    f"not enrolled: this voice is enrolled as {known.id}. `--add-to {known.id}` adds the clips to it; "
                    "`voices remove` first takes only these; `--another-person` is for a person who sounds the same."
                )
            if agreement is not None:
                enrolment_id = enrolments.add(
                    connection, session.keyring, owner, agreement, found, model=manifest.tag, **size
                )
            elif known is not None:
                enrolments.extend(connection, session.keyring, owner, known.id, found, **size)
                enrolment_id = known.id
            else:
                raise SettingsError(f"not added: this voice is not like that of {joins}, or that is of another model.")
    if as_json:
        print_json({"enrolment": str(enrolment_id), "clips": len(clips), "model": manifest.tag})
    elif joins:
        out.print(f"added {len(clips)} clips to {enrolment_id}")
    else:
        out.print(f"enrolled as {enrolment_id}, from {len(clips)} clips")


def _agreement(given_on: str | None, language: Locale) -> Consent:
    """Show the consent text, then ask whose voice it is and who agreed.

    Raises:
        SettingsError: the day is not a date, or no consent to this text can be of that day.
    """
    today = date.today()  # noqa: DTZ011 - the day on the operator's desk
    try:
        day = date.fromisoformat(given_on) if given_on else today
    except ValueError:
        raise SettingsError(f"{given_on} is no date: write it as 2026-11-18.") from None
    if problem := consent_problem(day, today):
        raise SettingsError(f"--given-on: {problem}.")
    err.print(f"{wording(language).voice_consent(CONSENT_TEXT)}\n", soft_wrap=True)
    person, agreed = _asked("Whose voice is it"), _asked(f"Who agreed to this text ({CONSENT_TEXT})")
    return Consent(person=person, given_by=agreed, given_on=day, recorded_by=actor())


@voices_app.command("list")
def list_voices(subscriber: Subscriber, as_json: AsJson = False) -> None:
    """List the enrolled voices of a subscriber's family, with their consents."""
    with open_session() as session, session.db.connect() as connection:
        rows = enrolments.listed(connection, session.keyring, known_subscriber(connection, subscriber))
    if as_json:
        print_json(rows)
    else:
        heads = ["enrolment", "person", "clips", "speech_s", "consent", "agreed", "model"]
        print_table(heads, [tuple(row.values()) for row in rows])


@voices_app.command()
def remove(enrolment: Annotated[str, typer.Argument(help="The enrolment, by id.")]) -> None:
    """Delete an enrolled voice for good, and note that its consent was withdrawn."""
    with open_session() as session, session.db.begin() as connection:
        enrolments.remove(connection, [_known(connection, voice_enrolments.c.id, enrolment, "enrolment", LISTED)])
    out.print("deleted; its consent is noted as withdrawn")


@voices_app.command("alerts")
def set_alerts(
    subscriber: Subscriber,
    always: Annotated[
        bool, typer.Option("--always/--on-signs", help="Alert for every clip, or on signs of synthesis only.")
    ] = False,
) -> None:
    """Set when a subscriber gets alerts for clips: for every one, or when a voice is like a member's with signs of
    synthesis."""
    with open_session() as session, session.db.begin() as connection:
        enrolments.set_always_alert(connection, known_subscriber(connection, subscriber), always)
    out.print("alerts for every clip" if always else "alerts when a voice is like a member's with signs of synthesis")


@voices_app.command()
def add(
    subscription: Subscription,
    file: Annotated[Path, typer.Argument(help="The clip; - reads it from standard input.")],
    as_json: AsJson = False,
) -> None:
    """Add a clip to be analysed. It is sealed at once; the file itself is not changed."""
    from kordant_jobs.adapters.voice.drop_folder import ending_of

    try:
        content = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise SettingsError(f"the clip cannot be read ({error.strerror}).") from None
    with content, open_session() as session, session.db.begin() as connection:
        owner = _known(connection, subscriptions.c.id, subscription, "subscription", FIND)
        clip = clips.add(connection, session.keyring, owner, content, ending=ending_of(file.name))
    if as_json:
        print_json({"clip": str(clip)})
    else:
        out.print(f"clip {clip}; `kordant-jobs voices show {clip}` shows its analysis", soft_wrap=True)


@voices_app.command("clips")
def list_clips(
    subscription: Subscription,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the clips of a subscription with their analyses."""
    with open_session() as session, session.db.connect() as connection:
        owner = _known(connection, subscriptions.c.id, subscription, "subscription", FIND)
        rows = analyses.recent(connection, session.keyring, owner, limit)
    if as_json:
        print_json(rows)
    else:
        heads = [
            "clip", "received", "status", "match", "person", "synthesis", "score", "band", "seconds", "speech_s",
            "voices", "is_whole",
        ]  # fmt: skip
        print_table(heads, [tuple(row[head] for head in heads) for row in rows])


@voices_app.command()
def show(clip: Annotated[str, typer.Argument(help="The clip, by id.")], as_json: AsJson = False) -> None:
    """Show the verdict on a clip with its scores and models, and the limits of what it can show."""
    with open_session() as session, session.db.connect() as connection:
        clip_id = _known(connection, analysis_jobs.c.id, clip, "clip", "`kordant-jobs voices clips SUBSCRIPTION`")
        row = analyses.verdict_of(connection, clip_id)
    if row is None:
        raise SettingsError(f"{clip} is not analysed yet; voiceprint_batch does it within half an hour.")
    windows = row.pop("windows")
    if as_json:
        print_json({**row, "windows": windows})
        return
    print_facts({name: value for name, value in row.items() if name not in {"id", "subscription_id"}})
    if windows:
        out.print("\nscores of the detector by window (high: like human speech)")
        print_table(["from_s", "score", "that alone says"], [tuple(one) for one in windows])
    out.print(wording(Locale.EN).voice("limits"), soft_wrap=True)
