"""CPU time by control groups, so that a host has as much of it alone as beside another. Root only."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kordant_jobs.errors import SetupError

PERIOD_US = 50_000
"""The quota is per period: a host that has used it waits for the rest of the period."""
WEIGHT = {"cpu.shares": 262_144, "cpu.weight": 10_000}
"""The most that control groups of version 1 and 2 take: work elsewhere on this machine leaves the trial its time."""
VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
REMOVED_WITHIN_S = 10.0
OTHERS = "others"


@contextmanager
def cpu_quotas(hosts: Sequence[str], cores: float) -> Iterator[Mapping[str, Path]]:
    """A control group for each host, with CPU time of so many cores: the file that a process writes its id to, to join.
    This process is in one of its own meanwhile, without a limit, and so is what it starts. When it ends, nothing may
    run in those of hosts any more.

    Raises:
        SetupError: this machine has no control groups of the CPU, or does not let us make one.
    """
    root = _root()
    home = root / _own_group(root)
    places = {name: root / f"kordant-{os.getpid()}-{name}" for name in (*hosts, OTHERS)}
    try:
        for name, place in places.items():
            place.mkdir()
            for file, weight in WEIGHT.items():
                if (place / file).exists():
                    (place / file).write_text(str(weight))
            if name != OTHERS:
                _limit(place, round(cores * PERIOD_US))
        (places[OTHERS] / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        _remove(places.values())
        raise SetupError(f"no CPU quota can be set here ({error}): run this as root, not in a container.") from None
    try:
        yield {host: places[host] / "cgroup.procs" for host in hosts}
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        _remove(places.values())


def _limit(place: Path, quota_us: int) -> None:
    if (limit := place / "cpu.max").exists():
        limit.write_text(f"{quota_us} {PERIOD_US}")
    else:
        (place / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (place / "cpu.cfs_quota_us").write_text(str(quota_us))


def _root() -> Path:
    """The folder of control groups that limit the CPU: of version 1, or of version 2 once the controller is on."""
    if (VERSION_1 / "cpu.cfs_quota_us").exists():
        return VERSION_1
    with suppress(OSError):
        (VERSION_2 / "cgroup.subtree_control").write_text("+cpu")
        return VERSION_2
    raise SetupError("this machine has no control groups of the CPU that we may use: run this as root, on Linux.")


def _own_group(root: Path) -> str:
    """The control group of this process, below the root: lines are `number:controllers:/path` (cgroups(7))."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    wanted = "cpu" if root == VERSION_1 else ""
    return next((path.lstrip("/") for _, names, path in lines if wanted in names.split(",")), "")


def _remove(places: Iterable[Path]) -> None:
    deadline = time.monotonic() + REMOVED_WITHIN_S
    for place in places:
        while place.exists():
            try:
                place.rmdir()
            except OSError:  # a process in it has not quite ended
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
