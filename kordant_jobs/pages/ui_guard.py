"""Guards Dagster's UI, which has no login and answers every request to its port.

A web page of any site can make the browser send requests to 127.0.0.1. The guard refuses what such a page can send:
a foreign Host (DNS rebinding) or Origin, GraphQL by GET or in a body that is not JSON (CSRF), and WebSockets from other
origins. Against other users of this machine there is a secret, which `up` gives to this process and to the API's proxy
(`api/dagster_proxy.py`); the proxy checks the sign-in. Without a secret (KORDANT_UI_SIGN_IN=0) they have access.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/dagster"
"""The path of the UI on the API's port."""
PROXY_HEADER = "x-kordant-proxy"
GRAPHQL_PATHS = frozenset({"/graphql", "/graphql/", f"{PREFIX}/graphql", f"{PREFIX}/graphql/"})
LOCAL_NAMES = frozenset({"localhost"})


def is_local(authority: str) -> bool:
    """True when a Host header names this machine.

    >>> [is_local(one) for one in ("127.0.0.1:3000", "localhost", "[::1]:3000", "127.0.0.1.evil.example")]
    [True, True, True, False]
    """
    try:
        host = urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return False
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(scope: Mapping[str, object], headers: Headers, secret: str = "") -> str | None:
    """The reason to refuse a request; None: it is allowed. Pure."""
    if secret and not hmac.compare_digest(headers.get(PROXY_HEADER, "").encode(), secret.encode()):
        return f"Dagster's UI is reached through the API, after signing in: {PREFIX}/ on KORDANT_API_PORT."
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_local(host):
        return "the Host header names another machine: open the UI under http://127.0.0.1 or http://localhost."
    if origin is not None and (urlsplit(origin).scheme not in {"http", "https"} or urlsplit(origin).netloc != host):
        return "the request comes from a page of another site."
    if scope["type"] == "websocket" and origin is None and headers.get("sec-fetch-mode"):
        return "the WebSocket comes from a page without an origin."
    if scope["path"] not in GRAPHQL_PATHS or scope["type"] != "http":
        return None
    if scope["method"] == "GET" and parse_qs(_query_of(scope)).keys() & {"query", "mutation", "variables"}:
        return "GraphQL is asked by POST."
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind != "application/json":
        return "GraphQL is asked with a body of the type application/json."
    return None


def _query_of(scope: Mapping[str, object]) -> str:
    raw = scope["query_string"]
    return raw.decode("latin-1") if isinstance(raw, bytes) else ""


class UiGuard:
    """ASGI middleware that answers 403 to requests that `refusal` refuses, and closes such WebSockets."""

    def __init__(self, app: ASGIApp, secret: str = "") -> None:
        self._app, self._secret = app, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the application, or refuse it."""
        if scope["type"] in {"http", "websocket"} and (why := refusal(scope, Headers(scope=scope), self._secret)):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            await JSONResponse({"error": why}, status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)
