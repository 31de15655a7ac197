"""The effect that a job under test has on the sink."""

import http.client

from kordant_jobs.errors import SourceUnavailable

LOOPBACK = "127.0.0.1"


def have(number: int, *, port: int, run_id: str, host: str = LOOPBACK) -> None:
    """Have the effect, by its number as the key.

    Raises:
        SourceUnavailable: the sink does not answer.
    """
    _post("/effects", number, port=port, run_id=run_id, host=host)


def call(number: int, *, port: int, run_id: str, host: str = LOOPBACK) -> None:
    """Call the sink without an effect: its ledger notes who called and when.

    Raises:
        SourceUnavailable: the sink does not answer.
    """
    _post("/calls", number, port=port, run_id=run_id, host=host)


def _post(path: str, number: int, *, port: int, run_id: str, host: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("POST", path, headers={"Idempotency-Key": str(number), "Run": run_id})
        connection.getresponse().read()
    except OSError:
        raise SourceUnavailable("the sink does not answer") from None
    finally:
        connection.close()
