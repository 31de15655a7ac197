"""Hosts as network namespaces of this machine: a link to Postgres and Redis that faults cut, and one to outside parties
that no fault touches. Root only."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kordant_jobs.errors import SetupError

PROGRAMS = {"ip": "iproute2", "unshare": "util-linux"}
"""The programs that this needs, each with its Debian package."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The namespaces of hosts, and this machine's addresses on both bridges."""

    prefix: str
    """The start of the names of its links and namespaces: two campaigns on one machine have two."""
    inside: str
    outside: str
    hosts: Sequence[str]

    def command(self, host: str) -> list[str]:
        """The words before a command that runs on this host, under its own hostname."""
        enter = ["ip", "netns", "exec", self._space(host), "unshare", "--uts", "sh", "-c"]
        return [*enter, 'hostname "$1" && shift && exec "$@"', "sh", host]

    def pids(self, host: str) -> list[int]:
        """Every process on this host."""
        return [int(pid) for pid in _ip("netns", "pids", self._space(host)).split()]

    def kill(self, host: str) -> None:
        """End every process on this host, as a power cut does."""
        while pids := self.pids(host):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def cut(self, host: str) -> None:
        """Take the host's link to Postgres and Redis down: neither side gets a signal."""
        _ip("link", "set", self._link(host, "i"), "down")

    def heal(self, host: str) -> None:
        """Take the link up again."""
        _ip("link", "set", self._link(host, "i"), "up")

    def _space(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def _link(self, host: str, side: str) -> str:
        return f"{self.prefix}{self.hosts.index(host)}{side}"


@contextmanager
def network(hosts: Sequence[str]) -> Iterator[Network]:
    """Namespaces with these names. When it ends, all that runs in them is killed.

    Raises:
        SetupError: this is not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise SetupError("network namespaces need root: run this as root (sudo), on a machine for tests.")
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise SetupError(f"there is no {program} on this machine: apt-get install {package}")
    number = os.getpid() % 100
    subnets = {"i": f"10.77.{2 * number}", "o": f"10.77.{2 * number + 1}"}
    made = Network(prefix=f"kjc{number}", inside=f"{subnets['i']}.1", outside=f"{subnets['o']}.1", hosts=tuple(hosts))
    try:
        for side, subnet in subnets.items():
            bridge = f"{made.prefix}{side}"
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
        for place, host in enumerate(hosts):
            _ip("netns", "add", made._space(host))
            _ip("-n", made._space(host), "link", "set", "lo", "up")
            for side, subnet in subnets.items():
                link, inner = made._link(host, side), f"{side}0"
                _ip("link", "add", link, "type", "veth", "peer", "name", inner, "netns", made._space(host))
                _ip("link", "set", link, "master", f"{made.prefix}{side}", "up")
                _ip("-n", made._space(host), "addr", "add", f"{subnet}.{place + 2}/24", "dev", inner)
                _ip("-n", made._space(host), "link", "set", inner, "up")
        yield made
    finally:
        for host in hosts:
            with suppress(SetupError):
                made.kill(host)
            for side in subnets:
                with suppress(SetupError):
                    _ip("link", "del", made._link(host, side))
            with suppress(SetupError):
                _ip("netns", "del", made._space(host))
        for side in subnets:
            with suppress(SetupError):
                _ip("link", "del", f"{made.prefix}{side}")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"ip {' '.join(words)} failed: {done.stderr.strip()[:200]}")
    return done.stdout
