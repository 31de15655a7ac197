"""A renderer process: pages on stdin, PDFs on stdout, one answer for each page. `pool.py` starts and ends it.

Personal data passes only through these two pipes. The process ends when its parent does: on Linux the kernel kills it,
and everywhere stdin ends.
"""

import ctypes
import gc
import os
import pickle
import signal
import sys
from typing import BinaryIO

from kordant_jobs.errors import SetupError
from kordant_jobs.jobs.reports_generate.layout import Pdf, ReportPage, lay_out

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Answer = Pdf | SetupError | MemoryError | None
"""None: this page cannot be made."""


def answer(page: ReportPage) -> Answer:
    """The PDF of a page, or the error. The text of an unknown error is dropped, since it could hold personal data."""
    try:
        return lay_out(page)
    except (SetupError, MemoryError) as error:
        return error
    except Exception:  # noqa: BLE001 - counted as failed by the parent
        return None


def _send(answers: BinaryIO, what: Answer) -> None:
    pickle.dump(what, answers, pickle.HIGHEST_PROTOCOL)
    answers.flush()


def main() -> None:
    """Answer requests until stdin ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _send(answers, None)  # ready
    frozen = False
    while True:
        try:
            page = pickle.load(asked)  # noqa: S301 - from our parent
        except EOFError:
            return
        _send(answers, answer(page))
        if not frozen:
            gc.collect()
            gc.freeze()  # else every collection walks the libraries and the style sheet: a quarter of the time
            frozen = True


if __name__ == "__main__":
    main()
