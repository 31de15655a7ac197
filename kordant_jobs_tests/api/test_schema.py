"""The OpenAPI file is true: schemathesis asks every operation as every role, and no answer is undocumented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kordant_jobs_tests.api.conftest import Api

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def test_the_openapi_file_is_valid(app: Any) -> None:
    schemathesis.openapi.from_asgi("/api/jobs/openapi.json", app).validate()
    assert app.openapi()["openapi"].startswith("3.1")


@pytest.mark.parametrize("role", ["admin", "operator", "service", "agent"])
def test_every_operation_answers_as_it_is_documented(app: Any, callers: dict[str, Api], role: str) -> None:
    schema = schemathesis.openapi.from_asgi("/api/jobs/openapi.json", app)
    failures: list[str] = []
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.path.endswith("/events"):
            continue

        @settings(max_examples=3, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy(), key=st.uuids())
        def ask(case: Any, key: Any) -> None:
            nonlocal asked
            headers = {"Authorization": f"Bearer {callers[role].token}"}
            if case.method == "POST":
                headers["Idempotency-Key"] = key.hex
            response = case.call(headers=headers)
            asked += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as error:  # noqa: BLE001 - all of them are told at the end
                failures.append(f"{case.method} {case.path}: {str(error)[:600]}")

        ask()
    assert asked > 50
    assert not failures, "\n\n".join(failures[:4])
