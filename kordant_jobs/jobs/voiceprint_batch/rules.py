"""Rules for dividing clips into chunks, and for giving up a clip. The rules of verdicts are in `domain.voice`. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from kordant_jobs.domain.voice.verdicts import Reason

CLIPS_MAX = 2_000
"""The most clips of one run, about 20 minutes on one core; the next run analyses the others."""
CHUNKS_MAX, CHUNK_MIN = 8, 10
ATTEMPTS_MAX = 3
"""The most attempts at a clip. A clip that crashes its process, or whose detector does not answer, is given up after
them. Attempts that fail by our fault (models, keys, database) do not count."""
HELD_BACK = timedelta(minutes=10)
"""The time before the next attempt at a clip that could not be analysed. Without it a sensor would start a run at once,
which may fail again after a long time."""

AGAIN = frozenset({Reason.DETECTOR_FAILED, Reason.DECODER_CRASHED})
"""Reasons that may be temporary: the verdict is saved at once, and the clip is tried again."""


def chunked(clips: Sequence[UUID]) -> tuple[tuple[UUID, ...], ...]:
    """The clips divided into chunks of nearly equal size, none empty.

    >>> [len(chunk) for chunk in chunked([UUID(int=n) for n in range(25)])]
    [9, 8, 8]
    """
    count = min(CHUNKS_MAX, -(-len(clips) // CHUNK_MIN))
    return tuple(tuple(clips[place::count]) for place in range(count))
