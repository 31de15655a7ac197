"""A rotation that is killed: a short campaign, the same that `kordant-jobs chaos-rotation` runs at length."""

from __future__ import annotations

import pytest

from kordant_jobs.lab.chaos.rotation import run_campaign


@pytest.mark.slow
def test_a_rotation_killed_before_amid_and_after_its_work_loses_nothing() -> None:
    books = run_campaign(items=3000, kills=3, seed=7)
    assert books.amid_work == 3
    assert set(books.unreadable) == {0}
    assert (books.under_old_key, books.found_in_files) == (0, 0)
