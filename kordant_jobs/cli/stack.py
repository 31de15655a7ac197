"""The processes of `up` as children that never outlive it: code server, warm process, daemon, Dagster's webserver and
the pages for links in mails.

The caller's environment has their settings for Postgres and ours. `bootstrap/kept.py` ensures that no child outlives
us; each writes to a log in the state folder.
"""

import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from kordant_jobs.bootstrap.kept import EXTRA_S, GRACE_S, SupervisedProcess, last_log_line, rotate, rotate_in_place
from kordant_jobs.bootstrap.lock import AlreadyTaken, Claim, living_owner
from kordant_jobs.bootstrap.state import UP_CLAIM
from kordant_jobs.cli import readiness
from kordant_jobs.cli.dagster_home import prepare_dagster_home, prepare_storage
from kordant_jobs.cli.parts import StackConfig
from kordant_jobs.cli.readiness import HOST
from kordant_jobs.engine.control import socket_path as warm_socket
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.observability.pulse import Pulse
from kordant_jobs.pages.ui_guard import PREFIX, PROXY_HEADER
from kordant_jobs.settings import secret_variables, secrets_of
from kordant_jobs.triggers import reloader
from kordant_jobs.triggers.reloader import Dagster

START_TIMEOUT_S = 240.0
"""Many times the duration of a start on two cores: a slow disk without bytecode makes it a minute."""
RESTART_DELAYS_S = (0, 1, 2, 5, 10, 30)
"""Seconds before the first, second, … consecutive restart; the last one repeats."""
STEADY_AFTER_S = 20.0
"""A part that ran this long is restarted with the first delay again."""

LOGS_CHECKED_EVERY = 50
"""The rounds, of a tenth of a second each, between two checks of the logs."""

PAGES = "pages"
"""`notifications serve`."""

API = "api"
"""`api serve`."""

STANDBYS = {"warm": "warm-standby", "daemon": "daemon-standby"}
"""The standby of each part that has one. A start takes seconds of CPU to import Dagster and all jobs; a standby has
imported them already."""
HOST_PART = "host"
"""The part that takes runs from the broker."""
STOPPED_IN_ORDER = (API, PAGES, "webserver", "daemon", HOST_PART, "warm", "code-server")

ENVIRON_OF = {name: {"OPENBLAS_NUM_THREADS": "1"} for name in ("warm", "warm-standby")}
"""NumPy's OpenBLAS starts its threads at import; the warm process forks, and must not have any."""

_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._-]{1,100}")
"""A path that gRPC accepts unchanged (it parses others as a URI) and that fits into sockaddr_un (107 bytes)."""


def _to_stderr(words: str) -> None:
    sys.stderr.write(f"kordant-jobs: {words}\n")


@dataclass
class Stack:
    """Code server, daemon and Dagster webserver of one checkout, as children that never outlive it. There is one for
    each state folder: a second one reports where the first runs. Safe to stop at any point, repeatedly, also from
    another thread while it starts; it is not started again."""

    config: StackConfig
    say: Callable[[str], None] = _to_stderr
    urls: dict[str, str] = field(default_factory=dict)
    _parts: dict[str, SupervisedProcess] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _restarts: dict[str, float] = field(default_factory=dict)
    _claim: Claim = field(init=False)
    _port: int = 0
    _api_port: int = 0
    _socket: Path | None = None
    _scratch: str | None = None
    _secret: str = field(default_factory=partial(secrets.token_urlsafe, 32), repr=False)
    _reloader: reloader.ScheduleReloader | None = None
    _pulse: Pulse | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._claim = Claim(self.config.state_dir / UP_CLAIM)

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
    def dagster(self) -> Dagster:
        """The address of Dagster's webserver, and the headers for it."""
        if not self.config.has_ui_proxy:
            return Dagster(url=f"http://{HOST}:{self._port}")
        return Dagster(url=f"http://{HOST}:{self._port}{PREFIX}", headers={PROXY_HEADER: self._secret})

    @property
    def graphql_url(self) -> str:
        """The address of Dagster's GraphQL."""
        return self.dagster.graphql_url

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the parts, for other processes that use the same instance."""
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
        """The pid of each running part, which is the leader of its session."""
        return {name: part.pid for name, part in dict(self._parts).items() if part.pid is not None}

    def start(self) -> None:
        """Start all parts at once; return when every one of them answers.

        Raises:
            PermanentError: another stack runs on this state folder, no port is free, a part ended, or Dagster
                cannot load the definitions; the text has the log's path.
            TransientError: a part did not answer in time, or `stop` was called in another thread.
        """
        self.config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._claim_the_state()
        home = prepare_dagster_home(self.config.checkout, self.config.state_dir, self.config.system)
        prepare_storage(home, self.environ, self.config.state_dir / "logs" / "dagster-storage.log")
        if self.config.host:
            self._start_host()
            return
        if url := self.config.environ.get("KORDANT_DATABASE_URL"):
            reloader.prepare(url, self.config.state_dir, self.say)
        self._socket = self._socket_path()
        began = time.time()
        self._launch("code-server", self.config.code_server(self._socket))
        if self.config.daemon:
            if self.config.launcher == "warm":
                self._launch("warm", self.config.warm_command())
            self._launch("daemon", self.config.daemon_command())
        if self.config.webserver:
            self._port = readiness.free_port(self.config.web_port)
            self._launch("webserver", self.config.webserver_command(self._port))
        if self.config.public_port:
            self._launch(PAGES, self.config.pages(self.config.public_port))
        if self.config.api_port:
            self._api_port = readiness.free_port(self.config.api_port)
            for name, command in self.config.api_commands(self._api_port).items():
                self._launch(name, command)
        self._wait_until_ready(began)
        if self.config.api_port:
            self.urls["API"] = f"http://{HOST}:{self._api_port}/api/jobs"
        if self.config.webserver:
            ui_sign_in = f"http://{HOST}:{self._api_port}{PREFIX}/"
            self.urls["Dagster"] = ui_sign_in if self.config.has_ui_proxy else self.dagster.url
            if url:
                self._reloader = reloader.ScheduleReloader(url, self.config.state_dir, self.dagster, self.say)
                self._reloader.start()
        if url and self.config.daemon:
            self._pulse = Pulse(url, self.config.heartbeat_url, self.say)
            self._pulse.start()
        dagster = {"dagster": self.dagster.url} if self.config.webserver else {}
        self._claim.say({"urls": self.urls, "code_server": str(self._socket), **dagster})

    def _start_host(self) -> None:
        self._launch("warm", self.config.warm_command())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not readiness.accepts(warm_socket(self.config.state_dir)):
            self._check_for_ends()
            if time.monotonic() > deadline:
                raise TransientError(f"the warm process did not answer within {START_TIMEOUT_S:.0f} s: see its log")
            time.sleep(0.1)
        self._launch(HOST_PART, self.config.host_command())

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End every part and its children: webserver, daemon, warm process, code server. Standbys end first, so that
        they do not take over. At most `grace_s` for each, and a few seconds more where a process must be killed."""
        self._stopped.set()
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None
        if self._reloader is not None:
            self._reloader.close()
            self._reloader = None
        workers = [name for name in self._parts if name.startswith(f"{API}-")]
        standbys = [name for name in self._parts if name in STANDBYS.values()]
        for name in (*standbys, *workers, *STOPPED_IN_ORDER):
            if part := self._parts.pop(name, None):
                part.end(grace_s)
        self.urls.clear()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        self._claim.release()

    def wait(self, stop_event: threading.Event) -> int:
        """Supervise the parts until `stop_event` is set, or the host part was drained. A part that ends is restarted
        after a delay; with our launcher, those in `STANDBYS` have a standby process, too. Returns 0 and leaves the
        parts running: `stop` ends them."""
        for name, standby in STANDBYS.items():
            if name in self._parts and self.config.launcher != "stock":
                self._launch(standby, self._parts[name].command[1:])
        rounds = 0
        while not stop_event.wait(0.1):
            rounds += 1
            for part in self._parts.values():
                if part.name == HOST_PART and part.ended() == 0:
                    return 0  # drained
                self._watch(part)
                if rounds % LOGS_CHECKED_EVERY == 0:
                    rotate_in_place(part.log)
        return 0

    def _watch(self, part: SupervisedProcess) -> None:
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

    def _socket_path(self) -> Path:
        """The path of a socket. It is not a port, since two servers could share a port unnoticed (SO_REUSEPORT)."""
        path = self.config.state_dir / "code-server.sock"
        if not _SOCKET_PATH.fullmatch(str(path)):
            self._scratch = tempfile.mkdtemp(prefix="kordant-")
            path = Path(self._scratch) / "code-server.sock"
        return path

    def _launch(self, name: str, arguments: list[str]) -> None:
        self._go_on()
        log = self.config.state_dir / "logs" / f"{name}.log"
        rotate(log)
        self._parts[name] = SupervisedProcess(
            name=name,
            command=[sys.executable, *arguments],
            log=log,
            environ={**self._environ_for(name), **ENVIRON_OF.get(name, {})},
            cwd=self.config.checkout,
            keep_open=() if self._claim.descriptor is None else (self._claim.descriptor,),
        )
        self._spawn(self._parts[name])

    def _environ_for(self, name: str) -> dict[str, str]:
        """The environment of a part, with the secrets that it needs and no other ones."""
        hidden = secret_variables() - secrets_of(name, launcher=self.config.launcher)
        shown = {variable: value for variable, value in self.environ.items() if variable not in hidden}
        knows_ui_secret = self.config.has_ui_proxy and (name == "webserver" or name.partition("-")[0] == API)
        return {**shown, **({"KORDANT_UI_SECRET": self._secret} if knows_ui_secret else {})}

    def _go_on(self) -> None:
        """Raise an error in the thread that starts, once another one has stopped the stack."""
        if self._stopped.is_set():
            raise TransientError("it was stopped while it started")

    def _spawn(self, part: SupervisedProcess) -> None:
        if part.name == "code-server" and self._socket:
            self._socket.unlink(missing_ok=True)
        part.spawn()

    def _claim_the_state(self) -> None:
        try:
            self._claim.acquire(
                timeout_s=GRACE_S + EXTRA_S,
                on_wait=lambda: self.say("the last one was killed and its parts are still ending; waiting for them"),
            )
        except AlreadyTaken as taken:
            where = _where(taken.owner) if taken.owner else f"a process that holds {self._claim.path}"
            raise PermanentError(f"already running ({where}): use that one, or stop it first") from None

    # Readiness

    def _wait_until_ready(self, began: float) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        waits_for = "the code server"
        with httpx.Client(timeout=10, trust_env=False, headers=self.dagster.headers) as http:
            while time.monotonic() < deadline:
                self._check_for_ends()
                waits_for = self._not_ready_yet(http, began)
                if not waits_for:
                    return
                time.sleep(0.1)
        raise TransientError(
            f"{waits_for} did not answer within {START_TIMEOUT_S:.0f} s: see the logs in"
            f" {self.config.state_dir / 'logs'} and try again"
        )

    def _check_for_ends(self) -> None:
        """Raise an error for a part that ended; a webserver whose port was taken in the meantime gets the next one."""
        self._go_on()
        for part in list(self._parts.values()):
            if (code := part.ended()) is None:
                continue
            if part.name == "webserver" and not readiness.is_free(self._port):
                part.end(0)
                self._port = readiness.free_port(self._port + 1)
                part.command = [sys.executable, *self.config.webserver_command(self._port)]
                self._spawn(part)
                continue
            raise PermanentError(f"the {part.name} ended with code {code} ({last_log_line(part.log)}): see {part.log}")

    def _not_ready_yet(self, http: httpx.Client, began: float) -> str:
        """The parts that are not ready, as text; empty when all answer."""
        if "warm" in self._parts and not readiness.accepts(warm_socket(self.config.state_dir)):
            return "the warm process"
        if PAGES in self._parts and not readiness.pages_answer(http, self.config.public_port):
            return "the pages behind KORDANT_PUBLIC_URL"
        if API in self._parts and not readiness.api_answers(http, self._api_port):
            return "the API"
        if not self.config.webserver:
            return "" if readiness.accepts(self._socket) else "the code server"
        since = began if self.config.daemon else None
        log = self.config.state_dir / "logs" / "code-server.log"
        return readiness.awaited_of_dagster(http, self.dagster, self._socket, daemon_since=since, log=log)


def running(state_dir: Path) -> dict[str, Any] | None:
    """The stack that runs on this state folder, `{"pid": …, "urls": {…}}`, or None."""
    return living_owner(state_dir / UP_CLAIM)


def _where(stack: Mapping[str, Any]) -> str:
    return ", ".join([f"process {stack['pid']}", *stack.get("urls", {}).values()])
