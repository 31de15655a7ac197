"""Isolation of callers in the database. Reads of the API for a caller with a scope use a role that sees only rows of
that caller's tenants and entities, and no table of subscribers. So a forgotten WHERE leaks nothing.

Roles belong to the whole server, so no migration creates them: `harden` does, if the user may create roles (the
embedded server's may). They have no login. Row security does not apply to the tables' owner, which is the user of all
other work. Reading one request by its id (`engine/store/status_reads.py`) and the watchers' query, which is the same
for all callers, are checked by the policy only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from kordant_jobs.domain.access.principals import Principal, Role

BY_TENANT, BY_ENTITY = "kordant_reads_by_tenant", "kordant_reads_by_entity"
"""The role of callers with tenants, and of those with entities of any tenant."""
OWN = "kordant_reads_own"
"""The role of subscribers."""
ROLES = (BY_TENANT, BY_ENTITY, OWN)

_TENANT = "tenant = ANY (string_to_array(current_setting('kordant.tenants', true), E'\\x1f'))"
_ENTITY = """coalesce(current_setting('kordant.entities', true), '') = ''
    OR entity_key = ANY (string_to_array(current_setting('kordant.entities', true), E'\\x1f'))"""
_MINE = "current_setting('kordant.principal', true)"
_PLACED = ("job_requests", "workflow_executions")
"""Tables with a tenant and an entity."""
_OF_CALLER: Mapping[str, str] = {
    "api_replies": "principal_id", "received_events": "principal_id", "agent_grants": "agent_id",
    "change_sets": "proposed_by", "audit_log": "actor",
}  # fmt: skip
"""Tables whose rows each belong to one caller."""
_CHILDREN: Mapping[str, str] = {
    "job_attempts": "request_id IN (SELECT id FROM kordant.job_requests)",
    "workflow_steps": "execution_id IN (SELECT id FROM kordant.workflow_executions)",
}
"""Tables whose rows belong to a row of another table, which the same role must see."""
_OPEN = ("run_progress", "scheduler_config", "scheduler_history", "schedule_progress", "job_pauses", "job_catalogue",
         "workflows", "principals")  # fmt: skip
"""Tables without subscribers' rows, or with names of callers only."""
_MINE_ALONE = "string_to_array(current_setting('kordant.entities', true), E'\\x1f')"
_OF_SUBSCRIBER: Mapping[str, str] = {
    "job_requests": f"""entity_key = ANY ({_MINE_ALONE}) AND
        (coalesce(current_setting('kordant.tenants', true), '') = '' OR {_TENANT})""",
    "job_attempts": _CHILDREN["job_attempts"],
    "subscriptions": f"id = ANY ({_MINE_ALONE}::uuid[])",
    "source_verdicts": f"subscription_id = ANY ({_MINE_ALONE}::uuid[])",
    "scan_receipts": f"subscription_id = ANY ({_MINE_ALONE}::uuid[])",
}
"""The tables that a subscriber reads, with the condition on their rows."""
READ = (*_PLACED, *_OF_CALLER, *_CHILDREN, *_OPEN)
"""The tables that the API reads for callers with a scope."""


def ensure(db: Engine) -> bool:
    """Isolate callers, if this database's user has the right to. Returns whether they are isolated."""
    try:
        with db.begin() as connection:
            if not is_hardened(connection) and may_harden(connection):
                harden(connection)
            return is_hardened(connection)
    except OperationalError:  # the tables are in use, and the lock did not come: the next start tries again
        return False


def is_hardened(connection: Connection) -> bool:
    """True when this database has every policy, and its user may use the roles."""
    query = """SELECT count(*) = :roles AND bool_and(pg_has_role(oid, 'MEMBER')) AND :policies =
               (SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
                WHERE c.relnamespace = 'kordant'::regnamespace AND p.polname IN ('kordant_scope', 'kordant_own'))
               FROM pg_roles WHERE rolname = ANY (:names)"""
    policies = len(_PLACED) + len(_OF_CALLER) + len(_CHILDREN) + len(_OF_SUBSCRIBER)
    values = {"roles": len(ROLES), "names": list(ROLES), "policies": policies}
    return bool(connection.execute(sa.text(query), values).scalar())


def may_harden(connection: Connection) -> bool:
    """True when this database's user may create roles."""
    query = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    return bool(connection.execute(sa.text(query)).scalar())


def harden(connection: Connection) -> None:
    """Create or recreate the roles and policies. Safe to repeat. Each table is locked for a moment; if one is not free
    within 5 seconds, nothing is changed."""
    connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('kordant:harden', 0))"))
    for role in ROLES:
        exists = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
        if connection.execute(exists, {"role": role}).scalar() is None:
            connection.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))
        _run(connection, f"GRANT {role} TO CURRENT_USER", f"GRANT USAGE ON SCHEMA kordant TO {role}",
             *(f"GRANT SELECT ON kordant.{table} TO {role}"
               for table in ((*_OF_SUBSCRIBER, "run_progress") if role == OWN else READ)))  # fmt: skip
    for table in _PLACED:
        _policies(connection, table, tenant=_TENANT, others="true")
        _run(connection, f"DROP POLICY IF EXISTS kordant_entity ON kordant.{table}",
             f"CREATE POLICY kordant_entity ON kordant.{table} AS RESTRICTIVE FOR SELECT"
             f" TO {BY_TENANT}, {BY_ENTITY} USING ({_ENTITY})")  # fmt: skip
    for table, column in _OF_CALLER.items():
        _policies(connection, table, tenant=f"{column} = {_MINE}", others=f"{column} = {_MINE}")
    for table, condition in _CHILDREN.items():
        _policies(connection, table, tenant=condition, others=condition)
    for table, condition in _OF_SUBSCRIBER.items():
        _run(connection, f"ALTER TABLE kordant.{table} ENABLE ROW LEVEL SECURITY",
             f"DROP POLICY IF EXISTS kordant_own ON kordant.{table}",
             f"CREATE POLICY kordant_own ON kordant.{table} FOR SELECT TO {OWN} USING ({condition})")  # fmt: skip


def _policies(connection: Connection, table: str, *, tenant: str, others: str) -> None:
    _run(
        connection,
        f"ALTER TABLE kordant.{table} ENABLE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS kordant_scope ON kordant.{table}",
        f"DROP POLICY IF EXISTS kordant_scope_any ON kordant.{table}",
        f"CREATE POLICY kordant_scope ON kordant.{table} FOR SELECT TO {BY_TENANT} USING ({tenant})",
        f"CREATE POLICY kordant_scope_any ON kordant.{table} FOR SELECT TO {BY_ENTITY} USING ({others})",
    )


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(sa.text(statement))


def confine(connection: Connection, principal: Principal) -> None:
    """Limit the reads of the rest of this transaction to a caller's scope; a caller without a scope reads
    everything."""
    if principal.tenants is None and principal.entities is None:
        return
    values = {
        "tenants": "\x1f".join(sorted(principal.tenants or ())),
        "entities": "\x1f".join(sorted(principal.entities or ())),
        "principal": principal.id,
    }
    query = ", ".join(f"set_config('kordant.{name}', :{name}, true)" for name in values)
    connection.execute(sa.text(f"SELECT {query}"), values)
    by_scope = BY_ENTITY if principal.tenants is None else BY_TENANT
    role = OWN if principal.role is Role.SUBSCRIBER else by_scope
    connection.execute(sa.text(f"SET LOCAL ROLE {role}"))


@contextmanager
def released(connection: Connection) -> Iterator[None]:
    """Lift the limit within a confined transaction, to write a record such as an entry of the audit log."""
    role = connection.execute(sa.text("SELECT current_user")).scalar_one()
    connection.execute(sa.text("RESET ROLE"))
    yield
    if role in ROLES:
        connection.execute(sa.text(f"SET LOCAL ROLE {role}"))
