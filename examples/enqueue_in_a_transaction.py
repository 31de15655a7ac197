"""A web app's own row and a request of a job, in one transaction: committed together, or neither is there.

.venv/bin/python examples/enqueue_in_a_transaction.py postgresql://…      # the URL that `kordant-jobs db url` prints
"""

from __future__ import annotations

import json
import sys

import sqlalchemy as sa

ENQUEUE = sa.text(
    "SELECT kordant.enqueue_job('darkwatch.scan', CAST(:payload AS jsonb), priority => 'high', "
    "idempotency_key => :key, entity_key => :entity)"
)
"""The key makes a double click one request; docs/sql.md has every argument."""


def sign_up(connection: sa.Connection, customer: int) -> str:
    """Write what the app writes at a sign-up, and queue the customer's first scan. Returns the request's id."""
    connection.execute(sa.text("INSERT INTO pg_temp.customers VALUES (:id)"), {"id": customer})
    payload = json.dumps({"tiers": ["premium"]})
    asked = {"payload": payload, "key": f"sign-up:{customer}", "entity": str(customer)}
    return str(connection.execute(ENQUEUE, asked).scalar_one())


def count(connection: sa.Connection, request: str) -> int:
    """How many requests there are with this id."""
    asked = sa.text("SELECT count(*) FROM kordant.job_requests WHERE id = CAST(:id AS uuid)")
    return int(connection.execute(asked, {"id": request}).scalar_one())


def main(url: str) -> None:
    """Sign two customers up; the second sign-up fails at its end."""
    with sa.create_engine(url).connect() as connection:
        connection.execute(sa.text("CREATE TEMPORARY TABLE customers (id bigint PRIMARY KEY)"))
        connection.commit()

        kept = sign_up(connection, 1)
        connection.commit()
        sys.stdout.write(f"committed: {count(connection, kept)} request {kept}\n")

        lost = sign_up(connection, 2)
        connection.rollback()
        sys.stdout.write(f"rolled back: {count(connection, lost)} requests\n")


if __name__ == "__main__":
    main(sys.argv[1].replace("postgresql://", "postgresql+psycopg2://", 1))
