"""What is promised of real voices and of old synthesis, on Debian's asterisk prompts and espeak-ng.

Left out where those are not installed; `.ci/run` installs them.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kordant_jobs.lab.voices.evaluate import (
    SYNTHETIC,
    compare_all,
    match_figures,
    measure_folder,
    screen_figures,
)
from kordant_jobs.lab.voices.metrics import (
    as_norm,
    auc_interval,
    eer_interval,
    equal_error_rate,
    min_dcf,
    min_dcf_interval,
    rates,
    rates_intervals,
)
from kordant_jobs_tests.voices import shared_models

PROMPTS = Path("/usr/share/asterisk/sounds")
SPEAKERS = ("en_US_f_Allison", "fr_CA_f_June", "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU")
"""Without es_MX_f_Allison, which is the same person's voice as the English one."""
CLIPS, ENROLLED, LONGEST = 5, 3, 44_000
SENTENCE = "Hello, it is me. I have had an accident, and I need your help before the bank closes today."

needs_prompts = pytest.mark.skipif(
    not all((PROMPTS / one / "agent-newlocation.g722").is_file() for one in SPEAKERS),
    reason="Debian's asterisk-core-sounds-*-g722 and -gsm (en, fr, it, ru) are not installed",
)
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def prompts(folder: Path, *, clips: int = CLIPS) -> None:
    """The longest prompts of each speaker, up to 5.5 s; of those that are not enrolled also the GSM form."""
    for speaker in SPEAKERS:
        (folder / speaker).mkdir()
        sized = [(path.stat().st_size, path) for path in (PROMPTS / speaker).glob("*.g722")]
        for _, path in sorted(one for one in sized if one[0] <= LONGEST)[-clips:]:
            shutil.copy(path, folder / speaker)
        for path in sorted((folder / speaker).iterdir())[ENROLLED:]:
            shutil.copy((PROMPTS / speaker / path.name).with_suffix(".gsm"), folder / speaker)


@pytest.mark.slow
@needs_prompts
def test_real_voices_are_distinguished_within_a_band_and_from_wide_to_gsm(tmp_path: Path) -> None:
    prompts(tmp_path)
    models = shared_models()
    found = measure_folder(tmp_path, models, is_screened=False)
    rows = {
        row["condition"]: row for row in match_figures(compare_all(found, enrol_codec="g722", clips=ENROLLED), models)
    }
    assert rows["g722 [wide centroid] → g722 (wide)"]["eer"] <= 0.01
    across = rows["g722 [phone centroid] → gsm (phone)"]
    assert across["eer"] <= 0.01
    assert across["fmr"] <= 0.01
    assert across["same_below_lower"] <= 0.10


@needs_prompts
@pytest.mark.slow
@needs_espeak
def test_old_synthesis_scores_below_real_speech(tmp_path: Path) -> None:
    prompts(tmp_path, clips=1)
    made = tmp_path / f"{SYNTHETIC}espeak"
    made.mkdir()
    for voice in ("en-us", "en-us+f3", "es"):
        command = ["espeak-ng", "-v", voice, "-w", str(made / f"{voice}.wav"), SENTENCE]
        subprocess.run(command, check=True, capture_output=True)
    models = shared_models()
    [row] = screen_figures(measure_folder(tmp_path, models, is_screened=True), models)
    assert (row["engine"], row["band"]) == ("espeak", "wide")
    assert row["auc"] >= 0.9


def test_figures_of_invented_scores_are_right() -> None:
    chance = np.random.default_rng(1)
    same, other = chance.normal(2, 1, 4000), chance.normal(0, 1, 4000)
    assert equal_error_rate(same, other) == pytest.approx(0.1587, abs=0.02)  # Φ(-1)
    low, high = eer_interval(same[:200], other[:200])
    assert 0.08 < low < 0.1587 < high < 0.25
    assert rates(same, other, 1.0) == pytest.approx((0.1587, 0.1587), abs=0.02)
    assert min_dcf(same + 9, other) == 0
    assert min_dcf(other, other) <= 1
    few, many = np.full(6, 5.0), np.zeros(30)
    assert (equal_error_rate(few, many), eer_interval(few, many)[0]) == (0, 0)
    assert eer_interval(few, many)[1] == pytest.approx(0.390, abs=0.001)  # six trials show no more
    assert min_dcf_interval(few, many)[1] == 1
    assert auc_interval(few, many)[0] == pytest.approx(0.610, abs=0.001)
    (low, high), _ = rates_intervals(same, other, 1.0)
    assert low < 0.1587 < high
    assert as_norm(0.5, [0.0, 0.1], [0.0, 0.1]) > as_norm(0.5, [0.4, 0.5], [0.4, 0.5])
