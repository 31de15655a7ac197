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


def test_more_than_was_planned_is_never_over_the_whole(db: Engine) -> None:
    progress = Progress(db, "run")
    progress.start(123, "sending")
    told = []
    for _ in range(3):
        progress.advance(61, "sending")
        progress.flush("sending")
        reading = read_progress(db, "run")
        assert reading is not None
        told.append((reading.done, reading.total))
    assert told == [(61, 123), (122, 123), (183, 183)]


def test_an_unknown_total_stays_unknown_until_the_end(db: Engine) -> None:
    progress = Progress(db, "run")
    progress.start(0, "looking")
    progress.advance(5, "looking")
    progress.flush("looking")
    assert read_progress(db, "run") == ProgressReading(done=5, total=0, message="looking")
    progress.end("done")
    assert read_progress(db, "run") == ProgressReading(done=5, total=5, message="done")


def test_what_was_left_or_set_aside_does_not_keep_the_end_below_the_whole(db: Engine) -> None:
    progress = Progress(db, "run")
    progress.start(58_544_992, "ingesting")
    progress.advance(58_113_489, "ingesting")
    progress.end("done")
    assert read_progress(db, "run") == ProgressReading(done=58_544_992, total=58_544_992, message="done")
