"""Of two daemons one leads; another takes over when it dies, is cut off, or goes."""

import threading

import sqlalchemy as sa
from dagster_postgres import PostgresRunStorage
from sqlalchemy import Engine

from kordant_jobs.engine.daemon.leader import Leader
from kordant_jobs.engine.daemon.loops import WakeEvent
from kordant_jobs.engine.daemon.wake import Wake
from kordant_jobs.engine.store.requests import EVENTS
from kordant_jobs.postgres.database import dagster_url


def test_one_leads_and_the_next_takes_over_when_it_goes(database_url: str) -> None:
    first, second = Leader(database_url), Leader(database_url)
    never = threading.Event()
    assert first.wait(never)
    takes_over = threading.Thread(target=second.wait, args=(never,))
    takes_over.start()
    takes_over.join(1.2)
    assert takes_over.is_alive()
    first.release()
    takes_over.join(5)
    assert not takes_over.is_alive()
    assert not first.still()
    second.release()


def test_a_leader_whose_connection_was_cut_leads_on_only_if_no_one_else_does(database_url: str, db: Engine) -> None:
    first, second = Leader(database_url), Leader(database_url)
    assert first.still()
    cut = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    with db.begin() as connection:
        connection.execute(cut)
    assert first.still()
    with db.begin() as connection:
        connection.execute(cut)
    assert second.still()
    assert not first.still()
    lost = threading.Event()
    first.watch(lost.set, threading.Event(), timeout_s=0)
    assert lost.is_set()
    second.release()
    first.release()


def test_a_standby_that_is_asked_to_stop_stops(database_url: str) -> None:
    first, second = Leader(database_url), Leader(database_url)
    assert first.still()
    stop = threading.Event()
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(second.wait(stop)))
    waiting.start()
    stop.set()
    waiting.join(5)
    assert answers == [False]
    first.release()


def test_a_notification_ends_a_wait_and_so_does_a_new_connection(database_url: str, db: Engine) -> None:
    PostgresRunStorage(dagster_url(database_url), should_autocreate_tables=True)._engine.dispose()
    shutdown, event = threading.Event(), WakeEvent(60)
    event.follow(shutdown)
    woken = threading.Semaphore(0)

    def wake() -> None:
        event.wake()
        woken.release()

    wakes = Wake(dagster_url(database_url), {EVENTS: wake})
    assert woken.acquire(timeout=10)
    assert not event.wait()
    with db.begin() as connection:
        connection.execute(sa.text(f"NOTIFY {EVENTS}"))
    assert woken.acquire(timeout=10)
    assert not event.wait()
    with db.begin() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
    assert woken.acquire(timeout=10)
    wakes.close()


def test_a_waits_end_says_whether_to_shut_down() -> None:
    shutdown, event = threading.Event(), WakeEvent(60)
    event.follow(shutdown)
    shutdown.set()
    event.wake()
    assert event.wait(60)
    assert event.is_set()
