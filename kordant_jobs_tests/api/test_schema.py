"""The OpenAPI file is true: schemathesis asks every operation as every role, and no answer is undocumented.

`kordant-jobs fuzz api` does the same with fifty examples of each.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis

from kordant_jobs.lab.fuzz.api import ask_all
from kordant_jobs_tests.api.conftest import Api


def test_the_openapi_file_is_valid(app: Any) -> None:
    schemathesis.openapi.from_asgi("/api/jobs/openapi.json", app).validate()
    assert app.openapi()["openapi"].startswith("3.1")


@pytest.mark.parametrize("role", ["admin", "operator", "service", "agent", "subscriber"])
def test_every_operation_answers_as_it_is_documented(app: Any, callers: dict[str, Api], role: str) -> None:
    asked = ask_all(app, callers[role].token or "", examples=2)
    assert asked.calls > 50
    assert not asked.failures, "\n\n".join(asked.failures[:4])
