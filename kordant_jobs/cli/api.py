"""Commands on the API: kordant-jobs api serve | openapi."""

from __future__ import annotations

from typing import Annotated

import typer

api_app = typer.Typer(help="/api/jobs over HTTP.", no_args_is_help=True)


@api_app.command()
def serve(port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; none: KORDANT_API_PORT.")] = None) -> None:
    """Serve /api/jobs and /mcp on the loopback address until SIGTERM; `up` does this too."""
    from kordant_jobs.api.serve import serve as serve_api
    from kordant_jobs.cli.session import open_session

    with open_session() as session:
        settings = session.settings
        serve_api(
            session.db,
            session.keyring,
            port=port or settings.api_port,
            ui_url=f"http://127.0.0.1:{settings.web_port}",
            anchor=settings.audit_anchor,
        )


@api_app.command()
def openapi() -> None:
    """The OpenAPI file of /api/jobs, as JSON."""
    from kordant_jobs.api.app import Backend, application
    from kordant_jobs.cli.output import print_json
    from kordant_jobs.cli.session import open_session

    with open_session() as session:
        print_json(application(Backend(db=session.db, keyring=session.keyring)).openapi())


@api_app.command()
def mcp(
    url: Annotated[str, typer.Option("--url", help="Where the API is.")] = "http://127.0.0.1:3090",
) -> None:
    """The agents' tools over standard input and output, with the token in KORDANT_TOKEN; it opens no database."""
    from kordant_jobs.api.tools import stdio_tools
    from kordant_jobs.errors import SettingsError
    from kordant_jobs.settings import load_settings

    token = load_settings().token
    if token is None:
        raise SettingsError("KORDANT_TOKEN is unset: give the agent's token, from `kordant-jobs tokens create`.")
    stdio_tools(url, token.get_secret_value()).run("stdio")
