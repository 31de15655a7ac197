"""The processes of `up`: code server, warm process, daemon, Dagster's webserver and the pages that links in mails lead
to, as children that never outlive us.

What they need of Postgres and of our settings is in the environment that the caller gives. How a child is
kept from outliving us is in `bootstrap/kept.py`; each one writes to a log in the state folder.
"""

from __future__ import annotations

import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from kordant_jobs.bootstrap.kept import EXTRA_S, GRACE_S, Kept, last_words, rotate
from kordant_jobs.bootstrap.lock import AlreadyTaken, Claim, living_owner
from kordant_jobs.cli.dagster_home import prepare_dagster_home, prepare_storage
from kordant_jobs.engine.launcher.protocol import socket_path as warm_socket
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.settings import load_settings
from kordant_jobs.triggers import reloader

HOST = "127.0.0.1"
START_TIMEOUT_S = 240.0
"""Many times what a start takes on two cores: a slow disk and no bytecode make it a minute."""
PORTS_TRIED = 50
CLAIM = "up.lock"
"""In the state folder: which stack runs on it."""
RESTART_DELAYS_S = (0, 1, 2, 5, 10, 30)
"""Before the first, second, … restart in a row; the last one from then on."""
STEADY_AFTER_S = 20.0
"""A part that ran this long starts again with the first delay."""

PAGES = "pages"
"""`notifications serve`."""

STANDBYS = {"warm": "warm-standby", "daemon": "daemon-standby"}
"""A start takes seconds of CPU, for the imports of Dagster and of all jobs; one that stands by has them behind it."""
STOPPED_IN_ORDER = (PAGES, "webserver", "daemon", "warm", "code-server")

ENVIRON_OF = {name: {"OPENBLAS_NUM_THREADS": "1"} for name in ("warm", "warm-standby")}
"""NumPy's OpenBLAS starts its threads at import; the warm process forks, and may have none."""

_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._-]{1,100}")
"""A path that gRPC takes as it is (it reads others as a URI) and that fits sockaddr_un (107 bytes)."""

_STATE_QUERY = """{
  workspaceOrError {
    ... on PythonError { message }
    ... on Workspace { locationEntries {
      displayMetadata { key value }
      locationOrLoadError { __typename ... on PythonError { message className causes { message } } }
    } }
  }
  instance { daemonHealth { allDaemonStatuses { required lastHeartbeatTime } } }
}"""


def _to_stderr(words: str) -> None:
    sys.stderr.write(f"kordant-jobs: {words}\n")


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What to run, and with which environment: KORDANT_DAGSTER_URL and all of ours must be in `environ`.

    `web_port` is the wanted one; the next free one is taken when it is not. KORDANT_DEFINITIONS_MODULE names
    the module that Dagster loads, when it is not `kordant_jobs.definitions`. `public_port` is that of the pages behind
    KORDANT_PUBLIC_URL; a proxy leads to it, so no other is taken. None: they are not served.
    """

    checkout: Path
    state_dir: Path
    environ: Mapping[str, str]
    web_port: int
    webserver: bool = True
    daemon: bool = True
    public_port: int | None = None


@dataclass
class Stack:
    """Code server, daemon and Dagster webserver of one checkout, as children that never outlive it.

    One a state folder: a second one says where the first runs. Safe to stop at any point, and more than once.
    """

    config: StackConfig
    say: Callable[[str], None] = _to_stderr
    urls: dict[str, str] = field(default_factory=dict)
    _parts: dict[str, Kept] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _restarts: dict[str, float] = field(default_factory=dict)
    _claim: Claim = field(init=False)
    _port: int = 0
    _socket: Path | None = None
    _scratch: str | None = None
    _reloader: reloader.ScheduleReloader | None = None

    def __post_init__(self) -> None:
        self._claim = Claim(self.config.state_dir / CLAIM)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def graphql_url(self) -> str:
        """Where Dagster's GraphQL is served."""
        return f"http://{HOST}:{self._port}/graphql"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the parts, for others that talk to the same instance."""
        home = self.config.state_dir / "dagster"
        return {
            "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "3",
            **self.config.environ,
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "KORDANT_CODE_SERVER_SOCKET": str(self._socket),
            "PYTHONUNBUFFERED": "1",
        }

    def pids(self) -> dict[str, int]:
        """The process of each part that runs: the leader of its session."""
        return {name: part.pid for name, part in dict(self._parts).items() if part.pid is not None}

    def start(self) -> None:
        """Start the parts, all at once; back when every one of them answers.

        Raises:
            PermanentError: another stack runs on this state folder, no port is free, a part ended, or Dagster
                cannot load the definitions; the text has the log's path.
            TransientError: a part did not answer in time.
        """
        self.config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._claim_the_state()
        home = prepare_dagster_home(self.config.checkout, self.config.state_dir)
        prepare_storage(home, self.environ, self.config.state_dir / "logs" / "dagster-storage.log")
        if url := self.config.environ.get("KORDANT_DATABASE_URL"):
            reloader.prepare(url, self.config.state_dir, self.say)
        self._socket = self._socket_path()
        began = time.time()
        self._launch("code-server", self._code_server())
        if self.config.daemon:
            if self.warm:
                self._launch("warm", ["-m", "kordant_jobs.engine.launcher.warm"])
            self._launch("daemon", self._daemon())
        if self.config.webserver:
            self._port = free_port(self.config.web_port)
            self._launch("webserver", self._webserver())
        if self.config.public_port:
            self._launch(PAGES, self._pages(self.config.public_port))
        self._wait_until_ready(began)
        if self.config.webserver:
            self.urls["Dagster"] = f"http://{HOST}:{self._port}"
            if url:
                self._reloader = reloader.ScheduleReloader(url, self.config.state_dir, self.graphql_url, self.say)
                self._reloader.start()
        self._claim.say({"urls": self.urls, "code_server": str(self._socket)})

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End every part and all that it started: webserver, daemon, warm process, code server.

        What stands by goes first, so that it takes nothing over. At most `grace_s` each, and a few seconds more where
        something must be killed.
        """
        if self._reloader is not None:
            self._reloader.close()
            self._reloader = None
        for name in (*(name for name in self._parts if name in STANDBYS.values()), *STOPPED_IN_ORDER):
            if part := self._parts.pop(name, None):
                part.end(grace_s)
        self.urls.clear()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        self._claim.release()

    def wait(self, stop_event: threading.Event) -> int:
        """Watch over the parts until `stop_event` is set: one that ends is started again, after a delay. Where what
        a part does may not wait for that, a second one stands by.

        Back with 0; the parts still run then, and `stop` ends them.
        """
        if "warm" in self._parts:
            for name, standby in STANDBYS.items():
                self._launch(standby, self._parts[name].command[1:])
        while not stop_event.wait(0.1):
            for part in self._parts.values():
                self._watch(part)
        return 0

    def _watch(self, part: Kept) -> None:
        now = time.monotonic()
        if (due := self._restarts.get(part.name)) is not None:
            if now >= due:
                del self._restarts[part.name]
                self._spawn(part)
        elif (code := part.ended()) is not None:
            part.end(0)
            failures = 0 if now - part.started_at > STEADY_AFTER_S else self._failures.get(part.name, 0)
            delay_s = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)]
            self._failures[part.name] = failures + 1
            self._restarts[part.name] = now + delay_s
            self.say(f"the {part.name} ended with code {code}; starting it again in {delay_s} s (see {part.log})")

    # Commands

    def _code_server(self) -> list[str]:
        module = self.config.environ.get("KORDANT_DEFINITIONS_MODULE", "kordant_jobs.definitions")
        # `code-server start`, not `api grpc`: it reloads the code when asked to.
        serve = [
            "-m",
            "kordant_jobs.engine.dagster_private.code_server",
            "code-server",
            "start",
            "--socket",
            str(self._socket),
        ]
        return [
            *serve,
            "-m",
            module,
            "--location-name",
            "kordant_jobs",
            "--use-python-environment-entry-point",
        ]

    @property
    def warm(self) -> bool:
        """Whether runs start from the warm process, and not as Dagster's own launcher starts them."""
        return (self.config.environ.get("KORDANT_LAUNCHER") or load_settings().launcher) == "warm"

    def _daemon(self) -> list[str]:
        workspace = str(self.config.checkout / "workspace.yaml")
        if self.warm:
            return ["-m", "kordant_jobs.engine.daemon", "-w", workspace]
        return ["-m", "dagster._daemon", "run", "-w", workspace]

    def _webserver(self) -> list[str]:
        workspace = str(self.config.checkout / "workspace.yaml")
        return ["-m", "dagster_webserver", "-h", HOST, "-p", str(self._port), "-w", workspace]

    def _pages(self, port: int) -> list[str]:
        return ["-m", "kordant_jobs.cli", "notifications", "serve", "--port", str(port)]

    def _socket_path(self) -> Path:
        """A socket, and not a port: two servers can share a port without a word (SO_REUSEPORT)."""
        path = self.config.state_dir / "code-server.sock"
        if not _SOCKET_PATH.fullmatch(str(path)):
            self._scratch = tempfile.mkdtemp(prefix="kordant-")
            path = Path(self._scratch) / "code-server.sock"
        return path

    def _launch(self, name: str, arguments: list[str]) -> None:
        log = self.config.state_dir / "logs" / f"{name}.log"
        rotate(log)
        self._parts[name] = Kept(
            name=name,
            command=[sys.executable, *arguments],
            log=log,
            environ={**self.environ, **ENVIRON_OF.get(name, {})},
            cwd=self.config.checkout,
            keep_open=() if self._claim.descriptor is None else (self._claim.descriptor,),
        )
        self._spawn(self._parts[name])

    def _spawn(self, part: Kept) -> None:
        if part.name == "code-server" and self._socket:
            self._socket.unlink(missing_ok=True)
        part.spawn()

    def _claim_the_state(self) -> None:
        try:
            self._claim.take(
                patience_s=GRACE_S + EXTRA_S,
                on_wait=lambda: self.say("the last one was killed and its parts are still ending; waiting for them"),
            )
        except AlreadyTaken as taken:
            where = _where(taken.owner) if taken.owner else f"a process that holds {self._claim.path}"
            raise PermanentError(f"already running ({where}): use that one, or stop it first") from None

    # Readiness

    def _wait_until_ready(self, began: float) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        waits_for = "the code server"
        with httpx.Client(timeout=10, trust_env=False) as http:
            while time.monotonic() < deadline:
                self._look_for_ends()
                waits_for = self._not_ready_yet(http, began)
                if not waits_for:
                    return
                time.sleep(0.1)
        raise TransientError(
            f"{waits_for} did not answer within {START_TIMEOUT_S:.0f} s: see the logs in"
            f" {self.config.state_dir / 'logs'} and try again"
        )

    def _look_for_ends(self) -> None:
        """Raise for a part that ended; but a webserver whose port was taken meanwhile gets the next one."""
        for part in self._parts.values():
            if (code := part.ended()) is None:
                continue
            if part.name == "webserver" and not _is_free(self._port):
                part.end(0)
                self._port = free_port(self._port + 1)
                part.command = [sys.executable, *self._webserver()]
                self._spawn(part)
                continue
            raise PermanentError(f"the {part.name} ended with code {code} ({last_words(part.log)}): see {part.log}")

    def _not_ready_yet(self, http: httpx.Client, began: float) -> str:
        """What is still to come, in words; nothing when all answer."""
        if "warm" in self._parts and not _accepts(warm_socket(self.config.state_dir)):
            return "the warm process"
        if PAGES in self._parts and not self._pages_answer(http):
            return "the pages behind KORDANT_PUBLIC_URL"
        if not self.config.webserver:
            return "" if _accepts(self._socket) else "the code server"
        try:
            if http.get(f"http://{HOST}:{self._port}/server_info").status_code != httpx.codes.OK:
                return "the webserver"
            answered = http.post(self.graphql_url, json={"query": _STATE_QUERY}).json()["data"]
            locations = answered["workspaceOrError"]["locationEntries"]
            heartbeats = answered["instance"]["daemonHealth"]["allDaemonStatuses"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return "the webserver"
        ours = [place for place in locations if self._is_ours(place)]
        if not ours or not (loaded := ours[0]["locationOrLoadError"]):
            return "the code server"
        if loaded["__typename"] == "PythonError":
            if "Unreachable" in (loaded["className"] or ""):
                return "the code server"
            raise PermanentError(f"Dagster cannot load the definitions ({_deepest(loaded)}): see {self._log_of_code}")
        beats = [status["lastHeartbeatTime"] or 0 for status in heartbeats if status["required"]]
        if self.config.daemon and not (beats and min(beats) >= began):
            return "the daemon"
        return ""

    def _pages_answer(self, http: httpx.Client) -> bool:
        with suppress(httpx.HTTPError):
            return http.get(f"http://{HOST}:{self.config.public_port}/health").status_code == httpx.codes.OK
        return False

    def _is_ours(self, place: Mapping[str, Any]) -> bool:
        """Whether a webserver that answers is the one that we started: it knows our socket."""
        return {"key": "socket", "value": str(self._socket)} in place["displayMetadata"]

    @property
    def _log_of_code(self) -> Path:
        return self.config.state_dir / "logs" / "code-server.log"


def _deepest(error: Mapping[str, Any]) -> str:
    """The first line of the error that caused all the others."""
    causes = error["causes"] or [error]
    return str(causes[-1]["message"]).strip().splitlines()[0][:200]


def running(state_dir: Path) -> dict[str, Any] | None:
    """The stack that runs on this state folder, `{"pid": …, "urls": {…}}`, or None."""
    return living_owner(state_dir / CLAIM)


def _where(stack: Mapping[str, Any]) -> str:
    return ", ".join([f"process {stack['pid']}", *stack.get("urls", {}).values()])


def free_port(wanted: int) -> int:
    """The wanted port of the loopback address, or the next free one.

    Raises:
        PermanentError: none of the next 50 is free.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        if _is_free(port):
            return port
    raise PermanentError(f"no free port from {wanted} on: set KORDANT_WEB_PORT to another")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: TIME_WAIT is no hindrance
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _accepts(path: Path | None) -> bool:
    """Whether somebody listens on that socket; the code server does once it has tried to load the code."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
