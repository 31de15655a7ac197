"""The peer of `bench api`: a status read as a first version would have it. `python -m … URL PORT`."""

import socket
import sys
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, HTTPException

from kordant_jobs.api.schemas import RequestOut
from kordant_jobs.engine.requests import Priority, RequestStatus

QUERY = sa.text("SELECT * FROM kordant.job_requests WHERE id = :id")
WORDS = {"dead": "failed", "expired": "failed"}


def application(url: str) -> FastAPI:
    """One route."""
    app, db = FastAPI(), sa.create_engine(url, pool_size=10)

    @app.get("/api/jobs/requests/{request_id}")
    def status(request_id: UUID) -> RequestOut:
        with db.connect() as connection:
            row: Any = connection.execute(QUERY, {"id": request_id}).mappings().one_or_none()
        if row is None:
            raise HTTPException(404)
        progress = {"done": row["progress_done"], "total": row["progress_total"], "percent": None}
        more = {"alias": row["job"], "status": WORDS.get(row["status"], row["status"]), "max_attempts": 4, "run": None,
                "state": RequestStatus(row["status"]), "priority": Priority(row["priority"]).word, "result": None,
                "progress": progress}  # fmt: skip
        return RequestOut.model_validate({**row, **more})

    return app


if __name__ == "__main__":
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", int(sys.argv[2])))
        config = uvicorn.Config(application(sys.argv[1]), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
