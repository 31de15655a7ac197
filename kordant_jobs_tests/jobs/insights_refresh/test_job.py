"""insights_refresh as Dagster runs it, as an event asks for it, and as a person reads it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from typer.testing import CliRunner

from kordant_jobs.catalog.insights_refresh import InsightsRefresh
from kordant_jobs.cli.insights import insights_app
from kordant_jobs.definitions import defs
from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.lab.households.fill import entity_id
from kordant_jobs.lab.households.generator import World
from kordant_jobs.settings import Settings


def run(*words: str, fails: bool = False) -> Any:
    result = CliRunner().invoke(insights_app, list(words))
    assert (result.exit_code != 0) is fails, result.output
    return str(result.exception) if fails else json.loads(result.stdout) if "--json" in words else result.stdout


def _move_to_this_month(db: Engine, world: World) -> None:
    """The job goes by the real clock, the world ends where its seed says."""
    today = datetime.now(ZONE).date()
    months = (today.year - world.as_of.year) * 12 + today.month - world.as_of.month
    with db.begin() as connection:
        for table, column in (("transactions", "booked_on"), ("card_bills", "due_on")):
            move = f"UPDATE kordant.{table} SET {column} = {column} + make_interval(months => :months)"
            connection.execute(sa.text(move), {"months": months})


def test_the_job_refreshes_and_a_person_reads_and_decides(settings: Settings, db: Engine, world: World) -> None:
    _move_to_this_month(db, world)
    job = defs.get_job_def("insights_refresh")
    one = entity_id(world, 0)
    assert job.execute_in_process(run_config={"ops": {"plan": {"config": {"entity_ids": [str(one)]}}}}).success
    found = run("list", "--json", "--limit", "500")
    assert {row["kind"] for row in found} >= {"cash_flow", "recurring", "fees"}
    assert job.execute_in_process().success
    (months, *_) = run("list", "--entity", str(one), "--kind", "cash_flow", "--json", "--locale", "pt-BR")
    assert "até agora: entraram R$" in months["says"]
    (first, *_) = run("list", "--entity", str(one), "--kind", "recurring", "--json")
    run("dismiss", first["insight"])
    assert run("show", first["insight"], "--json")["status"] == "dismissed"
    run("restore", first["insight"])
    assert "can become new" in run("restore", first["insight"], fails=True)
    assert "insights list" in run("show", str(one), fails=True)
    assert "choose one of en, pt-BR" in run("list", "--locale", "xx", fails=True)


def test_requests_of_many_syncs_become_one_and_a_nightly_one_covers_all() -> None:
    some = InsightsRefresh.checked({"entity_ids": ["0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e"]})
    assert InsightsRefresh.merged([some, some]) == some
    assert InsightsRefresh.merged([some, InsightsRefresh()]).entity_ids == ()
