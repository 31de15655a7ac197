"""The engine's public interface: all of it is there, is explained, and is light until it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from types import ModuleType

import pytest

from kordant_jobs import engine
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine import control, plugins

NAMES = [(module, name) for module in (engine, control, plugins) for name in module.__all__]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_every_name_is_there_and_its_module_explains_it(module: ModuleType, name: str) -> None:
    assert getattr(module, name) is getattr(module, name)
    assert isinstance(getattr(module, name), str) or getattr(module, name).__doc__
    assert re.search(rf"\b{name}\b", module.__doc__ or "")


def test_no_other_name_is_found() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Dispatcher'"):
        engine.Dispatcher  # noqa: B018 - the access is the test


@pytest.mark.parametrize("module", ["catalog", "app", "store.server", "engine.control"])
def test_who_only_queues_or_watches_requests_imports_no_dagster(module: str) -> None:
    script = f"import sys, kordant_jobs.{module}; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=False).returncode == 0
