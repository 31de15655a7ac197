"""Runs on two hosts: two state folders with a warm process each, Redis between them and the daemon."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import pytest

from kordant_jobs.cli.stack import Stack
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.store import host_rows
from kordant_jobs.lab.redis import RedisServer
from kordant_jobs.postgres import database
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA
from kordant_jobs_tests.databases import copy_of, database_at
from kordant_jobs_tests.engine.launcher.conftest import alive
from kordant_jobs_tests.engine.system import LEASE_S, System, system_on, until
from kordant_jobs_tests.engine.test_cut_off import effects
from kordant_jobs_tests.relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a whole system and two hosts, with kills


@dataclass
class Cluster:
    """The system, and its hosts by name."""

    system: System
    folder: Path
    after: ExitStack
    relay: Relay
    direct: Relay
    """Between the host alpha and the database, and its server itself: the same one without a pooler."""
    stacks: dict[str, Stack] = field(default_factory=dict)

    def start_host(self, name: str, **more: str) -> Stack:
        folder = self.folder / name
        environ = {
            **self.system.environ,
            "KORDANT_STATE_DIR": str(folder),
            "KORDANT_HOST_NAME": name,
            "KORDANT_HOST_RUNS": "2",
            "DAGSTER_HOME": str(folder / "dagster"),
            **(self.behind_the_relay() if name == "alpha" else {}),
            **more,
        }
        config = replace(
            self.system.stack.config, state_dir=folder, environ=environ, webserver=False, daemon=False, host=True
        )
        stack = Stack(config)
        self.stacks[name] = stack
        self._keep(stack)
        until(lambda: name in self.live(), 180)
        return stack

    def start_control(self, name: str, **more: str) -> None:
        """Another `up`, in the place of one that was stopped."""
        folder = self.folder / name
        environ = {
            **self.system.environ,
            "KORDANT_STATE_DIR": str(folder),
            "DAGSTER_HOME": str(folder / "dagster"),
            **more,
        }
        self._keep(Stack(replace(self.system.stack.config, state_dir=folder, environ=environ)))

    def _keep(self, stack: Stack) -> None:
        self.after.enter_context(stack)
        stop = threading.Event()
        watching = threading.Thread(target=stack.wait, args=(stop,), daemon=True)
        watching.start()
        self.after.callback(watching.join)
        self.after.callback(stop.set)

    def behind_the_relay(self) -> dict[str, str]:
        dagster = database.normal_url(self.direct.url, search_path=DAGSTER_SCHEMA)
        return {
            "KORDANT_DATABASE_URL": self.relay.url,
            "KORDANT_DAGSTER_URL": dagster.render_as_string(hide_password=False),
            **({} if self.direct is self.relay else {database.DIRECT_VARIABLE: self.direct.url}),
        }

    def cut(self) -> None:
        """Cut alpha off."""
        self.relay.cut()
        self.direct.cut()

    def heal(self) -> None:
        """It reaches the database again."""
        self.relay.heal()
        self.direct.heal()

    def live(self) -> set[str]:
        with self.system.db.connect() as connection:
            return {one.name for one in host_rows.listed(connection, ttl_s=LEASE_S) if one.slots and not one.silent}

    def worker_of(self, folder: Path) -> tuple[str, int]:
        """The last run that began in a folder, and its process."""
        run_id, pid = until(lambda: (folder / "runs").exists() and (folder / "runs").read_text()).split()[-2:]
        return run_id, int(pid)


@pytest.fixture(scope="module")
def cluster(
    admin_url: str,
    template: str,
    pooler: str | None,
    served_at: Callable[[str], str],
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as after:
        name = after.enter_context(copy_of(admin_url, template))
        url = served_at(name)
        more = {"KORDANT_LAUNCHER": "celery", "KORDANT_BROKER_URL": redis.url, "KORDANT_CODE_VERSION": "this"}
        system = after.enter_context(system_on(url, folder / "up", **more))
        relay = after.enter_context(Relay(url))
        direct = after.enter_context(Relay(database_at(admin_url, name))) if pooler else relay
        made = Cluster(system=system, folder=folder, after=after, relay=relay, direct=direct)
        for name in ("alpha", "beta"):
            made.start_host(name)
        yield made


def test_runs_are_shared_between_the_hosts_and_each_is_done_once(cluster: Cluster, tmp_path: Path) -> None:
    system = cluster.system
    long = [system.enqueue(number=2 * number, how="wait", folder=str(tmp_path)) for number in range(4)]
    short = [system.enqueue(number=2 * number) for number in range(4, 20)]
    until(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text().splitlines()) == 4)
    (tmp_path / "go").touch()
    ended = [system.ended(one) for one in (*long, *short)]
    assert {one.status for one, _ in ended} == {RequestStatus.COMPLETED}
    assert sorted(attempts[0].worker for _, attempts in ended[:4]) == ["alpha", "alpha", "beta", "beta"]
    assert system.effects() == [2 * number for number in range(20)]


def test_a_run_whose_process_was_killed_is_known_at_once_and_done_again(cluster: Cluster, tmp_path: Path) -> None:
    request = cluster.system.enqueue(number=100, how="wait", folder=str(tmp_path))
    _, pid = cluster.worker_of(tmp_path)
    os.kill(pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    one, (first, second) = cluster.system.ended(request)
    assert (one.status, first.outcome, first.cause) == (RequestStatus.COMPLETED, Outcome.FAILURE, Cause.KILLED)
    assert first.ended_at
    assert (second.started_at - first.ended_at).total_seconds() < LEASE_S
    assert cluster.system.effects().count(100) == 1


def test_a_worker_that_was_killed_counts_the_runs_it_left_when_it_is_back(cluster: Cluster, tmp_path: Path) -> None:
    system, requests = cluster.system, dict[UUID, Path]()
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        requests[system.enqueue(number=110 + 2 * number, how="wait", folder=str(tmp_path / str(number)))] = (
            tmp_path / str(number)
        )
    until(lambda: all((folder / "runs").exists() for folder in requests.values()))
    on_alpha = [one for one in requests if system.request(one)[1][0].worker == "alpha"]
    (before,) = [one for one in _listed(cluster) if one.name == "alpha"]
    os.kill(cluster.stacks["alpha"].pids()["host"], signal.SIGKILL)
    until(lambda: [one for one in _listed(cluster) if one.name == "alpha" and one.slots and one.since > before.since])
    for one, folder in requests.items():
        if one not in on_alpha:
            (folder / "go").touch()
    others = [system.enqueue(number=120 + 2 * number) for number in range(12)]
    assert {system.ended(one)[1][-1].worker for one in others} == {"beta"}, "alpha has no place free"
    for one in on_alpha:
        (requests[one] / "go").touch()
        found, attempts = system.ended(one)
        assert (found.status, len(attempts)) == (RequestStatus.COMPLETED, 1)
    more = [system.enqueue(number=150 + 2 * number, how="wait", folder=str(tmp_path)) for number in range(4)]
    until(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text().splitlines()) == 4)
    (tmp_path / "go").touch()
    assert sorted(system.ended(one)[1][0].worker for one in more) == ["alpha", "alpha", "beta", "beta"]


def test_a_run_that_is_cancelled_in_dagster_is_stopped_on_its_host(cluster: Cluster, tmp_path: Path) -> None:
    request = cluster.system.enqueue(number=102, how="wait", folder=str(tmp_path))
    run_id, pid = cluster.worker_of(tmp_path)
    cluster.system.graphql("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
    one, _ = cluster.system.ended(request)
    assert one.status is RequestStatus.CANCELLED
    until(lambda: not alive(pid))
    assert 102 not in cluster.system.effects()


def test_a_broker_that_is_emptied_loses_no_run(cluster: Cluster, redis: RedisServer, tmp_path: Path) -> None:
    under_way = cluster.system.enqueue(number=104, how="wait", folder=str(tmp_path))
    cluster.worker_of(tmp_path)
    redis.stop()
    meanwhile = cluster.system.enqueue(number=106)
    redis.start()
    (tmp_path / "go").touch()
    for request in (under_way, meanwhile):
        one, attempts = cluster.system.ended(request)
        assert one.status is RequestStatus.COMPLETED
        assert len([each for each in attempts if each.outcome is not Outcome.RETURNED]) == 1


def test_a_host_that_drains_takes_no_more_and_ends_with_its_last_run(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.system.enqueue(number=200, how="wait", folder=str(tmp_path))
    cluster.worker_of(tmp_path)
    name = cluster.system.request(first)[1][0].worker
    with cluster.system.db.begin() as connection:
        assert host_rows.drain(connection, name)
    others = [cluster.system.enqueue(number=202 + 2 * number) for number in range(10)]
    assert name not in {cluster.system.ended(one)[1][-1].worker for one in others}
    assert cluster.system.request(first)[0].status is RequestStatus.RUNNING, "it has all the time it needs"
    (tmp_path / "go").touch()
    one, attempts = cluster.system.ended(first)
    assert (one.status, len(attempts)) == (RequestStatus.COMPLETED, 1)
    until(lambda: name not in {one.name for one in _listed(cluster)})
    cluster.stacks[name].stop()
    cluster.start_host(name)


def test_no_run_goes_to_a_host_of_another_code(cluster: Cluster) -> None:
    cluster.start_host("delta", KORDANT_CODE_VERSION="next", KORDANT_HOST_RUNS="16")
    requests = [cluster.system.enqueue(number=300 + 2 * number) for number in range(20)]
    workers = {cluster.system.ended(one)[1][-1].worker for one in requests}
    assert "delta" not in workers


def test_a_host_that_is_cut_off_stops_all_effects_within_the_lease_and_its_runs_are_done_elsewhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    system, requests = cluster.system, dict[UUID, Path]()
    for number in range(4):
        place = tmp_path / str(number)
        place.mkdir()
        requests[system.enqueue(number=500 + 2 * number, how="outside", folder=str(place))] = place
    until(lambda: all(effects(folder) for folder in requests.values()))
    cut_off = {one: folder for one, folder in requests.items() if system.request(one)[1][0].worker == "alpha"}
    assert len(cut_off) == 2
    cluster.cut()
    cut_at = time.monotonic()
    for one, folder in requests.items():
        if one not in cut_off:
            (folder / "go").touch()  # makes room on the other host
    first = {one: effects(folder)[0][1] for one, folder in cut_off.items()}
    until(lambda: all(effects(folder)[-1][1] != first[one] for one, folder in cut_off.items()), LEASE_S + 20)
    for one, folder in cut_off.items():
        before = [when for when, child in effects(folder) if child == first[one]]
        after = [when for when, child in effects(folder) if child != first[one]]
        assert max(before) - cut_at <= LEASE_S
        assert max(before) < min(after), "never two of them at once"
        assert not alive(first[one])
        (folder / "go").touch()
    cluster.heal()
    for one in requests:
        assert system.ended(one)[0].status is RequestStatus.COMPLETED
    assert [number for number in system.effects() if 500 <= number < 510] == [500, 502, 504, 506]
    until(lambda: "alpha" in cluster.live())


def test_a_host_that_is_killed_loses_its_runs_to_another_within_the_lease(cluster: Cluster, tmp_path: Path) -> None:
    request = cluster.system.enqueue(number=400, how="wait", folder=str(tmp_path))
    cluster.worker_of(tmp_path)
    _, (first,) = cluster.system.request(request)
    for name, pid in cluster.stacks[first.worker].pids().items():
        del name
        os.killpg(pid, signal.SIGKILL)
    until(lambda: len(cluster.system.request(request)[1]) > 1, LEASE_S + 20)
    (tmp_path / "go").touch()
    one, attempts = cluster.system.ended(request)
    assert one.status is RequestStatus.COMPLETED
    assert cluster.system.effects().count(400) == 1
    assert attempts[0].outcome is Outcome.LOST


@pytest.mark.parametrize(("running", "waiting"), [(8, 200)])
def test_a_rolling_upgrade_loses_no_work_and_runs_none_under_other_code(
    cluster: Cluster, tmp_path: Path, running: int, waiting: int
) -> None:
    system = cluster.system
    old = {"alpha", "beta", "gamma"}
    cluster.start_host("gamma", KORDANT_HOST_RUNS="4")
    until(lambda: old <= cluster.live(), 180)
    cluster.start_host("next", KORDANT_CODE_VERSION="next", KORDANT_HOST_RUNS="4")
    new = {one.name for one in _listed(cluster) if one.code_version == "next"}
    under_way = [system.enqueue(number=600 + 2 * number, how="wait", folder=str(tmp_path)) for number in range(running)]
    until(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text().splitlines()) == running)
    queued = [system.enqueue(number=700 + 2 * number) for number in range(waiting)]
    system.stack.stop()
    cluster.start_control("control-next", KORDANT_CODE_VERSION="next")
    with system.db.begin() as connection:
        assert all(host_rows.drain(connection, name) for name in old)
    (tmp_path / "go").touch()
    for one in under_way:
        found, attempts = system.ended(one)
        assert (found.status, len(attempts)) == (RequestStatus.COMPLETED, 1)
        assert attempts[0].worker in old
    for one in queued:
        found, attempts = system.ended(one, 180)
        assert found.status is RequestStatus.COMPLETED
        assert attempts[-1].worker in new
    done = [number for number in system.effects() if number >= 600]
    assert done == [*range(600, 600 + 2 * running, 2), *range(700, 700 + 2 * waiting, 2)]


def _listed(cluster: Cluster) -> list[host_rows.Host]:
    with cluster.system.db.connect() as connection:
        return host_rows.listed(connection, ttl_s=LEASE_S)
