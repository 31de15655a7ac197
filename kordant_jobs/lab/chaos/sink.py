"""The outside party: `python -m kordant_jobs.lab.chaos.sink LEDGER [ADDRESS]`. Prints its port, then serves until it is
ended.

It has an effect once a key, as payment and mail services do, and writes every call into a ledger of its own:
`KEY new|again|call RUN TIME`. No fault of ours reaches it, so that its ledger is the truth.
"""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Ledger:
    """The calls, in a file that is only appended to."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def call(self, key: str, run: str) -> bool:
        """Record an effect; True if it is new, False if it was had before."""
        with self._lock:
            new = key not in self._known
            self._known.add(key)
            self._write(key, "new" if new else "again", run)
            return new

    def heard(self, key: str, run: str) -> None:
        """Record a call that has no effect."""
        with self._lock:
            self._write(key, "call", run)

    def _write(self, key: str, kind: str, run: str) -> None:
        os.write(self._file, f"{key} {kind} {run} {time.time():.3f}\n".encode())


def handler(ledger: Ledger) -> type[BaseHTTPRequestHandler]:
    """The request handler on this ledger."""

    class Effects(BaseHTTPRequestHandler):
        """POST /effects with an Idempotency-Key, or /calls, which are only noted."""

        def do_POST(self) -> None:
            key, run = self.headers["Idempotency-Key"], self.headers["Run"]
            new = False
            if self.path == "/calls":
                ledger.heard(key, run)
            else:
                new = ledger.call(key, run)
            self.send_response(201 if new else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
            """Say nothing: the ledger does."""

    return Effects


def main() -> None:
    """Serve on a free port of the address, which is the loopback one unless another is given."""
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    server = ThreadingHTTPServer((address, 0), handler(Ledger(Path(sys.argv[1]))))
    server.daemon_threads = True
    print(server.server_address[1], flush=True)  # noqa: T201 - read by the process that started this one
    server.serve_forever()


if __name__ == "__main__":
    main()
