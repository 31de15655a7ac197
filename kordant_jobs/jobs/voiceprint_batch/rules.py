"""Rules for sharing out clips, and for giving one up. What is said of a clip is `domain.voice`'s. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from kordant_jobs.domain.voice.verdicts import Reason

CLIPS_MAX = 2_000
"""Clips of one run, about 20 minutes of a core; the next run takes the others."""
CHUNKS_MAX, CHUNK_MIN = 8, 10
ATTEMPTS_MAX = 3
"""Runs that may begin with a clip: one that ends its process, or whose detector does not answer, is given up then. A
run that fails by a fault of ours (models, keys, database) is none of them."""
HELD_BACK = timedelta(minutes=10)
"""Time for which a clip that could not be analysed waits: the next try may fail as slowly, and a sensor asks at once
for whatever waits."""

AGAIN = frozenset({Reason.DETECTOR_FAILED, Reason.DECODER_CRASHED})
"""Reasons that may pass: said at once, and tried again."""


def chunked(clips: Sequence[UUID]) -> tuple[tuple[UUID, ...], ...]:
    """The clips in chunks, none empty.

    >>> [len(chunk) for chunk in chunked([UUID(int=n) for n in range(25)])]
    [9, 8, 8]
    """
    count = min(CHUNKS_MAX, -(-len(clips) // CHUNK_MIN))
    return tuple(tuple(clips[place::count]) for place in range(count))
