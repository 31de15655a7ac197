"""What a page of another site can have a browser send to Dagster's UI is refused; what the UI itself sends is not."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kordant_jobs.pages.ui_guard import UiGuard
from kordant_jobs_tests.asgi import Client, open_websocket

HOST = "127.0.0.1:3000"
QUERY = {"query": "mutation { x }"}


async def _graphql(request: Request) -> JSONResponse:
    return JSONResponse({"data": request.method})


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


ROUTES = [
    Route("/graphql", _graphql, methods=["GET", "POST"]),
    Route("/runs", _graphql),
    WebSocketRoute("/graphql", _socket),
]


APP = UiGuard(Starlette(routes=ROUTES))


@pytest.fixture
def ui() -> Client:
    return Client(APP, base_url=f"http://{HOST}")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:3000"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "null"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
def test_what_another_site_can_send_is_refused(ui: Client, headers: dict[str, str]) -> None:
    answered = ui.post("/graphql", json=QUERY, headers=headers)
    assert (answered.status_code, "error" in answered.json()) == (403, True)


def test_graphql_by_get_is_refused_whatever_it_asks(ui: Client) -> None:
    assert ui.get("/graphql", params=QUERY).status_code == 403
    assert ui.get("/graphql", params={"query": "{ version }"}).status_code == 403


@pytest.mark.parametrize("origin", [None, f"http://{HOST}"])
def test_what_the_ui_itself_sends_passes(ui: Client, origin: str | None) -> None:
    headers = {"origin": origin} if origin else {}
    assert ui.post("/graphql", json=QUERY, headers=headers).json() == {"data": "POST"}
    assert ui.get("/runs", headers=headers).status_code == 200
    assert ui.get("/runs", headers={"host": "localhost:3000"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"host": HOST, "origin": f"http://{HOST}"}, "websocket.accept"),
        ({"host": HOST, "origin": "http://evil.example"}, "websocket.close"),
        ({"host": "evil.example"}, "websocket.close"),
    ],
)
def test_a_websocket_from_another_site_is_closed(headers: dict[str, str], answer: str) -> None:
    assert open_websocket(APP, "/graphql", headers) == answer
