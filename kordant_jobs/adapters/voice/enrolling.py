"""Reads and measures the clips of one person in a folder, for an enrolment."""

from pathlib import Path

from kordant_jobs.adapters.drop_folder import dropped_files
from kordant_jobs.adapters.voice.analysis import enrolment_clip
from kordant_jobs.adapters.voice.decoding import Decoder, Undecodable
from kordant_jobs.adapters.voice.drop_folder import ending_of
from kordant_jobs.adapters.voice.models.files import VoiceModels
from kordant_jobs.domain.voice.enrolment import EnrolmentClip
from kordant_jobs.domain.voice.verdicts import Reason
from kordant_jobs.errors import SettingsError


def read_clips(folder: Path, models: VoiceModels) -> list[EnrolmentClip]:
    """Read and measure the clips of a folder.

    Raises:
        SettingsError: there is no such folder, or a clip in it has no sound or no speech; the text names the clip.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder: put the clips of one person into one.")
    found = []
    with Decoder() as decoder:
        for file in dropped_files(folder):
            try:
                decoded = decoder.decode([file.path.read_bytes()], ending_of(file.name))
            except Undecodable as error:
                raise SettingsError(f"{file.name} holds no sound that can be read ({_words(error.reason)}).") from None
            clip = enrolment_clip(file.name, decoded.channels, models)
            if not clip.by_band:
                raise SettingsError(f"there is no speech in {file.name}: leave it out.")
            found.append(clip)
    return found


def _words(reason: Reason) -> str:
    return reason.value.replace("_", " ")
