from __future__ import annotations

from sqlalchemy import Engine

from kordant_jobs.catalog.removebrokers_process import RemovebrokersProcess
from kordant_jobs.jobs.removebrokers_process.job import JOBS
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.removals import add_brokers, add_profiled, ask, broker_row
from kordant_jobs_tests.jobs.removebrokers_process.conftest import Desk


def test_the_job_sends_what_is_due_and_says_so_in_figures(desk: Desk, db: Engine, keyring: Keyring) -> None:
    brokers = add_brokers(db, [broker_row("spoken"), broker_row("other")])
    ask(db, add_profiled(db, keyring), list(brokers.values()))
    payload = RemovebrokersProcess()
    result = JOBS.plain.execute_in_process(
        run_config=RemovebrokersProcess.run_config([payload]),
        resources={"db": db, "keyring": keyring, "brokers": desk.outside},
    )
    assert result.success
    assert len(desk.sent) == 2
    assert result.output_for_node("summarise")["sent"] == 2
