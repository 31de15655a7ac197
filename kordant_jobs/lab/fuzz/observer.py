"""An observer beside the API: triggers write down every row that changes, and each change is judged by what the caller
was given. It knows nothing of the policy's table and imports nothing of the API."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.lab.fuzz.callers import Who

CRITICAL = frozenset({"bank_sync", "cleanup", "subscription_changed", "notifications_send"})
"""As the issue names them."""
BY_THE_WAY = frozenset({"api_replies", "rate_buckets", "policy_denials", "idempotency_keys", "token_uses"})
"""Tables that any call may write: replies by key, budgets and denials counted."""
OF_A_MOVE = frozenset({"status", "cancel_requested_at", "ended_at", "cause", "error", "priority", "run_at", "turn_at"})
"""Columns that change when a request is cancelled or gets another priority or time."""

_WATCH = """
CREATE SCHEMA observer;
CREATE UNLOGGED TABLE observer.changes (name text, op text, old jsonb, new jsonb);
CREATE FUNCTION observer.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO observer.changes (name, op, old, new) VALUES (TG_TABLE_NAME, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;
DO $$ DECLARE one text; BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'kordant' LOOP
        EXECUTE format('CREATE TRIGGER observed AFTER INSERT OR UPDATE OR DELETE ON kordant.%I
                        FOR EACH ROW EXECUTE FUNCTION observer.note()', one);
    END LOOP;
END $$;
"""

Row = Mapping[str, Any]


class Observer:
    """Watches from when it is made."""

    def __init__(self, db: Engine) -> None:
        self._db = db.execution_options(isolation_level="AUTOCOMMIT")
        self.changes: Counter[str] = Counter()
        self._started: Counter[tuple[str, str]] = Counter()
        with db.begin() as connection:
            connection.execute(sa.text(_WATCH))
        self._connection = self._db.connect()

    def close(self) -> None:
        """Stop watching."""
        self._connection.close()

    def judge(self, who: Who) -> list[str]:
        """Changes since the last time that should not have happened, given that `who` was the only caller."""
        found = self._connection.execute(sa.text("DELETE FROM observer.changes RETURNING name, op, old, new")).all()
        wrong = []
        for name, op, old, new in found:
            self.changes[f"{name}.{op.lower()}"] += 1
            if (fault := self._fault(who, name, op, old, new)) is not None:
                wrong.append(f"{who.id}: {op} {name}: {fault}")
        return wrong

    def _fault(self, who: Who, name: str, op: str, old: Row | None, new: Row | None) -> str | None:
        if name == "audit_log":
            return None if op == "INSERT" else "the audit log is only added to"
        if op == "DELETE":
            return "nothing is deleted"
        if name in BY_THE_WAY:
            return None
        if new is not None and name == "job_requests":
            return self._of_request(who, old, new)
        if new is not None and name == "change_sets":
            if old is None:
                is_right = new["proposed_by"] == who.id and new["state"] == "proposed" and new["decided_by"] is None
            else:
                is_right = old["proposed_by"] == who.id and new["state"] == "withdrawn"
            return None if is_right else "a proposal is made and withdrawn by its own agent, and decided by a person"
        if new is not None and name == "workflows":
            is_right = new["agent_id"] == who.id and new["state"] != "approved"
            return None if is_right else "a workflow is proposed by its own agent and approved by a person"
        return "no call of theirs writes this table"

    def _of_request(self, who: Who, old: Row | None, new: Row) -> str | None:
        grant = (who.grants or {}).get(new["job"])
        if old is None:
            if new["requested_by"] != who.id or grant is None:
                return "a request in another's name, or of a job that was not granted"
            if new["tenant"] not in who.tenants or new["entity_key"] not in who.entities:
                return "a request outside the agent's scope"
            payload = new["payload"]
            if not who.entities.issuperset(payload.get("subscription_ids") or [""]) or payload.get("tiers"):
                return "a payload that reaches others"
            if new["priority"] < grant.max_priority:
                return "a priority above the grant's"
            return self._beyond_budget(who, new["job"])
        if old["requested_by"] != who.id:
            return "another's request"
        changed = {name for name in new if new[name] != old.get(name)}
        if not changed <= OF_A_MOVE:
            return f"it changed {sorted(changed - OF_A_MOVE)}"
        if new["status"] not in {old["status"], "cancelled"}:
            return f"{old['status']} became {new['status']}"
        if new["job"] in CRITICAL and changed & {"status", "cancel_requested_at"}:
            return "a job was cancelled without which the system does not work"
        is_raised = new["priority"] < old["priority"] and (grant is None or new["priority"] < grant.max_priority)
        return "a priority above the grant's" if is_raised else None

    def _beyond_budget(self, who: Who, job: str) -> str | None:
        """Counts one more. A run is shorter than an hour, so that a budget of an hour may be used twice at most."""
        grant = (who.grants or {})[job]
        self._started[who.id, job] += 1
        if self._started[who.id, job] > min(grant.requests_per_hour * 2, grant.requests_per_day or 10**12):
            return "more requests than the budget has"
        if grant.concurrent is not None:
            query = """SELECT count(*) FROM kordant.job_requests WHERE requested_by = :who AND job = :job
                       AND status IN ('pending', 'running')"""
            is_open = self._connection.execute(sa.text(query), {"who": who.id, "job": job}).scalar_one()
            if is_open > grant.concurrent:
                return "more open requests than the grant allows"
        return None
