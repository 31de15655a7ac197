"""Every operation of the OpenAPI file, asked with made-up values by schemathesis: no 5xx, and no answer that the file
does not name."""

from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@dataclass
class Asked:
    """The number of calls, and the faults of answers."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)


def ask_all(app: Any, token: str, *, examples: int, dice: int = 1) -> Asked:
    """So many examples of every operation, of one caller. Streams are left out: they last."""
    asked = Asked()
    for found in schemathesis.openapi.from_asgi("/api/jobs/openapi.json", app).get_all_operations():
        if not isinstance(found, Ok):
            asked.failures.append(str(found.err()))
            continue
        operation = found.ok()
        if operation.path.endswith("/events"):
            continue

        @seed(dice)
        @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy(), key=st.uuids())
        def ask(case: Any, key: Any) -> None:
            headers = {"Authorization": f"Bearer {token}"}
            if case.method == "POST":
                headers["Idempotency-Key"] = key.hex
            response = case.call(headers=headers)
            asked.calls += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as error:  # noqa: BLE001 - all of them are printed at the end
                asked.failures.append(f"{case.method} {case.path}: {str(error)[:600]}")

        ask()
    return asked
