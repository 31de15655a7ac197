"""The effect that a job under test has on the sink."""

from __future__ import annotations

import http.client

from kordant_jobs.errors import SourceUnavailable


def have(number: int, *, port: int, run_id: str) -> None:
    """Have the effect, by its number as the key.

    Raises:
        SourceUnavailable: the sink does not answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/effects", headers={"Idempotency-Key": str(number), "Run": run_id})
        connection.getresponse().read()
    except OSError:
        raise SourceUnavailable("the sink does not answer") from None
    finally:
        connection.close()
