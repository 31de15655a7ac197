"""The engine's public interface: all of it is there, is explained, and is light until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kordant_jobs import engine
from kordant_jobs.bootstrap.state import CHECKOUT


@pytest.mark.parametrize("name", engine.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(engine, name) is getattr(engine, name)
    assert isinstance(getattr(engine, name), str) or getattr(engine, name).__doc__


def test_the_names_are_those_that_are_found() -> None:
    assert sorted(engine.__all__) == sorted(engine._PLACE)
    with pytest.raises(AttributeError, match="no attribute 'Dispatcher'"):
        engine.Dispatcher  # noqa: B018 - the access is the test


@pytest.mark.parametrize("module", ["kordant_jobs.catalog", "kordant_jobs.app", "kordant_jobs.store.server"])
def test_who_only_queues_a_request_imports_no_dagster(module: str) -> None:
    script = f"import sys, {module}; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=False).returncode == 0
