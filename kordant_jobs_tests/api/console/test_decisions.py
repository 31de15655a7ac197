"""What people decide in the console: proposals, pauses of schedules, alerts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.api.console import session as sessions
from kordant_jobs.api.console.visit import COOKIE
from kordant_jobs.domain.access.change_sets import ChangeKind, ChangeState
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.engine import Priority
from kordant_jobs.store.access import changes, people
from kordant_jobs.store.operators import alerts
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import price_list
from kordant_jobs_tests.api.console.asking import actions
from kordant_jobs_tests.api.console.conftest import Reader, token_of


def test_a_proposal_is_approved_as_it_was_read_and_never_by_whom_it_belongs_to(
    readers: dict[str, Reader], change: UUID, db: Engine
) -> None:
    path, admin = f"/console/approvals/{change}", readers["admin"]
    text = admin.get(path).text
    assert "<del>*/15 * * * *</del>" in text
    assert "<ins>*/20 * * * *</ins>" in text
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', text)[0]
    for name in ("operator", "reader", "scoped"):
        assert "decision" not in readers[name].get(path).text
        assert readers[name].post(path, on=path, decision="approve", digest=digest).status_code == 403
    assert admin.post(path, on=path, decision="approve", digest="0" * 64).status_code == 412
    assert admin.post(path, on=path, decision="approve", digest=digest).headers["location"].endswith("done=approve")
    with db.connect() as connection:
        row = scheduler_config.get(connection, ("notifications_send", "all"))
    assert row is not None
    assert row.row.cron == "*/20 * * * *"
    assert admin.post(path, on=path, decision="approve", digest=digest).status_code == 409


def test_a_decision_needs_a_sign_in_of_the_last_quarter_of_an_hour(
    db: Engine, keyring: Keyring, app: Any, change: UUID
) -> None:
    token = token_of(db, keyring, "user:admin", Role.ADMIN, tuple(TokenScope))
    reader, path, now = Reader(app), f"/console/approvals/{change}", datetime.now(UTC)
    reader.sign_in(token)
    assert reader.session
    token_id = reader.session.split(".")[0]
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', reader.get(path).text)[0]
    old = sessions.begin(token_id, now=now, since=now - sessions.FRESH - timedelta(seconds=2))
    reader.cookies.set(COOKIE, sessions.seal(keyring, old), domain="127.0.0.1", path="/console")
    for decision in ("approve", "reject"):
        answer = reader.post(path, on=path, decision=decision, digest=digest)
        again = answer.headers["location"]
        assert again == f"/console/sign-in?to=%2Fconsole%2Fapprovals%2F{change}&again=1"
    with db.connect() as connection:
        found = changes.get(connection, change)
    assert found is not None
    assert found.state is ChangeState.PROPOSED
    page = reader.get(again)
    assert "Nothing was decided" in page.text
    assert reader.post("/console/sign-in", on=again, token=token, to=path).headers["location"] == path
    answer = reader.post(path, on=path, decision="approve", digest=digest)
    assert answer.headers["location"].endswith("done=approve")


def test_an_owner_of_the_agent_sees_no_buttons(db: Engine, keyring: Keyring, app: Any, change: UUID) -> None:
    owner = Reader(app)
    owner.sign_in(token_of(db, keyring, "user:owner", Role.ADMIN, tuple(TokenScope)))
    path = f"/console/approvals/{change}"
    text = owner.get(path).text
    assert "decision" not in text
    digest = re.findall(r"<code>([0-9a-f]{64})</code>", text)[0]
    assert owner.post(path, on=path, decision="approve", digest=digest).status_code == 403


def test_a_proposal_whose_row_has_changed_says_so_and_is_not_applied(
    readers: dict[str, Reader], change: UUID, db: Engine
) -> None:
    with db.begin() as connection:
        price_list.change(connection, ("notifications_send", "all"), {"cron": "*/30 * * * *"}, by="user:x")
    path, admin = f"/console/approvals/{change}", readers["admin"]
    text = admin.get(path).text
    assert "approving it will not apply it" in text
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', text)[0]
    answer = admin.post(path, on=path, decision="approve", digest=digest)
    assert "Not applied" in admin.get(answer.headers["location"]).text


def test_a_first_request_and_a_grant_are_shown_as_a_diff_and_decided(readers: dict[str, Reader], db: Engine) -> None:
    grant = people.Grant(job="darkwatch_scan", max_priority=Priority.NORMAL, requests_per_hour=50, ask_first=True)
    with db.begin() as connection:
        people.save_grant(connection, "agent:a", grant, by="user:x")
        made = [
            changes.propose(
                connection, kind=kind, job="darkwatch_scan", tier="agent:a", base_version=1, changes=values,
                by="agent:a", owner="user:owner", now=datetime.now(UTC),
            ).id
            for kind, values in (
                (ChangeKind.FIRST_TRIGGER, {"ask_first": False}), (ChangeKind.GRANT, {"requests_per_hour": 70}),
            )
        ]  # fmt: skip
    first, bounds = (f"/console/approvals/{one}" for one in made)
    listed = readers["operator"].get("/console/approvals").text
    assert "first start" in listed
    assert "agent:a" in listed
    text = readers["admin"].get(bounds).text
    assert "<del>50</del>" in text
    assert "<ins>70</ins>" in text
    assert "decision" not in readers["operator"].get(bounds).text, "bounds are an admin's"
    operator = readers["operator"]
    digest = re.findall(r'name="digest" value="([0-9a-f]{64})"', operator.get(first).text)[0]
    assert operator.post(first, on=first, decision="approve", digest=digest).headers["location"].endswith("approve")
    assert "approving it will not apply it" in readers["admin"].get(bounds).text
    with db.connect() as connection:
        assert not people.grants(connection, "agent:a")["darkwatch_scan"].ask_first


def test_a_schedule_is_paused_with_a_reason_and_goes_on(readers: dict[str, Reader], db: Engine) -> None:
    path, operator = "/console/schedules/darkwatch_scan/premium", readers["operator"]
    assert operator.post(path, on=path, action="pause", reason="  ").status_code == 422
    assert operator.post(path, on=path, action="pause", reason="x", until="2020-01-01T00:00").status_code == 422
    answer = operator.post(path, on=path, action="pause", reason="the source moves", until="2190-01-01T00:00")
    text = operator.get(answer.headers["location"]).text
    assert "the source moves" in text
    assert "2190-01-01" in text
    assert "the source moves" in operator.get("/console/schedules").text
    assert readers["reader"].post(path, on=path, action="resume").status_code == 403
    assert operator.post(path, on=path, action="resume").status_code == 303
    assert operator.post(path, on=path, action="resume").status_code == 409
    assert {"schedules.pause", "schedules.resume"} <= set(actions(db))


def test_an_alert_is_acknowledged_once_and_a_rule_silenced_for_hours(readers: dict[str, Reader], db: Engine) -> None:
    with db.begin() as connection:
        alert = connection.execute(
            sa.text("""
            INSERT INTO kordant.operator_alerts (id, rule, subject, state, value, since)
            VALUES (kordant.uuid7(), 'dead_letters', 'darkwatch_scan', 'firing', 3, now()) RETURNING id""")
        ).scalar_one()
    path, operator = "/console/alerts", readers["operator"]
    assert readers["reader"].post(path, on=path, alert=str(alert)).status_code == 403
    assert readers["scoped"].post(path, on="/console/dead", alert=str(alert)).status_code == 404
    assert operator.post(path, on=path, alert=str(alert)).status_code == 303
    assert operator.post(path, on=path, alert=str(alert)).status_code == 409
    assert "user:operator" in operator.get(path).text
    silence = {"action": "silence", "rule": "queue_backlog", "subject": "cleanup", "reason": "known"}
    for hours in ("0", "-1", "1e9", "721", "x", "nan"):
        assert operator.post(path, on=path, **silence, hours=hours).status_code == 422
    assert operator.post(path, on=path, **silence, hours="2.5").status_code == 303
    with db.connect() as connection:
        quiet = alerts.silenced(connection, now=datetime.now(UTC) + timedelta(hours=2.4))
        assert quiet == {("queue_backlog", "cleanup")}
        assert not alerts.silenced(connection, now=datetime.now(UTC) + timedelta(hours=2.6))
    assert {"alerts.acknowledge", "alerts.silence"} <= set(actions(db))
