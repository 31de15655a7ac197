"""A Postgres server of our own in a state folder. It knows nothing of tables, settings or Dagster.

    server     EmbeddedPostgres: start or attach, release, stop
    cluster    the data directory: made whole or not at all, and its major version
    process    is that server ours and alive, judged by what the process is, not by its number
    guard      a script beside every server: starts it, and ends it when the last client has died
    folders    where data, socket, locks and log lie        locks     flock, and who still holds one
    account    which user the server runs as                binaries  whose initdb and postgres

Locks are taken in one order, `lock` before `clients`, by everybody.
"""

from kordant_jobs.postgres.embedded.server import EmbeddedPostgres, ServerStatus

__all__ = ["EmbeddedPostgres", "ServerStatus"]
