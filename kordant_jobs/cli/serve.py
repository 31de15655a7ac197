"""`up`: the whole system in the foreground, until Ctrl-C or SIGTERM."""

import os
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import FrameType

from kordant_jobs.api.console import HOME
from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli import preflight
from kordant_jobs.cli.doctor import show_findings
from kordant_jobs.cli.output import bold, err, out, print_facts
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.session import Session, open_session, use_demo_state
from kordant_jobs.cli.stack import Stack
from kordant_jobs.domain.access.principals import Role, TokenScope
from kordant_jobs.domain.access.tokens import read_token
from kordant_jobs.errors import KordantError
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.settings import Settings, load_settings, unknown_settings
from kordant_jobs.store.access import people

LOCAL_OPERATOR = "user:local"


def serve(*, port: int | None, demo: bool, ui_read_only: bool = False) -> None:
    """Run every part until a signal stops it; return when no process is left.

    Raises:
        SettingsError: settings that cannot work, all of them named.
    """
    began = time.monotonic()
    if demo:
        use_demo_state()
    stop = threading.Event()

    def stop_on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_on_signal)
    preflight.check(load_settings())
    for name, near in unknown_settings(os.environ).items():
        err.print(f"{name} is no setting{f'; do you mean {near}?' if near else '.'}")
    settings = load_settings()
    try:
        with open_session(settings) as session:
            say_key_was_made(session)
            keep_local_token(session)
            with build_stack(session, port, ui_read_only=ui_read_only) as stack:
                _say_where(session, stack, took_s=time.monotonic() - began)
                stack.wait(stop)
                err.print("stopping …")
    except KordantError:
        show_findings(settings, err)
        raise
    err.print("stopped; nothing is left running")


def build_stack(session: Session, port: int | None = None, *, ui_read_only: bool = False) -> Stack:
    """The processes of this session's system, not yet started."""
    return Stack(
        StackConfig(
            checkout=CHECKOUT,
            state_dir=session.settings.state_dir,
            environ=session.environ,
            web_port=port or session.settings.web_port,
            public_port=session.settings.public_port if session.settings.public_url else None,
            api_port=session.settings.api_port,
            api_workers=session.settings.api_workers,
            ui_sign_in=session.settings.ui_sign_in,
            ui_read_only=ui_read_only,
            heartbeat_url=heartbeat.get_secret_value() if (heartbeat := session.settings.heartbeat_url) else None,
        )
    )


def keep_local_token(session: Session) -> None:
    """Keep a token for an operator of this machine in a file of the state folder, mode 0600, valid for a week."""
    path, now = session.settings.operator_token, datetime.now(UTC)
    with suppress(FileNotFoundError):
        known = read_token(path.read_text(encoding="ascii").strip())
        with session.db.connect() as connection:
            verified = known and people.verify(connection, session.keyring, known, now=now)
        if verified and verified.expires_at > now + timedelta(days=7):
            return
    with session.db.begin() as connection:
        people.save_principal(connection, LOCAL_OPERATOR, Role.OPERATOR, by="up")
        made = people.create_token(
            connection, session.keyring, LOCAL_OPERATOR, tuple(TokenScope), days=30, by="up", now=now
        )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(made + "\n")


def say_key_was_made(session: Session) -> None:
    """Report that a master key was created, and what losing it means."""
    if session.key_made:
        err.print(
            bold(
                "A master key was made:",
                f" {session.settings.key_file} (mode 0600). Keep a copy in a safe place: "
                "without it the encrypted columns cannot be read, by anybody.",
            )
        )


def _say_where(session: Session, stack: Stack, *, took_s: float) -> None:
    out.print(bold("Kordant jobs is up.", " Ctrl-C stops it."))
    print_facts(
        {
            **{name if name == "API" else f"{name} UI": url for name, url in stack.urls.items()},
            **(
                {"sign in with": f"the token in {session.settings.operator_token} (an operator's)"}
                if "API" in stack.urls
                else {}
            ),
            **({"console": stack.urls["API"].replace("/api/jobs", HOME)} if "API" in stack.urls else {}),
            "database": session.server.shown,
            **_database_files(session),
            "drop folder": session.settings.drop_url or session.settings.drop,
            "mails": (session.settings.smtp_url and "SMTP") or session.settings.mails,
            "reports": session.settings.reports,
            "pages of mails": _pages(session.settings),
            "logs": session.settings.state_dir / "logs",
            "started in": f"{took_s:.0f} s",
        }
    )


def _database_files(session: Session) -> dict[str, str]:
    """The place of the embedded server's files, and the other users who can read them."""
    where = EmbeddedPostgres(session.settings.state_dir).status().data_dir if session.server.embedded else None
    if where is None:
        return {}
    owner = where.owner()
    other = where.stat().st_uid != os.geteuid()
    whose = f" (of the user {owner}, since Postgres refuses root: its other programs can read them)" if other else ""
    return {"database files": f"{where}{whose}"}


def _pages(settings: Settings) -> str:
    if not settings.public_url:
        return "off, and mails have no links: KORDANT_PUBLIC_URL is unset"
    return f"{settings.public_url}, served on 127.0.0.1:{settings.public_port}"
