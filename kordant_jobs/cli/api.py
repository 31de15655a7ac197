"""Commands for the API and the console that it serves: kordant-jobs api serve | openapi | mcp, kordant-jobs console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kordant_jobs.cli.output import out, print_facts, print_json
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.access.principals import Role
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from kordant_jobs.api.asked import OpenId

api_app = typer.Typer(help="/api/jobs over HTTP.", no_args_is_help=True)


@api_app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port; none: KORDANT_API_PORT.")] = None,
    worker: Annotated[int, typer.Option(min=1, help="Which of the processes that share the port this is.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="How many processes share the port.")] = 1,
) -> None:
    """Serve /api/jobs and /mcp on the address of KORDANT_BIND until SIGTERM; `up` does this too."""
    from kordant_jobs.api.serve import serve as serve_api
    from kordant_jobs.cli.stack import running

    with open_session() as session:
        settings = session.settings
        serve_api(
            session.db,
            session.keyring,
            port=port or settings.api_port,
            host=settings.bind,
            ui_secret=settings.ui_secret.get_secret_value() if settings.ui_secret else None,
            public_url=settings.api_url,
            anchor=settings.anchors,
            stack=lambda: running(settings.state_dir),
            openid=_openid(settings),
            worker=worker,
            workers=workers,
        )


def _openid(settings: Settings) -> OpenId | None:
    """The OpenID provider of the settings.

    Raises:
        SettingsError: some of them are missing.
    """
    if settings.oidc_issuer is None:
        return None
    from kordant_jobs.adapters.openid import OpenIdProvider
    from kordant_jobs.api.asked import OpenId

    if not settings.oidc_client_id or not settings.oidc_role_map:
        raise SettingsError(
            "KORDANT_OIDC_ISSUER needs KORDANT_OIDC_CLIENT_ID and KORDANT_OIDC_ROLE_MAP: without a map no one gets in."
        )
    secret = settings.oidc_client_secret
    provider = OpenIdProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else "",
    )
    roles = {value: Role(role) for value, role in settings.oidc_role_map.items()}
    return OpenId(provider=provider, role_claim=settings.oidc_role_claim, roles=roles)


@api_app.command()
def openapi() -> None:
    """Print the OpenAPI file of /api/jobs, as JSON."""
    from kordant_jobs.api.app import Backend, application

    with open_session() as session:
        print_json(application(Backend(db=session.db, keyring=session.keyring)).openapi())


@api_app.command()
def mcp(
    url: Annotated[str, typer.Option("--url", help="Where the API is.")] = "http://127.0.0.1:3090",
) -> None:
    """Serve the agents' tools over standard input and output, with the token in KORDANT_TOKEN. It opens no database."""
    from kordant_jobs.api.tools import stdio_tools

    token = load_settings().token
    if token is None:
        raise SettingsError("KORDANT_TOKEN is unset: give the agent's token, from `kordant-jobs tokens create`.")
    stdio_tools(url, token.get_secret_value()).run("stdio")


def console() -> None:
    """Show the address of the operators' console, and how to sign in."""
    from kordant_jobs.api.console import HOME
    from kordant_jobs.cli.stack import running

    settings = load_settings()
    urls = (running(settings.state_dir) or {}).get("urls", {})
    is_up = "API" in urls
    address = urls["API"].removesuffix("/api/jobs") if is_up else f"http://127.0.0.1:{settings.api_port}"
    print_facts({"console": address + HOME, "served": "yes" if is_up else "no: `kordant-jobs up`, or `api serve`"})
    out.print("Sign in with a token of an admin or operator. To make one that is good for a day:")
    out.print("  kordant-jobs tokens create user:ID --role operator --days 1", highlight=False)
    out.print("One that may only look:")
    out.print(
        "  kordant-jobs tokens create user:ID --role operator --days 1 --scope jobs:read --scope schedules:read",
        highlight=False,
    )
