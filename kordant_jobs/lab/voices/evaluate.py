"""`voices evaluate FOLDER`: error rates of telling voices apart and of finding older synthesis, on your own recordings.

FOLDER has one folder for each speaker, with clips in any format; folders named `synthetic-<engine>` have synthetic
voices. Clips with one name in several formats (a.g722, a.gsm) are one recording: each is tested, but never against an
enrolment that contains the recording.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.adapters.voice.analysis import enrolment_of, listen, screen
from kordant_jobs.adapters.voice.decoding import Decoder, Undecodable
from kordant_jobs.adapters.voice.models.files import VoiceModels, open_models
from kordant_jobs.cli.output import err, out, print_json, print_table
from kordant_jobs.cli.voices import voices_app
from kordant_jobs.domain.voice.enrolment import CLIPS_MIN, EnrolmentClip, centroids
from kordant_jobs.domain.voice.verdicts import SPEECH_MIN_S, Band, Embedding, MatchThresholds, screened
from kordant_jobs.errors import SettingsError
from kordant_jobs.lab.voices.metrics import (
    Scores,
    as_norm,
    auc,
    auc_interval,
    eer_interval,
    equal_error_rate,
    min_dcf,
    min_dcf_interval,
    rates,
    rates_intervals,
)
from kordant_jobs.settings import load_settings

SYNTHETIC = "synthetic-"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A clip of a speaker or a synthesis engine: its recording, its format (`codec`), its voice, and the detector's
    score."""

    speaker: str
    recording: str
    codec: str
    clip: EnrolmentClip
    screen: float | None


@dataclass
class Trials:
    """The scores of one condition, of the same and of other speakers; `_normed`: normalised by AS-norm."""

    same: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    same_normed: list[float] = field(default_factory=list)
    other_normed: list[float] = field(default_factory=list)


def measure_folder(folder: Path, models: VoiceModels, *, is_screened: bool) -> list[Measured]:
    """Measure the clips below the folder that have enough speech. Files that cannot be decoded are reported and left
    out."""
    files = [
        (one.name, one / file.name) for one in sorted(folder.iterdir()) if one.is_dir() for file in dropped_files(one)
    ]
    found = []
    with Decoder() as decoder:
        for speaker, path in track(files, "listening", console=err, transient=True):
            try:
                channels = decoder.decode([path.read_bytes()], path.suffix[1:]).channels
            except Undecodable as error:
                err.print(f"left out: {path.name} ({error.reason})")
                continue
            heard = [(listen(one, models), one) for one in channels]
            speech, samples = max(heard, key=lambda pair: pair[0].seconds)
            clip = enrolment_of(path.name, speech, models)
            if not clip.by_band or clip.speech_s < SPEECH_MIN_S:
                continue
            score = screened(screen(samples, speech.spans, models), None) if is_screened else None
            codec = f"{path.suffix[1:]} ({clip.band})"
            found.append(
                Measured(
                    speaker=speaker, recording=path.stem, codec=codec, clip=clip, screen=score[1] if score else None
                )
            )
    return found


def compare_all(found: Sequence[Measured], *, enrol_codec: str | None, clips: int) -> dict[str, Trials]:
    """The trials by condition: the first clips of each speaker in one format are enrolled, all others are tested."""
    real = [one for one in found if not one.speaker.startswith(SYNTHETIC)]
    speakers = sorted({one.speaker for one in real})
    enrolled: dict[str, Mapping[Band, Embedding]] = {}
    taken: dict[str, set[str]] = {}
    for speaker in speakers:
        own = [one for one in real if one.speaker == speaker and (not enrol_codec or one.codec.startswith(enrol_codec))]
        first = sorted(own, key=lambda one: one.recording)[:clips]
        if len(first) == clips:
            enrolled[speaker] = centroids([one.clip for one in first])
            taken[speaker] = {one.recording for one in first}
    trials: dict[str, Trials] = {}
    for one in real:
        for speaker, by_band in enrolled.items():
            if one.recording in taken[speaker]:
                continue
            for band in by_band:
                name = f"{enrol_codec or 'any'} [{band} centroid] → {one.codec}"
                _try(trials.setdefault(name, Trials()), one, speaker, by_band[band], real)
    return {name: one for name, one in trials.items() if one.same and one.other}


def _try(trials: Trials, one: Measured, speaker: str, centroid: Embedding, real: Sequence[Measured]) -> None:
    voice = one.clip.by_band[one.clip.band]
    score = float(voice @ centroid)
    cohort = [
        it.clip.by_band[it.clip.band]
        for it in real
        if it.speaker not in {one.speaker, speaker} and it.codec == one.codec
    ]
    normed = (
        as_norm(score, [float(it @ centroid) for it in cohort], [float(it @ voice) for it in cohort]) if cohort else 0
    )
    is_same = one.speaker == speaker
    (trials.same if is_same else trials.other).append(score)
    (trials.same_normed if is_same else trials.other_normed).append(normed)


def match_figures(trials: Mapping[str, Trials], models: VoiceModels) -> list[dict[str, Any]]:
    """The error rates of the comparison, one row per condition."""
    rows = []
    for name, one in sorted(trials.items()):
        same, other = np.array(one.same), np.array(one.other)
        band = Band.PHONE if "(phone)" in name else Band.WIDE
        limits = models.speaker_manifest.match_thresholds.get(band)
        low, high = eer_interval(same, other)
        dcf_low, dcf_high = min_dcf_interval(same, other)
        rows.append(
            {
                "condition": name, "same": len(same), "other": len(other), "eer": equal_error_rate(same, other),
                "eer_low": low, "eer_high": high, "min_dcf": min_dcf(same, other),
                "min_dcf_low": dcf_low, "min_dcf_high": dcf_high,
                "eer_as_norm": equal_error_rate(np.array(one.same_normed), np.array(one.other_normed)),
                **(_at_thresholds(same, other, limits) if limits else {}),
            }
        )  # fmt: skip
    return rows


def _at_thresholds(same: Scores, other: Scores, limits: MatchThresholds) -> dict[str, float]:
    """FMR and FNMR at the threshold of `consistent`, and the share of same-speaker scores below that of
    `not_consistent`."""
    fmr, fnmr = rates(same, other, limits.consistent)
    (fmr_low, fmr_high), (fnmr_low, fnmr_high) = rates_intervals(same, other, limits.consistent)
    return {
        "fmr": fmr, "fmr_low": fmr_low, "fmr_high": fmr_high, "fnmr": fnmr, "fnmr_low": fnmr_low,
        "fnmr_high": fnmr_high, "same_below_lower": rates(same, other, limits.not_consistent)[1],
    }  # fmt: skip


def screen_figures(found: Sequence[Measured], models: VoiceModels) -> list[dict[str, Any]]:
    """The error rates of the screen, one row per engine and band: its synthetic clips against the real ones of the
    band."""
    manifest = models.detector_manifest
    rows = []
    for band in Band:
        mine = [one for one in found if one.clip.band is band and one.screen is not None]
        real: Scores = np.array([one.screen for one in mine if not one.speaker.startswith(SYNTHETIC)], float)
        limits = manifest.screen_thresholds.get(band) if manifest else None
        for engine in sorted({one.speaker for one in mine if one.speaker.startswith(SYNTHETIC)}):
            made: Scores = np.array([one.screen for one in mine if one.speaker == engine], float)
            if not len(real):
                continue
            low, high = auc_interval(real, made)
            rows.append(
                {
                    "engine": engine.removeprefix(SYNTHETIC), "band": band.value, "real": len(real), "made": len(made),
                    "auc": auc(real, made), "auc_low": low, "auc_high": high,
                    **({"found": float((made <= limits.signs).mean()),
                        "false_alarms": float((real <= limits.signs).mean()),
                        "made_without_signs": float((made >= limits.no_signs).mean())} if limits else {}),
                }
            )  # fmt: skip
    return rows


@voices_app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="One folder per speaker; `synthetic-ENGINE` for synthetic voices.")],
    enrol: Annotated[str | None, typer.Option(help="Enrol from clips of this format only, such as `g722`.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips that make an enrolment.")] = CLIPS_MIN,
    is_screened: Annotated[bool, typer.Option("--screen/--no-screen", help="Run the detector, too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of words.")] = False,
) -> None:
    """Measure error rates on your own recordings: EER, FMR and FNMR at the thresholds, minDCF and AUC, by format and
    engine, with 95 % intervals. AS-norm is shown for comparison; verdicts use the plain scores."""
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder; put the clips of each speaker into one of its own below it.")
    settings = load_settings()
    models = open_models(settings.models, settings.voice_detector)
    found = measure_folder(folder, models, is_screened=is_screened)
    matches = match_figures(compare_all(found, enrol_codec=enrol, clips=clips), models)
    screens = screen_figures(found, models)
    if as_json:
        print_json({"match": matches, "screen": screens})
        return
    for rows in (matches, screens):
        if rows:
            shown = partial(_shown, rows)
            heads = [name for name in rows[0] if not name.endswith(("_low", "_high"))]
            print_table(heads, [shown(row) for row in rows])
            out.print()


def _shown(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> tuple[Any, ...]:
    def cell(name: str) -> Any:
        value = row.get(name, "")
        if not isinstance(value, float):
            return value
        bounds = f" [{row[f'{name}_low']:.4f}, {row[f'{name}_high']:.4f}]" if f"{name}_low" in row else ""
        return f"{value:.4f}{bounds}"

    return tuple(cell(name) for name in rows[0] if not name.endswith(("_low", "_high")))
