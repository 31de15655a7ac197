"""Commands on voices: kordant-jobs voices enrol | list | remove | alerts | add | clips | show | evaluate.

Names are typed when asked for or piped in, never words of a command line.
"""

from __future__ import annotations

import getpass
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.ids import as_uuid
from kordant_jobs.cli.output import out, print_facts, print_json, print_table
from kordant_jobs.errors import SettingsError

voices_app = typer.Typer(help="Voices: the family's enrolments, clips and what is said of them.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value instead of words.")]
Subscriber = Annotated[str, typer.Argument(help="The subscriber, by id.")]
Subscription = Annotated[str, typer.Argument(help="The subscription, by id.")]


def _asked(prompt: str) -> str:
    """A line of standard input; at a terminal asked for."""
    said = typer.prompt(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not str(said).strip():
        raise SettingsError(f"{prompt.lower()}: a line is needed, typed or piped in.")
    return str(said).strip()


@voices_app.command()
def enrol(
    subscriber: Subscriber,
    folder: Annotated[Path, typer.Argument(help="A folder with clips of one person: 3 or more, 20 s of speech.")],
    given_on: Annotated[str | None, typer.Option(help="When the consent was given; unset: today.")] = None,
    as_json: AsJson = False,
) -> None:
    """Enrol a family member's voice. Asks whose voice it is and who agreed to it: the person, or who may for them.

    The clips are read and left as they are; only embeddings are kept, sealed under the subscriber's key.
    """
    from kordant_jobs.adapters.voice.enrolling import read_clips
    from kordant_jobs.adapters.voice.models.files import open_models
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.domain.voice.enrolment import centroids, why_not
    from kordant_jobs.store.voice import enrolments

    owner = as_uuid(subscriber)
    person, agreed = _asked("Whose voice is it"), _asked("Who agreed to it")
    try:
        day = date.fromisoformat(given_on) if given_on else date.today()  # noqa: DTZ011 - the day on the operator's desk
    except ValueError:
        raise SettingsError(f"{given_on} is no date: write it as 2026-11-18.") from None
    with open_session() as session:
        models = open_models(session.settings.models, session.settings.voice_detector)
        clips = read_clips(folder, models)
        manifest = models.speaker_manifest
        if problem := why_not(clips, manifest.match_thresholds):
            raise SettingsError(f"not enrolled: {problem}")
        with session.db.begin() as connection:
            enrolment_id = enrolments.add(
                connection,
                session.keyring,
                owner,
                enrolments.Consent(
                    person=person, given_by=agreed, given_on=day, recorded_by=f"cli:{getpass.getuser()}"
                ),
                centroids(clips),
                model=manifest.tag,
                clips=len(clips),
                speech_s=sum(clip.speech_s for clip in clips),
            )
    if as_json:
        print_json({"enrolment": str(enrolment_id), "clips": len(clips), "model": manifest.tag})
    else:
        out.print(f"enrolled as {enrolment_id}, from {len(clips)} clips")


@voices_app.command("list")
def list_voices(subscriber: Subscriber, as_json: AsJson = False) -> None:
    """The voices that are enrolled for a subscriber's family, and the consents they rest on."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.voice import enrolments

    with open_session() as session, session.db.connect() as connection:
        rows = enrolments.listed(connection, session.keyring, as_uuid(subscriber))
    if as_json:
        print_json(rows)
    else:
        heads = ["enrolment", "person", "clips", "speech_s", "consent", "model"]
        print_table(heads, [tuple(row.values()) for row in rows])


@voices_app.command()
def remove(enrolment: Annotated[str, typer.Argument(help="The enrolment, by id.")]) -> None:
    """Delete an enrolled voice for good, and note that its consent was withdrawn."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.voice import enrolments

    with open_session() as session, session.db.begin() as connection:
        if not enrolments.remove(connection, [as_uuid(enrolment)]):
            raise SettingsError(f"there is no enrolment {enrolment}; `kordant-jobs voices list` shows them.")
    out.print("deleted; its consent is noted as withdrawn")


@voices_app.command()
def alerts(
    subscriber: Subscriber,
    always: Annotated[bool, typer.Option("--always/--on-signs", help="Tell of every clip, or on signs only.")] = False,
) -> None:
    """Set when a subscriber gets alerts for clips: for every one, or when a voice is like a member's with signs of
    synthesis."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.voice import enrolments

    with open_session() as session, session.db.begin() as connection:
        enrolments.always_alert(connection, as_uuid(subscriber), always)
    out.print("alerts for every clip" if always else "alerts when a voice is like a member's with signs of synthesis")


@voices_app.command()
def add(
    subscription: Subscription,
    file: Annotated[Path, typer.Argument(help="The clip; - reads it from standard input.")],
    as_json: AsJson = False,
) -> None:
    """Take in a clip to be analysed. It is sealed at once; the file itself is left where it is."""
    from kordant_jobs.adapters.voice.drop_folder import ending_of
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.voice import clips

    owner = as_uuid(subscription)
    try:
        content = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise SettingsError(f"the clip cannot be read ({error.strerror}).") from None
    with content, open_session() as session, session.db.begin() as connection:
        clip = clips.add(connection, session.keyring, owner, content, ending=ending_of(file.name))
    if as_json:
        print_json({"clip": str(clip)})
    else:
        out.print(f"clip {clip}; `kordant-jobs voices show {clip}` says what is said of it", soft_wrap=True)


@voices_app.command("clips")
def list_clips(
    subscription: Subscription,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The clips of a subscription and what is said of each."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.store.voice import analyses

    with open_session() as session, session.db.connect() as connection:
        rows = analyses.recent(connection, as_uuid(subscription), limit)
    if as_json:
        print_json(rows)
    else:
        heads = ["clip", "received", "status", "match", "synthesis", "score", "band", "seconds", "speech_s", "voices"]
        print_table(heads, [tuple(row[head] for head in heads) for row in rows])


@voices_app.command()
def show(clip: Annotated[str, typer.Argument(help="The clip, by id.")], as_json: AsJson = False) -> None:
    """Show the verdict on a clip, from which scores, by which models; and what that cannot show."""
    from kordant_jobs.cli.session import open_session
    from kordant_jobs.domain.people.subscriptions import Locale
    from kordant_jobs.store.voice import analyses
    from kordant_jobs.wording import wording

    with open_session() as session, session.db.connect() as connection:
        row = analyses.verdict_of(connection, as_uuid(clip))
    if row is None:
        raise SettingsError(f"nothing is said of {clip} yet; voiceprint_batch does, within half an hour at most.")
    windows = row.pop("windows")
    if as_json:
        print_json({**row, "windows": windows})
        return
    print_facts({name: value for name, value in row.items() if name not in {"id", "subscription_id"}})
    if windows:
        out.print("\nscores of the detector by window (high: like human speech)")
        print_table(["from_s", "score", "that alone says"], [tuple(one) for one in windows])
    out.print(wording(Locale.EN).voice("limits"), soft_wrap=True)
