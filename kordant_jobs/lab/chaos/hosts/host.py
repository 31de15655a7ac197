"""One host of the system on trial until SIGTERM: what `kordant-jobs host` is for our own."""

import os
import signal
import threading

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.stack import Stack
from kordant_jobs.lab.chaos.hosts.app import SYSTEM
from kordant_jobs.settings import load_settings


def main() -> None:
    """Start it, and supervise its parts."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = StackConfig(
        checkout=CHECKOUT, state_dir=load_settings().state_dir, environ=dict(os.environ), web_port=0,
        webserver=False, daemon=False, host=True, system=SYSTEM,
    )  # fmt: skip
    with Stack(config) as stack:
        stack.wait(stop)


if __name__ == "__main__":
    main()
