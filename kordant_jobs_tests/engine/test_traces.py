"""Traces of a whole system: its warm children and its daemon tell of one run each, killed ones included."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kordant_jobs import tracing
from kordant_jobs_tests.databases import copy_of
from kordant_jobs_tests.engine.system import System, system_on, until
from kordant_jobs_tests.engine.test_system import worker_of
from kordant_jobs_tests.otlp import Collector, collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a whole system, with kills


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    tracing._provider.cache_clear()
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found
        tracing._provider().shutdown()
    tracing._provider.cache_clear()


@pytest.fixture
def system(
    collector: Collector,
    admin_url: str,
    template: str,
    served_at: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    with (
        copy_of(admin_url, template) as name,
        system_on(served_at(name), tmp_path_factory.mktemp("system")) as made,
    ):
        yield made


def test_a_killed_run_and_its_retry_are_in_the_trace_of_their_request(
    system: System, collector: Collector, tmp_path: Path
) -> None:
    request_id = system.enqueue(number=7, how="wait", folder=str(tmp_path))
    os.kill(worker_of(tmp_path), signal.SIGKILL)
    (tmp_path / "go").touch()
    _, (killed, done) = system.ended(request_id)
    tracing.flush()
    first, second = until(lambda: len(found := collector.named("process chore")) == 2 and found)
    (send,) = collector.named("send chore")
    assert [one.attributes["kordant.run_id"] for one in (first, second)] == [killed.run_id, done.run_id]
    assert [one.attributes.get("error.type") for one in (first, second)] == ["killed", None]
    assert {one.trace for one in (first, second)} == {send.trace}
    assert (first.parent, second.parent, second.links) == (send.id, send.id, (first.id,))
    ops = until(lambda: [one for one in collector.named("do_chore") if one.parent == second.id])
    assert ops
    known = {one.id for one in collector.spans}
    assert {one.parent for one in collector.spans if one.trace == send.trace} - {""} <= known
