"""Problems (RFC 9457), the error responses of the API. No text repeats a value that the caller sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

from kordant_jobs.redaction import redact

TYPES = "/api/jobs/problems/"
MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[str, int] = {
    "malformed_json": 400,
    "bad_cursor": 400,
    "key_missing": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "approval_required": 403,
    "not_found": 404,
    "unknown_job": 404,
    "unknown_topic": 404,
    "method_not_allowed": 405,
    "wrong_state": 409,
    "key_in_flight": 409,
    "key_refused": 409,
    "base_changed": 409,
    "count_changed": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid": 422,
    "key_reused": 422,
    "precondition_required": 428,
    "too_many_requests": 429,
    "budget_exhausted": 429,
    "internal": 500,
    "database_unavailable": 503,
    "busy": 503,
}
"""Every code of a problem, with its HTTP status."""


class Problem(Exception):
    """An error response: its code, a detail that says what to do next, and the further fields of this code."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.more = code, detail, more
        self.status = STATUS[code]
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The body of the response, as a JSON object."""
        return {
            "type": TYPES + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.more,
        }

    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.body(), self.status, self.headers, media_type=MEDIA_TYPE)


def invalid(error: ValidationError, detail: str, *, at: str) -> Problem:
    """The problem for values that a model refused; its pointers begin at `at`, and no value is repeated."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    errors = [{"pointer": "/".join([at, *map(str, one["loc"])]), "detail": redact(one["msg"])} for one in found]
    return Problem("invalid", detail, errors=errors[:20])


def not_found() -> Problem:
    """The problem for a thing that does not exist, and for one that is out of the caller's scope."""
    return Problem("not_found", "there is nothing with this id, or it is out of your scope.")


def denied(rule: str) -> Problem:
    """The problem of a call that the policy refuses."""
    return Problem("forbidden", f"the rule {rule} does not allow this. Ask an admin for the right.", rule=rule)
