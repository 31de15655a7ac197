"""Progress adds up over ops, whichever of its calls comes first."""

from __future__ import annotations

from sqlalchemy import Engine

from kordant_jobs.engine.store.progress import Progress, ProgressReading, read_progress


def test_the_first_word_may_be_the_total(db: Engine) -> None:
    Progress(db, "run").start(10, "planning")
    assert read_progress(db, "run") == ProgressReading(done=0, total=10, message="planning")


def test_ops_of_one_run_add_to_one_count(db: Engine) -> None:
    Progress(db, "run").start(10, "planning")
    for _ in range(2):
        with Progress(db, "run") as progress:
            progress.advance(3, "working")
            progress.advance(1, "working")
    reading = read_progress(db, "run")
    assert reading is not None
    assert (reading.done, reading.total) == (8, 10)


def test_a_new_total_keeps_what_is_done(db: Engine) -> None:
    progress = Progress(db, "run")
    progress.flush("planning")
    progress.advance(4, "working")
    progress.flush("working")
    progress.expect(9, "working")
    assert read_progress(db, "run") == ProgressReading(done=4, total=9, message="working")


def test_a_run_that_said_nothing_has_none(db: Engine) -> None:
    assert read_progress(db, "run") is None
