"""Every setting, and the only reader of the environment. Each is `KORDANT_<NAME>` in upper case.

No connection is opened here and no file is made but the state folder.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kordant_jobs.bootstrap.state import state_dir
from kordant_jobs.errors import SettingsError

OUR_DEFINITIONS = "kordant_jobs.definitions"


class Settings(BaseSettings):
    """The settings of one process, frozen. Paths default to folders below the state folder."""

    model_config = SettingsConfigDict(env_prefix="KORDANT_", frozen=True, extra="ignore")

    database_url: SecretStr | None = Field(
        None, description="Postgres of your own, postgresql://user:password@host/database; unset: embedded."
    )
    master_key: SecretStr | None = Field(
        None,
        description="32 bytes, base64; unset: the file `master_key_file`, made when absent and embedded.",
    )
    master_key_path: Path | None = Field(None, description="A file that holds the master key, mode 0600.")
    drop_dir: Path | None = Field(None, description="Where breach dumps are dropped.")
    corpus_dir: Path | None = Field(None, description="Where ingested dumps are kept, blinded.")
    reports_dir: Path | None = Field(None, description="Where PDF reports are kept.")
    reports_url: str | None = Field(
        None,
        description="Where PDF reports are kept instead, for fsspec: s3://bucket/folder (needs the extra `s3`; "
        "credentials and AWS_ENDPOINT_URL as any AWS program takes them). Unset: `reports_dir`.",
    )
    maildir: Path | None = Field(None, description="Where mails go when no SMTP server is set.")
    smtp_url: SecretStr | None = Field(
        None, description="smtp://user:password@host:587 (STARTTLS) or smtps://host:465; unset: the maildir."
    )
    mail_from: str = Field("Kordant <alerts@kordant.example>", description="The sender of alerts.")
    breach_catalogue: str | None = Field(
        None, description="HIBP model: a file, or https://haveibeenpwned.com/api/v3/breaches; unset: none."
    )
    phone_region: str = Field("US", description="Country of phone numbers written without one (ISO 3166).")
    web_port: int = Field(3000, ge=1, le=65535, description="Port of the UI; the next free one if taken.")
    drop_keep: bool = Field(False, description="Keep dumps in the drop folder once they are ingested.")
    dump_max_bytes: int = Field(
        1 << 40, gt=0, description="A dump that unpacks to more than this many bytes is quarantined."
    )
    dump_max_ratio: int = Field(
        200, gt=1, description="A dump that unpacks to more than this many times its size is quarantined."
    )

    launcher: Literal["warm", "stock"] = Field(
        "warm" if sys.platform == "linux" else "stock",
        description="How runs start: forked from a warm process, with the queue (Linux), or as Dagster does.",
    )
    definitions_module: str = Field(OUR_DEFINITIONS, description="The module that Dagster loads.")
    lease_s: float = Field(
        15.0, ge=1, description="How long a run may be silent (paused, cut off) before its work is given to another."
    )
    warm_children: int = Field(3, ge=1, le=32, description="Idle children that wait, connected, for a run.")
    warm_running: int = Field(16, ge=1, le=256, description="Runs that have a child at the same time; others wait.")
    warm_runs: int = Field(5000, ge=1, description="After this many runs the warm process starts anew.")
    warm_grace_s: float = Field(12.0, gt=0, description="What a run gets to end when the warm process is told to stop.")
    stop_grace_s: float = Field(10.0, gt=0, description="What a run gets to end when it is stopped, before SIGKILL.")

    keep_done_days: float = Field(
        30.0, gt=0, description="Days for which completed requests, good runs and ticks are kept: a month of history."
    )
    keep_failed_days: float = Field(
        90.0, gt=0, description="Days for which dead requests and failed runs are kept, for whoever looks into them."
    )
    keep_tick_days: float = Field(
        2.0, gt=0, description="Days for which ticks of sensors that found nothing to do are kept."
    )
    prune_every_s: float = Field(600.0, gt=0, description="Seconds between two times that the daemon deletes the rest.")

    @cached_property
    def state_dir(self) -> Path:
        """The folder of this checkout's state (see `bootstrap.state`)."""
        return state_dir(os.environ)

    @property
    def drop(self) -> Path:
        """The drop folder for breach dumps."""
        return self.drop_dir or self.state_dir / "drop"

    @property
    def corpus(self) -> Path:
        """The folder of blinded dumps."""
        return self.corpus_dir or self.state_dir / "corpus"

    @property
    def reports(self) -> Path:
        """The folder of PDF reports."""
        return self.reports_dir or self.state_dir / "reports"

    @property
    def mails(self) -> Path:
        """The maildir that takes mails when no SMTP server is set."""
        return self.maildir or self.state_dir / "maildir"

    @property
    def key_file(self) -> Path:
        """The file that holds the master key when `master_key` is unset."""
        return self.master_key_path or self.state_dir / "master.key"


def load_settings() -> Settings:
    """Read the environment; as long as it stays the same, the same settings.

    Raises:
        SettingsError: a value is not of its kind; the text names the variable, not its value.
    """
    return _read(tuple((name, os.environ[name]) for name in sorted(os.environ) if _matters(name)))


def _matters(name: str) -> bool:
    """Whether a variable is a setting, or one that the state folder depends on."""
    return name.upper().startswith("KORDANT_") or name in {"HOME", "XDG_STATE_HOME", "TMPDIR"}


@lru_cache(maxsize=4)
def _read(_: tuple[tuple[str, str], ...]) -> Settings:
    """Reading takes 15 ms, and a run asks several times."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        first = error.errors()[0]
        name = "KORDANT_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{name} is wrong: {first['msg']}. See `kordant-jobs settings` for what it takes."
        ) from None
