"""What others say (an error with a NUL, a date in milliseconds) is refused at the door or stored cleaned: it stops
nobody's work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.enqueue import LATEST, enqueue
from kordant_jobs.engine.requests import RequestStatus
from kordant_jobs.engine.store.progress import Progress, read_progress
from kordant_jobs.errors import PermanentError
from kordant_jobs.lab.engine import FakeClock, RunContext, drain
from kordant_jobs_tests.engine.queue.asking import look, put
from kordant_jobs_tests.engine.queue.toys import Toy, catalog

NASTY = ["value \0 in it", "half \ud800 a pair", "\udfff"]


@pytest.mark.parametrize("text", NASTY)
def test_the_end_is_recorded_whatever_the_error_says_and_the_next_is_served(
    queue: Engine, clock: FakeClock, text: str
) -> None:
    bad, good = put(queue, clock, 1), put(queue, clock, 2)

    def work(one: RunContext) -> None:
        if one.requests()[0].payload["number"] == 1:
            raise PermanentError(text)

    drain(queue, {"toy": work}, clock, catalog=catalog())
    ended = look(queue, bad)
    assert ended.status is RequestStatus.DEAD
    assert "\ufffd" in str(ended.error)
    assert look(queue, good).status is RequestStatus.COMPLETED


@pytest.mark.parametrize("text", NASTY)
def test_progress_says_what_can_be_stored(queue: Engine, text: str) -> None:
    with Progress(queue, "run") as progress:
        progress.flush(text)
    reading = read_progress(queue, "run")
    assert reading is not None
    assert "\ufffd" in reading.message


@pytest.mark.parametrize("moment", [datetime(1999, 12, 31, tzinfo=UTC), LATEST, datetime(9999, 1, 1, tzinfo=UTC)])
def test_a_moment_that_no_request_waits_for_is_refused_by_its_field(queue: Engine, moment: datetime) -> None:
    with queue.begin() as connection, pytest.raises(PermanentError, match="run_at is not between 2000 and 2200"):
        enqueue(connection, Toy(), requested_by="test", run_at=moment, catalog=catalog())


@pytest.mark.parametrize("moment", ["to_timestamp(1795900000000)", "'0044-03-15 BC'::timestamptz", "'infinity'"])
def test_sql_is_refused_such_a_moment_too(queue: Engine, clock: FakeClock, moment: str) -> None:
    request_id = put(queue, clock, run_at=clock.now() + timedelta(hours=1))
    update = f"UPDATE kordant.job_requests SET run_at = {moment} WHERE id = :id"
    with queue.begin() as connection, pytest.raises(DBAPIError, match="between_2000_and_2200"):
        connection.execute(sa.text(update), {"id": request_id})


class Named(Payload):
    """A payload with a text in a list."""

    job: ClassVar[str] = "toy"

    names: tuple[str, ...] = ()


@pytest.mark.parametrize("text", NASTY)
def test_a_payload_that_no_database_keeps_is_refused_by_its_field(queue: Engine, text: str) -> None:
    rows = catalog(payload=Named)
    with queue.begin() as connection, pytest.raises(PermanentError, match=r"payload\.names\.1 holds a NUL"):
        enqueue(connection, Named(names=("fine", text)), requested_by="test", catalog=rows)
