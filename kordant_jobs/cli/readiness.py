"""Checks that the parts of a stack are ready: its sockets, Dagster's webserver with our code behind it, the daemon."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from kordant_jobs.errors import PermanentError
from kordant_jobs.triggers.reloader import Dagster

HOST = "127.0.0.1"
PORTS_TRIED = 50

_STATE_QUERY = """{
  workspaceOrError {
    ... on PythonError { message }
    ... on Workspace { locationEntries {
      displayMetadata { key value }
      locationOrLoadError { __typename ... on PythonError { message className causes { message } } }
    } }
  }
  instance { daemonHealth { allDaemonStatuses { required lastHeartbeatTime } } }
}"""


def awaited_of_dagster(
    http: httpx.Client, dagster: Dagster, code_socket: Path | None, *, daemon_since: float | None, log: Path
) -> str:
    """The part of Dagster that is not ready, as text; empty when the webserver answers, has loaded the code behind
    `code_socket`, and every daemon has a heartbeat later than `daemon_since` (None: no daemon is needed).

    Raises:
        PermanentError: the definitions cannot be loaded; the text names `log`.
    """
    try:
        if http.get(f"{dagster.url}/server_info").status_code != httpx.codes.OK:
            return "the webserver"
        answered = http.post(dagster.graphql_url, json={"query": _STATE_QUERY}).json()["data"]
        locations = answered["workspaceOrError"]["locationEntries"]
        heartbeats = answered["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "the webserver"
    # A webserver that answers may be another's; ours knows our socket.
    mark = {"key": "socket", "value": str(code_socket)}
    ours = [place for place in locations if mark in place["displayMetadata"]]
    if not ours or not (loaded := ours[0]["locationOrLoadError"]):
        return "the code server"
    if loaded["__typename"] == "PythonError":
        if "Unreachable" in (loaded["className"] or ""):
            return "the code server"
        raise PermanentError(f"Dagster cannot load the definitions ({_deepest(loaded)}): see {log}")
    beats = [status["lastHeartbeatTime"] or 0 for status in heartbeats if status["required"]]
    if daemon_since is not None and not (beats and min(beats) >= daemon_since):
        return "the daemon"
    return ""


def pages_answer(http: httpx.Client, port: int | None) -> bool:
    """True when `notifications serve` answers on its port."""
    with suppress(httpx.HTTPError):
        return http.get(f"http://{HOST}:{port}/health").status_code == httpx.codes.OK
    return False


def api_answers(http: httpx.Client, port: int) -> bool:
    """True when `api serve` answers on its port."""
    with suppress(httpx.HTTPError):
        return http.get(f"http://{HOST}:{port}/livez").status_code == httpx.codes.OK
    return False


def _deepest(error: Mapping[str, Any]) -> str:
    """The first line of the error that caused the others."""
    causes = error["causes"] or [error]
    return str(causes[-1]["message"]).strip().splitlines()[0][:200]


def free_port(wanted: int) -> int:
    """The preferred port of the loopback address, or the next free one.

    Raises:
        PermanentError: none of the next 50 is free.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        if is_free(port):
            return port
    raise PermanentError(f"no free port from {wanted} on: set KORDANT_WEB_PORT to another")


def is_free(port: int) -> bool:
    """True when a server could use this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: TIME_WAIT is no hindrance
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(path: Path | None) -> bool:
    """True when a process listens on that socket; the code server does so after it has tried to load the code."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
