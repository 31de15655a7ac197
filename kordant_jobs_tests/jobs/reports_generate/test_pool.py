"""Renderer processes: the same PDFs as in process, in order, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kordant_jobs.errors import TransientError
from kordant_jobs.jobs.reports_generate.content import write_report
from kordant_jobs.jobs.reports_generate.layout import ReportPage, lay_out
from kordant_jobs.jobs.reports_generate.pool import IN_PROCESS_MAX, Renderers
from kordant_jobs.jobs.reports_generate.renderer import page_of
from kordant_jobs_tests.jobs.reports_generate.samples import OPENED, exposure, figures

ENOUGH = IN_PROCESS_MAX + 1
CLEAN = page_of(write_report(figures(), OPENED))


def children() -> list[psutil.Process]:
    """The renderer processes of this one."""
    return [one for one in psutil.Process().children() if "reports_generate.worker" in " ".join(one.cmdline())]


def gone() -> bool:
    return children() == []


@pytest.fixture(scope="module")
def renderers() -> Iterator[Renderers]:
    """Two processes for all tests here: each takes seconds to start."""
    with Renderers(2) as both:
        yield both
    assert gone()


def test_a_few_pages_start_no_process() -> None:
    with Renderers(2) as idle:
        assert list(idle.make([CLEAN, None], 2)) == [lay_out(CLEAN), None]
        assert gone()


def test_processes_make_the_same_bytes_as_this_one_in_the_order_asked_for(renderers: Renderers) -> None:
    other = page_of(write_report(figures(exposure(1)), OPENED))
    pages: list[ReportPage | None] = [other, *[CLEAN] * 8, None, other]
    clean, exposed = lay_out(CLEAN), lay_out(other)
    assert list(renderers.make(pages, len(pages))) == [exposed, *[clean] * 8, None, exposed]
    assert len(children()) == 2


def test_a_page_that_cannot_be_made_is_none_and_stops_no_other(renderers: Renderers) -> None:
    broken = replace(CLEAN, html=42)  # type: ignore[arg-type]  # what the test is about
    made = list(renderers.make([broken, CLEAN, broken, CLEAN], ENOUGH))
    assert [pdf is None for pdf in made] == [True, False, True, False]


def test_a_renderer_killed_from_outside_costs_one_page_and_is_replaced(renderers: Renderers) -> None:
    assert all(renderers.make([CLEAN] * ENOUGH, ENOUGH))
    for one in children()[:1]:
        one.kill()
        one.wait()
    assert list(renderers.make([CLEAN] * ENOUGH, ENOUGH)).count(None) == 1
    assert len(children()) == 2


def stumble(renderers: Renderers) -> None:
    """Stop amid the work."""
    next(renderers.make([CLEAN] * ENOUGH, ENOUGH))
    raise ZeroDivisionError


def test_an_error_in_the_middle_leaves_no_process_behind() -> None:
    before = len(children())
    with pytest.raises(ZeroDivisionError), Renderers(1) as own:
        stumble(own)
    assert len(children()) == before


PARENT = """
from kordant_jobs.jobs.reports_generate.pool import Renderers
from kordant_jobs_tests.jobs.reports_generate.test_pool import CLEAN, ENOUGH
import itertools, psutil
with Renderers(1) as renderers:
    made = renderers.make(itertools.repeat(CLEAN), ENOUGH)
    next(made)
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    for _ in made:
        pass
"""


def test_renderers_die_with_their_parent_even_by_kill_9() -> None:
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    renderers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(renderers) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(renderers, timeout=5)
    assert alive == []


def test_a_renderer_that_cannot_start_is_said_so() -> None:
    before = len(children())
    with (
        pytest.raises(TransientError, match=r"ended while it started \(exit code 1\)"),
        Renderers(1, ("false",)) as own,
    ):
        list(own.make([CLEAN], ENOUGH))
    assert len(children()) == before
