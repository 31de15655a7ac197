"""The console over HTTP: who comes in, what each role sees, and what a form does."""

from __future__ import annotations

from typing import Any

import pytest

from kordant_jobs_tests.api.console.conftest import Reader

def test_first(readers: dict[str, Reader], dead: Any) -> None:
    ids = dead(3)
    for path in ("/console/", "/console/requests", f"/console/requests/{ids[0]}", "/console/dead", "/console/dead/replay?job=darkwatch_scan&cause=exception", "/console/requests?state=dead", "/console/requests?cause=timeout&job=cleanup", "/console/requests?by=x",f"/console/requests/{ids[0]}/expire"):
        answer = readers["admin"].get(path)
        assert answer.status_code == 200, (path, answer.text)
        print(path, len(answer.content))
