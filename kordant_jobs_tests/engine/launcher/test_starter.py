"""Runs that the queue starts: ordinary ones in Dagster's UI, of the job they name, linked to what they retry."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dagster import DagsterEventType
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.engine.dagster_private import RunFactory, RunTemplates
from kordant_jobs.engine.launcher.starter import WarmStarter
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs_tests.engine.launcher.conftest import MODULE, Site, until

pytestmark = pytest.mark.slow  # seconds of imports a warm process: `pytest -m slow kordant_jobs_tests/engine`


@pytest.fixture(scope="module")
def workspace(make_site: Callable[[], Site]) -> Iterator[tuple[Site, WorkspaceProcessContext]]:
    """A site with a code server beside its warm process."""
    site = make_site()
    path = site.folder / "code.sock"
    warm = site.launch()
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(path), "-m", MODULE]
    with (site.folder / "code.log").open("wb") as log:
        server = subprocess.Popen(command, env=site.environ, cwd=CHECKOUT, stdout=log, stderr=log)
    site.ready(warm)
    until(path.exists)
    target = GrpcServerTarget(host="localhost", port=None, socket=str(path), location_name="kordant_jobs")

    def context() -> WorkspaceProcessContext | None:
        made = WorkspaceProcessContext(site.instance, target)
        if made.create_request_context().code_locations:
            return made
        made.__exit__(None, None, None)
        return None

    found = until(context, timeout_s=120)
    try:
        with found:
            yield site, found
    finally:
        server.kill()
        server.wait()


def templates(site: Site, code: str = "as it is") -> RunTemplates:
    return RunTemplates(path=site.folder / "templates.json", code=lambda: code, storage_url=str(site.folder))


@pytest.fixture
def starter(workspace: tuple[Site, WorkspaceProcessContext]) -> WarmStarter:
    site, context = workspace
    factory = RunFactory(site.instance, context, templates(site))
    return WarmStarter(site.instance, factory, site.socket, grace_s=1)


def order(folder: Path, **more: Any) -> RunOrder:
    config = {"ops": {"write": {"config": {"folder": str(folder)}}}}
    told: dict[str, Any] = {
        "run_id": str(uuid4()),
        "job": "write_job",
        "run_config": config,
        "tags": {"kordant/request_id": "1"},
        **more,
    }
    return RunOrder(**told)


def start(starter: WarmStarter, wanted: RunOrder) -> str:
    """Start the run that is wanted; its id."""
    starter.start(wanted)
    return wanted.run_id


def test_the_first_and_later_runs_of_a_job_are_alike(
    workspace: tuple[Site, WorkspaceProcessContext], starter: WarmStarter, tmp_path: Path
) -> None:
    site = workspace[0]
    (tmp_path / "other").mkdir()
    runs = []
    for folder in (tmp_path, tmp_path / "other"):
        run_id = start(starter, order(folder))
        assert site.end_of(run_id).outcome == "success"
        assert (folder / run_id).exists()
        run = site.instance.get_run_by_id(run_id)
        assert run
        runs.append(run)
        kinds = [entry.dagster_event.event_type for entry in site.instance.all_logs(run_id) if entry.dagster_event]
        assert kinds[0] == DagsterEventType.RUN_STARTING
        assert kinds.count(DagsterEventType.RUN_STARTING) == 1
    first, second = runs
    for name in ("job_snapshot_id", "execution_plan_snapshot_id", "remote_job_origin", "job_code_origin"):
        assert getattr(first, name) == getattr(second, name) is not None
    assert first.tags == second.tags
    assert second.tags["of"] == "the job"
    assert second.remote_job_origin
    assert second.remote_job_origin.repository_origin.code_location_origin.location_name == "kordant_jobs"


def test_a_retry_is_linked_to_its_parent_and_root(
    workspace: tuple[Site, WorkspaceProcessContext], starter: WarmStarter, tmp_path: Path
) -> None:
    site = workspace[0]
    root = start(starter, order(tmp_path))
    parent = start(starter, order(tmp_path, parent_run_id=root, root_run_id=root))
    child = start(starter, order(tmp_path, parent_run_id=parent, root_run_id=root, partition_key="2026-01-31"))
    run = site.instance.get_run_by_id(child)
    assert run
    assert (run.parent_run_id, run.root_run_id) == (parent, root)
    assert run.tags["dagster/parent_run_id"] == parent
    assert run.tags["dagster/root_run_id"] == root
    assert run.tags["dagster/partition"] == "2026-01-31"
    group = site.instance.get_run_group(child)
    assert group
    assert {member.run_id for member in group[1]} == {root, parent, child}


def test_what_no_job_takes_is_refused_for_good(starter: WarmStarter, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no job 'no_such_job'"):
        starter.start(order(tmp_path, job="no_such_job"))
    with pytest.raises(PermanentError, match="config is not what write_job takes"):
        starter.start(order(tmp_path, run_config={"ops": {"write": {"config": {"nonsense": 1}}}}))


def test_a_run_that_no_one_takes_is_failed_and_the_error_is_transient(
    workspace: tuple[Site, WorkspaceProcessContext], tmp_path: Path
) -> None:
    site, context = workspace
    lonely = WarmStarter(
        site.instance, RunFactory(site.instance, context, templates(site)), tmp_path / "none.sock", grace_s=1
    )
    with pytest.raises(TransientError, match="no warm process answers"):
        lonely.start(order(tmp_path))
    newest = next(iter(site.instance.get_runs(limit=1)))
    assert newest.status.value == "FAILURE"


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_while_the_code_server_is_away_jobs_go_on_that_ran_before_with_the_same_code(
    workspace: tuple[Site, WorkspaceProcessContext], starter: WarmStarter, tmp_path: Path
) -> None:
    site = workspace[0]
    before = start(starter, order(tmp_path))
    nobody = GrpcServerTarget(host="localhost", port=None, socket=str(tmp_path / "gone.sock"), location_name="away")
    with WorkspaceProcessContext(site.instance, nobody) as away:
        same = RunFactory(site.instance, away, templates(site))
        assert same.ready()
        made = same.create(order(tmp_path))
        assert made.run_id != before
        like = site.instance.get_run_by_id(before)
        assert like is not None
        assert made.job_snapshot_id == like.job_snapshot_id
        assert made.remote_job_origin == like.remote_job_origin
        with pytest.raises(TransientError, match="code server"):
            same.create(order(tmp_path, job="wait_job"))
        other = RunFactory(site.instance, away, templates(site, code="another"))
        assert not other.ready()
        with pytest.raises(TransientError, match="code server"):
            other.create(order(tmp_path))


def test_stop_ends_a_run_with_the_cause_it_was_given(
    workspace: tuple[Site, WorkspaceProcessContext], starter: WarmStarter, tmp_path: Path
) -> None:
    site = workspace[0]
    config = {"ops": {"wait_for_file": {"config": {"folder": str(tmp_path)}}}}
    outcomes = {}
    for cause in ("canceled", "lost"):
        run_id = start(starter, RunOrder(run_id=str(uuid4()), job="wait_for_file_job", run_config=config, tags={}))
        until((tmp_path / "waiting").exists)
        starter.stop(run_id, cause=cause)
        end = site.end_of(run_id)
        outcomes[cause] = (end.outcome, end.cause, site.status(run_id))
        (tmp_path / "waiting").unlink()
    assert outcomes == {"canceled": ("canceled", None, "CANCELED"), "lost": ("lost", "lost", "FAILURE")}


def test_a_watcher_that_comes_late_hears_of_what_it_missed(
    workspace: tuple[Site, WorkspaceProcessContext], starter: WarmStarter, tmp_path: Path
) -> None:
    from kordant_jobs.engine.launcher.starter import WarmWatcher

    site = workspace[0]
    run_id = start(starter, order(tmp_path))
    site.end_of(run_id)
    late = WarmWatcher(site.socket)
    seen: set[str] = set()

    def hears() -> bool:
        seen.update(end.run_id for end in late.ended())
        return run_id in seen

    until(hears)
    late.close()
