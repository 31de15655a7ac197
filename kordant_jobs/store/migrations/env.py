"""Alembic's way into our schema. Run through `store.migrate.upgrade`, which brings the connection."""

from alembic import context

from kordant_jobs.store.tables import SCHEMA, metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, kind, parents: name == SCHEMA if kind == "schema" else True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
