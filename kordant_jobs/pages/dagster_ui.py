"""Dagster's webserver behind `UiGuard`. Run as a module, it accepts the options of `dagster-webserver`."""

from typing import Any

from dagster_webserver import cli

from kordant_jobs.errors import SetupError
from kordant_jobs.pages.ui_guard import UiGuard
from kordant_jobs.settings import load_settings

MADE_BY = "create_app_from_workspace_process_context"


def main() -> None:
    """Serve Dagster's UI.

    Raises:
        SetupError: this version of Dagster's webserver lacks the function that the guard wraps.
    """
    serve: Any = cli
    make = getattr(serve, MADE_BY, None)
    if make is None:
        raise SetupError(f"{serve.__name__} has no {MADE_BY}: install the locked dagster-webserver")

    secret = load_settings().ui_secret

    def guarded(*arguments: Any, **options: Any) -> UiGuard:
        return UiGuard(make(*arguments, **options), secret.get_secret_value() if secret else "")

    setattr(serve, MADE_BY, guarded)
    serve.main()


if __name__ == "__main__":
    main()
