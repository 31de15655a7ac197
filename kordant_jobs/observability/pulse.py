"""The dead man's switch: watches the daemon from the process of `up`, and reports when its heartbeats stop.

While all is well it pings KORDANT_HEARTBEAT_URL. When the daemon, the database, `up` or the whole machine fails, the
pings stop, which an outside service can notice. If OTLP is configured, the metrics are pushed from here, too.
"""

import threading
from collections.abc import Callable, Set

import httpx
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from kordant_jobs.observability import heartbeats, otlp
from kordant_jobs.postgres import database

PING_TIMEOUT_S = 10.0


class Pulse:
    """A thread that checks every `check_every_s` seconds and pings every `ping_s` seconds until `close`. It stops no
    process; `up` restarts the parts that end."""

    def __init__(
        self,
        url: str,
        heartbeat_url: str | None,
        say: Callable[[str], None],
        *,
        check_every_s: float = 20.0,
        ping_s: float = 60.0,
    ) -> None:
        self._check_every_s, self._ping_s = check_every_s, ping_s
        self._url, self._heartbeat_url, self._say = url, heartbeat_url, say
        self._stop = threading.Event()
        self._silent: set[str] = set()
        self._is_away = self._pings_fail = self._pushes_fail = False
        self._metrics: otlp.MetricsPush | None = None
        self._thread = threading.Thread(target=self._run, name="kordant-pulse", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        self._stop.set()
        self._thread.join(PING_TIMEOUT_S + 5)

    def _run(self) -> None:
        db = database.create_engine(self._url, pool_size=1)
        pinged_s, pushed_s = self._ping_s, otlp.interval_s()
        while not self._stop.is_set():
            is_well = self.check(db)
            pinged_s, pushed_s = pinged_s + self._check_every_s, pushed_s + self._check_every_s
            if otlp.is_on() and pushed_s >= otlp.interval_s():
                pushed_s = 0.0
                self.push(db)
            if is_well and self._heartbeat_url and pinged_s >= self._ping_s:
                pinged_s = 0.0
                self.ping(self._heartbeat_url)
            self._stop.wait(self._check_every_s)
        db.dispose()

    def check(self, db: sa.Engine) -> bool:
        """True when the database answers and no daemon is silent. A change is reported once."""
        try:
            with db.connect() as connection:
                ages_s = heartbeats.ages_s(connection)
        except SQLAlchemyError as error:
            if not self._is_away:
                self._say(f"the database does not answer ({type(error).__name__}): nothing can start until it does")
            self._is_away = True
            return False
        if self._is_away:
            self._say("the database answers again")
        self._is_away = False
        now_silent = heartbeats.silent(ages_s)
        if began := now_silent - self._silent:
            longest_s = max(ages_s[part] for part in began)
            self._say(f"the daemon has been silent for {longest_s:,.0f} s ({_named(began)}): see `kordant-jobs doctor`")
        if ended := self._silent - now_silent:
            self._say(f"the daemon gives signs again ({_named(ended)})")
        self._silent = now_silent
        return bool(ages_s) and not now_silent

    def push(self, db: sa.Engine) -> None:
        """Push the metrics by OTLP. A collector that refuses them is reported once."""
        try:
            self._metrics = self._metrics or otlp.MetricsPush()
            was_taken = self._metrics.push(db)
        except SQLAlchemyError:
            return  # the database is away, which `check` reports
        if was_taken is self._pushes_fail:
            self._say("OTEL_EXPORTER_OTLP_ENDPOINT " + ("takes metrics again" if was_taken else "takes no metrics"))
        self._pushes_fail = not was_taken

    def ping(self, url: str) -> None:
        """Send the heartbeat that all is well. A failure is reported once, without the address, which may be secret."""
        try:
            httpx.get(url, timeout=PING_TIMEOUT_S, follow_redirects=False).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if not self._pings_fail:
                self._say(f"KORDANT_HEARTBEAT_URL does not take the ping ({type(error).__name__})")
            self._pings_fail = True
            return
        if self._pings_fail:
            self._say("KORDANT_HEARTBEAT_URL takes pings again")
        self._pings_fail = False


def _named(parts: Set[str]) -> str:
    return ", ".join(sorted(parts))
