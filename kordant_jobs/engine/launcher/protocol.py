"""The socket of the warm process: one JSON object per line, one answer per request; `watch` gets one line for each
end."""

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kordant_jobs.engine.runs import RunEnd
from kordant_jobs.errors import TransientError

MAX_PATH = 100
"""sockaddr_un takes 107 bytes; the rest is for the temporary name that a socket is bound to before it is renamed."""
ANSWER_TIMEOUT_S = 20.0
"""Longer than the warm process needs to import everything again, during which it answers no request."""


def socket_path(state_dir: Path) -> Path:
    """The path of the warm process's socket: in the state folder, or, where that path is too long, in a folder of ours
    (mode 0700) below the temporary folder, named after the state folder."""
    path = state_dir / "warm.sock"
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    name = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kordant-{os.geteuid()}-{name}" / "warm.sock"


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, with mode 0600 from the start. It replaces the socket of a dead process.

    Raises:
        TransientError: another warm process answers there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.geteuid():
        raise TransientError(f"{path.parent} belongs to another user: remove it, or set KORDANT_STATE_DIR to another")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise TransientError(f"another warm process listens on {path}: stop it first")
    fresh = path.with_name(f"{path.name}.{os.getpid()}"[-20:])
    fresh.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        server.bind(str(fresh))
    finally:
        os.umask(before)
    server.listen(512)
    fresh.rename(path)
    return server


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line of JSON."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to the warm process.

    Raises:
        TransientError: no process answers there.
    """
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout_s)
    try:
        client.connect(str(path))
    except OSError as error:
        client.close()
        raise TransientError(
            f"no warm process answers on {path} ({error.strerror or error}): `kordant-jobs up` runs one; or set "
            "KORDANT_LAUNCHER=stock to do without"
        ) from None
    return client


def ask(path: Path, request: Mapping[str, Any], *, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    """The answer to one request.

    Raises:
        TransientError: no process answers, or the warm process refuses, for example because it is stopping.
    """
    with connect(path, timeout_s) as client:
        try:
            client.sendall(encode(request))
            with client.makefile("rb") as lines:
                line = lines.readline()
        except OSError as error:
            raise TransientError(f"the warm process did not answer ({error}): see warm.log and try again") from None
    if not line:
        raise TransientError("the warm process ended before it answered: see warm.log and try again")
    answer: dict[str, Any] = json.loads(line)
    if refusal := answer.get("refused"):
        raise TransientError(f"the warm process refused: {refusal}")
    return answer


def end_to_wire(end: RunEnd) -> dict[str, Any]:
    """A run's end as JSON values."""
    return dict(vars(end))


def end_from_wire(message: Mapping[str, Any]) -> RunEnd:
    """A run's end from the result of `end_to_wire`."""
    return RunEnd(**{name: message[name] for name in RunEnd.__dataclass_fields__})
