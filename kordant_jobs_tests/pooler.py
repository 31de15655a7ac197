"""A PgBouncer in transaction mode before the tests' Postgres, as it stands in deploy/."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kordant_jobs.postgres.database import normal_url
from kordant_jobs_tests.relay import Relay

SETTINGS = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
server_reset_query =
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def pgbouncer(url: str, folder: Path, *, size: int = 20) -> Iterator[str]:
    """The URL of a pooler before the server of `url`."""
    program = shutil.which("pgbouncer")
    assert program, "no pgbouncer on this machine: apt-get install pgbouncer"
    with Relay(url) as relay:  # as this user: the embedded server lets in no other, and PgBouncer refuses to be root
        yield from _pgbouncer(program, relay.url, folder, size)


def _pgbouncer(program: str, url: str, folder: Path, size: int) -> Iterator[str]:
    target = normal_url(url)
    host, port = target.host, target.port
    password = f" password={target.password}" if target.password else ""
    with socket.create_server(("127.0.0.1", 0)) as free:
        own_port = free.getsockname()[1]
    ini = folder / "pgbouncer.ini"
    server = f"host={host} port={port} user={target.username or 'postgres'}{password}"
    ini.write_text(SETTINGS.format(server=server, port=own_port, size=size))
    command = [program, str(ini)]
    if os.geteuid() == 0:  # it refuses root
        folder.chmod(0o755)
        command = [program, "-u", pwd.getpwuid(65534).pw_name, str(ini)]
        for parent in folder.parents[:2]:
            parent.chmod(parent.stat().st_mode | 0o011)
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", own_port), timeout=1):
                break
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.02)
        yield target.set(host="127.0.0.1", port=own_port, query={}).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(10)
