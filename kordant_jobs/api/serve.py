"""The process of the API: uvicorn on loopback, and its background upkeep."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from kordant_jobs.api.app import Backend, application
from kordant_jobs.api.asked import OpenId
from kordant_jobs.api.gate import Quotas, Tokens
from kordant_jobs.api.measured import Calls
from kordant_jobs.api.tools import beside, http_tools
from kordant_jobs.errors import KordantError, PermanentError
from kordant_jobs.pages.limits import OPTIONS
from kordant_jobs.pages.ui_guard import PREFIX
from kordant_jobs.store.access import changes, isolation, replies
from kordant_jobs.store.audit import log as audit_log
from kordant_jobs.store.people.keyring import Keyring

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
KEEP_S = 300.0
"""Seconds between two rounds of upkeep (`keep`)."""
COUNTS_S = 5.0
"""Seconds between two writes of the counts of calls."""
AT_ONCE = 1000
GRACE_S = 5


def keep(db: Engine, keyring: Keyring, anchor: Path) -> None:
    """Do one round of upkeep: delete old stored replies, expire proposals without a decision, verify the audit log
    against its last anchor and its next rows, and anchor it.

    Raises:
        PermanentError: the file of anchors is unusable, or the log lost rows since the last one.
    """
    now = datetime.now(UTC)
    with db.begin() as connection:
        replies.prune(connection, now=now)
        changes.expire(connection, now=now)
    last = None
    with suppress(PermanentError):  # `write_anchor` raises it again, once the rows are verified
        last = audit_log.last_anchor(anchor, keyring)
    with db.begin() as connection:
        audit_log.verify_on(connection, keyring, anchor=last)
    with db.connect() as connection:
        audit_log.write_anchor(connection, keyring, anchor)


async def _keep_for_ever(db: Engine, keyring: Keyring, anchor: Path) -> None:
    while True:
        try:
            await run_in_threadpool(keep, db, keyring, anchor)
        except (KordantError, OSError) as error:
            log.warning("the audit log was not anchored: %s", error)
        except Exception as error:  # noqa: BLE001 - the next time may do better; the text could hold values
            log.warning("upkeep failed: %s", type(error).__name__)
        await asyncio.sleep(KEEP_S)


async def _write_counts(db: Engine, calls: Calls, tokens: Tokens) -> None:
    while True:
        await asyncio.sleep(COUNTS_S)
        with suppress(SQLAlchemyError):  # the database is away: the next time adds them
            await run_in_threadpool(calls.flush, db)
            await run_in_threadpool(tokens.note_uses)


def serve(
    db: Engine,
    keyring: Keyring,
    *,
    port: int,
    host: str = HOST,
    ui_secret: str | None,
    public_url: str | None,
    anchor: Path,
    stack: Callable[[], Mapping[str, Any] | None],
    openid: OpenId | None = None,
    worker: int = 1,
    workers: int = 1,
) -> None:
    """Serve until SIGTERM or Ctrl-C, which also closes open streams. Several `workers` share the port; the first one
    does the upkeep."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        upkeep = [_keep_for_ever(db, keyring, anchor)] if worker == 1 else []
        upkeep.append(_write_counts(db, app.state.calls, app.state.tokens))
        tasks = [asyncio.create_task(one) for one in upkeep]
        try:
            async with tools.session_manager.run():
                yield
        finally:
            for task in tasks:
                task.cancel()
            app.state.watcher.close()
            app.state.changes.close()
            await app.state.proxy.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(SQLAlchemyError):
                app.state.calls.flush(db)

    ui_url = (public_url or f"http://{HOST}:{port}") + PREFIX if ui_secret else (stack() or {}).get("dagster")
    if not (is_isolated := isolation.ensure(db)):
        log.warning("callers are not isolated in the database: have a user that may create roles run `db harden`")
    backend = Backend(
        db=db, keyring=keyring, ui_url=ui_url, ui_secret=ui_secret, public_url=public_url, stack=stack,
        quotas=Quotas(workers=workers), is_isolated=is_isolated, openid=openid,
    )  # fmt: skip
    app = application(backend, lifespan=lifespan)
    tools = http_tools(app, app.state.tokens, url=f"http://{HOST}:{port}", public_url=public_url)
    config = uvicorn.Config(
        beside(app, tools.streamable_http_app(stateless_http=True, json_response=True)),
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=GRACE_S,
        **OPTIONS,
    )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if workers > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        uvicorn.Server(config).run(sockets=[listener])
