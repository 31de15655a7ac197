"""Another Dagster than the pinned one is refused with one line."""

import pytest

from kordant_jobs.engine.dagster_private import check_dagster
from kordant_jobs.errors import SetupError


def test_the_installed_dagster_is_the_one_that_the_engine_was_written_for() -> None:
    check_dagster()


def test_another_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(SetupError, match=r"the engine needs 0\.1: install the locked version, or .*=stock") as raised:
        check_dagster("0.1")
    assert "\n" not in str(raised.value)
