"""The job in Dagster and the commands that feed it: what is dropped or given is taken in, analysed and shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.adapters.voice.models.files import LoadedModels
from kordant_jobs.cli.main import app
from kordant_jobs.errors import KordantError
from kordant_jobs.jobs.voiceprint_batch.job import JOBS
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.voiceprint_batch.desk import PERSON, Desk, desk_of
from kordant_jobs_tests.voices import GRANDMOTHER, models_folder, spoken_wav


def figures(desk: Desk, settings: Settings) -> dict[str, Any]:
    resources = {"db": desk.db, "keyring": desk.keyring, "voice_models": desk.voice_models, "settings": settings}
    done = JOBS.plain.execute_in_process(resources=resources)
    (last,) = [event for event in done.all_events if event.is_successful_output and event.step_key == "summarise"]
    return {name: one.value for name, one in last.step_output_data.metadata.items()}


def drop(settings: Settings, desk: Desk, name: str, content: bytes) -> None:
    settings.voice_drop.mkdir(parents=True, exist_ok=True)
    path = settings.voice_drop / f"{desk.person.subscription_id}-{name}"
    path.write_bytes(content)
    settled = time.time() - 60
    os.utime(path, (settled, settled))


def test_a_run_takes_in_and_analyses_and_a_second_has_nothing_to_do(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    desk = desk_of(db, keyring)
    desk.enrol()
    drop(settings, desk, "a.wav", spoken_wav(GRANDMOTHER, 1))
    drop(settings, desk, "b.wav", b"no sound")
    said = figures(desk, settings)
    assert (said["taken_in"], said["clips"], said["consistent"], said["undecodable"]) == (2, 2, 1, 1)
    assert (said["alerts"], said["failed"]) == (1, 0)
    assert figures(desk, settings)["clips"] == 0


def run(*words: str, typed: str | None = None) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_family_member_is_enrolled_listed_and_removed_by_commands(
    db: Engine, keyring: Keyring, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORDANT_MODELS_DIR", str(models_folder()))
    desk, folder = desk_of(db, keyring), tmp_path / "clips"
    folder.mkdir()
    owner, names = str(desk.person.subscriber_id), f"{PERSON}\n{PERSON} herself\n"
    for number in (11, 12, 13):
        (folder / f"{number}.wav").write_bytes(spoken_wav(GRANDMOTHER, number, 11.0))
    with pytest.raises(KordantError, match="a line is needed"):
        run("voices", "enrol", owner, str(folder), typed=f"{PERSON}\n")
    made = run("voices", "enrol", owner, str(folder), "--given-on", "2026-11-18", typed=names)
    [row] = run("voices", "list", owner)
    assert (row["enrolment"], row["person"], row["clips"]) == (made["enrolment"], PERSON, 3)
    assert row["consent"] == "2026-11-18, text 2026-11"
    assert row["agreed"] == f"{PERSON} herself"
    with pytest.raises(KordantError, match=f"enrolled as {made['enrolment']}.*--add-to"):
        run("voices", "enrol", owner, str(folder), typed=names)
    assert run("voices", "enrol", owner, str(folder), "--add-to", made["enrolment"]) == made
    assert [one["clips"] for one in run("voices", "list", owner)] == [6]
    (folder / "call.wav").write_bytes(spoken_wav(GRANDMOTHER, 1))
    clip = run("voices", "add", str(desk.person.subscription_id), str(folder / "call.wav"))["clip"]
    assert [one["status"] for one in run("voices", "clips", str(desk.person.subscription_id))] == ["pending"]
    with pytest.raises(KordantError, match="is not analysed yet"):
        run("voices", "show", clip)
    figures(desk, load_settings())
    assert run("voices", "show", clip)["match"] == "consistent"
    [shown] = run("voices", "clips", str(desk.person.subscription_id))
    assert (shown["person"], shown["is_whole"]) == (PERSON, True)
    result = CliRunner().invoke(app, ["voices", "show", clip])
    assert "No analysis of sound can tell who is speaking" in result.stdout
    assert CliRunner().invoke(app, ["voices", "remove", made["enrolment"]]).exit_code == 0
    assert run("voices", "list", owner) == []


def test_the_consent_text_is_shown_before_anybody_is_said_to_have_agreed(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    owner = str(desk_of(db, keyring).person.subscriber_id)
    for day, words in (("2099-01-01", "in the future"), ("0001-01-01", "in use since"), ("soon", "is no date")):
        with pytest.raises(KordantError, match=words):
            run("voices", "enrol", owner, ".", "--given-on", day)
    result = CliRunner().invoke(app, ["voices", "enrol", owner, ".", "--language", "pt-BR"], input=f"{PERSON}\n")
    assert "Sua voz é um dado biométrico" in result.stderr
    assert "who agreed to this text (2026-11): a line is needed" in str(result.exception)
    assert "Your voice is biometric data" in CliRunner().invoke(app, ["voices", "consent"]).stdout


def test_forgetting_a_subscriber_says_how_many_voices_clips_and_consents_went(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    desk = desk_of(db, keyring)
    desk.enrol()
    desk.give(b"RIFF")
    desk.give(b"OggS")
    deleted = run("subscribers", "forget", str(desk.person.subscriber_id), "--yes")["deleted now"]
    assert {"enrolled voices": 1, "clips of voices": 2, "consents to voices": 1}.items() <= deleted.items()
    for table in ("voice_enrolments", "voice_consents", "analysis_jobs"):
        assert desk.rows(f"SELECT 1 FROM kordant.{table}") == []


UNKNOWN = "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("alerts", UNKNOWN, "--always"), "subscriber"),
        (("enrol", UNKNOWN, "."), "subscriber"),
        (("list", UNKNOWN), "subscriber"),
        (("clips", UNKNOWN), "subscription"),
        (("show", UNKNOWN), "clip"),
        (("remove", UNKNOWN), "enrolment"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_an_unknown_id_is_an_error_that_says_so(words: tuple[str, ...], what: str) -> None:
    result = CliRunner().invoke(app, ["voices", *words])
    assert isinstance(result.exception, KordantError)
    assert f"there is no {what} {UNKNOWN}" in str(result.exception)


def test_without_models_a_run_says_what_to_do_and_goes_on(
    db: Engine, keyring: Keyring, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = desk_of(db, keyring)
    desk.give(b"RIFF")
    desk.given = LoadedModels(models=None, problem="run `kordant-jobs models pull`.")
    assert figures(desk, settings)["unknown"] == 1
    assert "run `kordant-jobs models pull`. Until then verdicts are unknown; the clips wait." in capfd.readouterr().err
    desk.given = None
    assert figures(desk, settings)["undecodable"] == 1, "it waited for them"
