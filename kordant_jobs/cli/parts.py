"""The parts of a stack, and the command of each part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kordant_jobs.app import SYSTEM
from kordant_jobs.cli.dagster_home import WORKSPACE
from kordant_jobs.cli.readiness import HOST
from kordant_jobs.engine.system import System
from kordant_jobs.pages.ui_guard import PREFIX
from kordant_jobs.settings import load_settings


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The parts to run, and their environment: KORDANT_DAGSTER_URL and all our variables must be in `environ`.
    `web_port` is the preferred port; if it is taken, the next free one is used. `public_port` is that of the pages
    behind KORDANT_PUBLIC_URL; a proxy uses it, so no other one is used. None: they are not served."""

    checkout: Path
    state_dir: Path
    environ: Mapping[str, str]
    web_port: int
    webserver: bool = True
    daemon: bool = True
    public_port: int | None = None
    api_port: int | None = None
    """The port of /api/jobs; None: it is not served."""
    api_workers: int = 1
    ui_sign_in: bool = False
    """True: Dagster's webserver answers only the API, which checks the sign-in."""
    system: System = SYSTEM
    ui_read_only: bool = False
    """True when Dagster's UI is read-only."""
    heartbeat_url: str | None = field(default=None, repr=False)
    """The address that gets a request once a minute while the daemon is alive."""

    host: bool = False
    """True for a host of workers: it has only a warm process and the process that takes runs from the broker."""

    @property
    def launcher(self) -> str:
        """The launcher that starts runs."""
        return self.environ.get("KORDANT_LAUNCHER") or load_settings().launcher

    @property
    def has_ui_proxy(self) -> bool:
        """True when the API serves Dagster's UI behind its sign-in: both are running."""
        return self.ui_sign_in and self.webserver and self.api_port is not None

    @property
    def _workspace(self) -> str:
        return str(self.state_dir / "dagster" / WORKSPACE)

    def code_server(self, socket: Path | None) -> list[str]:
        """Python's arguments for the code server: `code-server start`, not `api grpc`, since it can reload the code."""
        serve = ["-m", self.system.app, "code-server", "code-server", "start"]
        place = ["--location-name", "kordant_jobs", "--use-python-environment-entry-point"]
        return [*serve, "--socket", str(socket), "-m", self.system.definitions, *place]

    def daemon_command(self) -> list[str]:
        """Python's arguments for the daemon: ours, or Dagster's without our queue."""
        if self.launcher != "stock":
            return ["-m", self.system.app, "daemon", self._workspace]
        return ["-m", "dagster._daemon", "run", "-w", self._workspace]

    def warm_command(self) -> list[str]:
        """Python's arguments for the warm process."""
        return ["-m", self.system.app, "warm"]

    def host_command(self) -> list[str]:
        """Python's arguments for taking runs from the broker."""
        return ["-m", self.system.app, "host"]

    def webserver_command(self, port: int) -> list[str]:
        """Python's arguments for Dagster's webserver."""
        return [
            "-m",
            "kordant_jobs.pages.dagster_ui",
            "-h",
            HOST,
            "-p",
            str(port),
            "-w",
            self._workspace,
            *(["--path-prefix", PREFIX] if self.has_ui_proxy else []),
            *(["--read-only"] if self.ui_read_only else []),
        ]

    def pages(self, port: int) -> list[str]:
        """Python's arguments for serving the pages behind KORDANT_PUBLIC_URL."""
        return ["-m", "kordant_jobs.cli", "notifications", "serve", "--port", str(port)]

    def api_commands(self, port: int) -> dict[str, list[str]]:
        """Python's arguments for serving /api/jobs, by the name of the part."""
        serve = ["-m", "kordant_jobs.cli", "api", "serve", "--port", str(port), "--workers", str(self.api_workers)]
        return {
            "api" if number == 1 else f"api-{number}": [*serve, "--worker", str(number)]
            for number in range(1, self.api_workers + 1)
        }
