"""Every setting, and the only reader of the environment. Each is `KORDANT_<NAME>` in upper case.

It opens no connection, and creates only the state folder.
"""

import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from email.utils import parseaddr
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, Json, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from kordant_jobs.bootstrap.state import state_dir
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.errors import SettingsError
from kordant_jobs.redaction import redact


class Settings(BaseSettings):
    """The settings of one process, frozen. Paths default to folders below the state folder."""

    model_config = SettingsConfigDict(env_prefix="KORDANT_", frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = Field(
        None, description="Postgres of your own, postgresql://user:password@host/database; unset: embedded."
    )
    database_direct_url: SecretStr | None = Field(
        None,
        description="The same database past a PgBouncer in transaction mode, where `database_url` leads to one: for "
        "LISTEN, locks and Dagster's own tables.",
    )
    master_key: SecretStr | None = Field(
        None,
        description="32 bytes, base64; unset: the file `master_key_path`, made when absent and embedded. During a "
        "rotation: the new key, a blank, the old one.",
    )
    master_key_command: SecretStr | None = Field(
        None, description="A command that prints the master key in base64, as a KMS client's; no shell reads it."
    )
    master_key_path: Path | None = Field(None, description="A file that holds the master key, mode 0600.")
    drop_dir: Path | None = Field(None, description="Where breach dumps are dropped.")
    drop_url: str | None = Field(
        None,
        description="Where breach dumps are dropped instead, for fsspec: s3://bucket/drop (as `reports_url`); new ones "
        "are seen within a minute.",
    )
    corpus_dir: Path | None = Field(None, description="Where ingested dumps are kept, blinded.")
    corpus_url: str | None = Field(
        None, description="The same, elsewhere: an address that fsspec knows, as s3://bucket/corpus (needs s3fs)."
    )
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
    mail_per_person_hour: int | None = Field(
        6, ge=1, description="Messages to one address of a subscriber in an hour; what is more goes out as one."
    )
    mail_domain_per_s: float | None = Field(
        None,
        gt=0,
        description="Mails a second to the servers of one domain, and as many at once; unset: as fast as they go.",
    )
    dkim_key_path: Path | None = Field(None, description="RSA key in PEM that mails are signed with; unset: unsigned.")
    dkim_selector: str = Field("kordant", description="Where its public half is: <selector>._domainkey.<domain>.")
    public_url: str | None = Field(
        None,
        description="https://… under which `notifications serve` is reached; unset: no links in mails, and `up` "
        "does not start it.",
    )
    public_port: int = Field(
        3080, ge=1, le=65535, description="Port of `notifications serve` on loopback, which `public_url` leads to."
    )
    unsubscribe_mailto: str | None = Field(None, description="An address that takes unsubscriptions by mail.")
    webhook_secret: SecretStr | None = Field(None, description="Signs what is posted to /callbacks/delivery (HMAC).")
    fcm_service_account: Path | None = Field(None, description="Key file of a Google service account: turns FCM on.")
    apns_key_path: Path | None = Field(
        None, description="APNs authentication key (.p8), with id, team and topic: APNs."
    )
    apns_key_id: str = Field("", description="The APNs key's id.")
    apns_team_id: str = Field("", description="The Apple team's id.")
    apns_topic: str = Field("", description="The app's bundle id.")
    apns_sandbox: bool = Field(False, description="Send to Apple's sandbox.")
    vapid_key_path: Path | None = Field(None, description="P-256 key in PEM: turns Web Push on.")
    vapid_contact: str = Field("mailto:ops@kordant.example", description="Whom push servers write to about us.")
    web_push_services: str = Field(
        "fcm.googleapis.com,*.push.services.mozilla.com,*.notify.windows.com,*.push.apple.com",
        description="Hosts of the push servers of Chrome, Firefox, Edge and Safari; to others nothing is posted.",
    )
    twilio_account_sid: str | None = Field(None, description="Twilio account (AC…), with token and sender: SMS.")
    twilio_auth_token: SecretStr | None = Field(None, description="Its token; callbacks are signed with it, too.")
    twilio_sender: str = Field("", description="A number in E.164, or a messaging service (MG…).")
    breach_catalogue: str | None = Field(
        None, description="HIBP model: a file, or https://haveibeenpwned.com/api/v3/breaches; unset: none."
    )
    hibp_api_key: SecretStr | None = Field(
        None, description="Key of Have I Been Pwned; unset: it is not asked about anybody."
    )
    hibp_url: str = Field("https://haveibeenpwned.com/api/v3", description="Where Have I Been Pwned is.")
    hibp_watch: bool = Field(
        False, description="Ask Have I Been Pwned every minute whether there is a new breach; needs no key."
    )
    leakcheck_api_key: SecretStr | None = Field(None, description="Key of LeakCheck Pro.")
    leakcheck_public: bool = Field(
        False, description="Ask LeakCheck's public API (e-mail addresses as part of a hash) where there is no key."
    )
    leakcheck_url: str = Field("https://leakcheck.io/api", description="Where LeakCheck is.")
    xposedornot: bool = Field(False, description="Ask XposedOrNot, which gets e-mail addresses as they are.")
    xposedornot_url: str = Field("https://api.xposedornot.com", description="Where XposedOrNot is.")
    sources_budget_s: float = Field(
        45.0, gt=0, description="How long one scan asks outside sources; what is left is asked by a later one."
    )
    range_webhook_secret: SecretStr | None = Field(
        None, description="What range notifications of Have I Been Pwned prove themselves with; unset: none is taken."
    )

    removals_address: str = Field(
        "removals@kordant.example",
        description="Requests to data brokers come from this address, with +TOKEN before the @; replies go there.",
    )
    removals_inbox_dir: Path | None = Field(None, description="The maildir in which brokers' replies arrive.")
    removals_imap_url: SecretStr | None = Field(
        None, description="imaps://user:password@host: the mailbox with brokers' replies, in place of the maildir."
    )
    removals_web: bool = Field(
        False, description="Open brokers' sites: confirmation links, plain forms, and our own checks of listings."
    )
    drp_agent_id: str = Field("", description="Our id as an authorised agent of the Data Rights Protocol.")
    drp_key_path: Path | None = Field(None, description="Its Ed25519 key: the base64 of the 32-byte seed.")
    models_dir: Path | None = Field(None, description="Where the models of voices are; `models pull` makes them.")
    voice_drop_dir: Path | None = Field(
        None, description="Where clips are dropped: files whose names begin with the subscription's id."
    )
    voice_drop_url: str | None = Field(
        None, description="Where clips are dropped instead, for fsspec: s3://bucket/clips (as `reports_url`)."
    )
    voice_detector: Path | None = Field(
        None, description="The manifest of another detector of synthesis; unset: the screen for older synthesis."
    )
    voice_keep_sound: bool = Field(
        False, description="Keep clips, sealed, once they are analysed; else they are deleted at once."
    )
    counties_dir: Path | None = Field(None, description="Counties of your own, a YAML file each.")
    county_drop_dir: Path | None = Field(None, description="Where counties' files are dropped, a folder a county.")
    socrata_token: SecretStr | None = Field(
        None, description="Application token of Socrata servers; unset: the pool that all without one share."
    )

    pluggy_client_id: str | None = Field(None, description="Client of Pluggy, with its secret: bank data by Pluggy.")
    pluggy_client_secret: SecretStr | None = Field(None, description="Its secret.")
    pluggy_url: str = Field("https://api.pluggy.ai", description="Where Pluggy is.")
    pluggy_webhook_secret: SecretStr | None = Field(
        None, description="What Pluggy's webhooks carry in the header x-kordant-secret; unset: none is taken."
    )
    belvo_secret_id: str | None = Field(None, description="Belvo's secret id, with its password: bank data by Belvo.")
    belvo_secret_password: SecretStr | None = Field(None, description="Its password.")
    belvo_url: str = Field("https://api.belvo.com", description="Where Belvo is.")
    belvo_webhook_secret: SecretStr | None = Field(
        None, description="What Belvo's webhooks carry as a Bearer token; unset: none is taken."
    )
    ofb_banks: Path | None = Field(
        None, description="Banks' own Open Finance Brasil servers, with our certificates: a YAML file (docs/banks.md)."
    )
    bank_drop_dir: Path | None = Field(None, description="Where OFX and CNAB files are dropped, a folder an entity.")
    banks_at_once: int = Field(48, ge=1, le=512, description="Connections that one run reads at the same time.")
    bank_each_at_once: int = Field(8, ge=1, le=128, description="Of one institution, as many at the same time.")

    phone_region: str = Field(
        "US", pattern=r"^[A-Z]{2}$", description="Country of phone numbers written without one (ISO 3166), as BR."
    )
    web_port: int = Field(3000, ge=1, le=65535, description="Port of the UI; the next free one if taken.")
    api_port: int = Field(3090, ge=1, le=65535, description="Port of /api/jobs and /mcp on loopback.")
    bind: str = Field(
        "127.0.0.1",
        pattern=r"^[0-9a-fA-F.:]{2,45}$",
        description="Address on which the API and the pages behind `public_url` listen; in a container 0.0.0.0. "
        "Dagster's own webserver, which has no login, stays on loopback.",
    )
    api_workers: int = Field(
        1, ge=1, le=16, description="Processes that serve the API, on one port; each has some 150 MB."
    )
    api_url: str | None = Field(
        None, description="Where people reach the API and its pages through a proxy of yours, as https://jobs.example."
    )
    oidc_issuer: str | None = Field(
        None,
        description="The OpenID provider through which people sign in to the console and Dagster's UI, as "
        "https://id.example; unset: with tokens only. It returns to <api_url>/console/sign-in/back.",
    )
    oidc_client_id: str = Field("", description="The id that the provider gave us as its client.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="The secret that goes with it; unset: a public client, with PKCE alone."
    )
    oidc_role_claim: str = Field(
        "groups",
        description="The claim of the ID token that gives roles; dots lead into objects, as realm_access.roles.",
    )
    oidc_role_map: Json[dict[str, Literal["admin", "operator"]]] | None = Field(
        None,
        description='Roles by the values of that claim, as {"kordant-ops": "operator"}; a person without one is not '
        "let in.",
    )
    ui_sign_in: bool = Field(
        True,
        description="Whether Dagster's UI stands below /dagster of the API, behind its sign-in. False: it answers "
        "every user of this machine on `web_port`, without one.",
    )
    ui_secret: SecretStr | None = Field(None, description="Set by `up`: what the API shows Dagster's webserver.")
    token: SecretStr | None = Field(None, description="The token that `api mcp` asks the API with.")
    alert_urls: SecretStr | None = Field(
        None,
        description="Recipients of operators' alerts: addresses as Apprise takes them (mailto://…, slack://…, "
        "json://…), with blanks between; unset: no notices, and `alerts list` shows the alerts.",
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="An address that `up` asks for once a minute while the daemon and the database are alive: the "
        "service there raises the alarm when the requests stop; unset: no service is asked.",
    )
    audit_anchor: Path | None = Field(
        None,
        description="A file on other storage that the API appends the audit log's head to, so that rows cut off at its "
        "end are noticed; unset: `audit-anchors.jsonl` in the state folder.",
    )
    drop_keep: bool = Field(False, description="Keep dumps in the drop folder once they are ingested.")
    dump_max_bytes: int = Field(
        1 << 40, gt=0, description="A dump that unpacks to more than this many bytes is quarantined."
    )
    dump_max_ratio: int = Field(
        200, gt=1, description="A dump that unpacks to more than this many times its size is quarantined."
    )

    launcher: Literal["warm", "celery", "k8s", "stock"] = Field(
        "warm" if sys.platform == "linux" else "stock",
        description="How runs start: forked from a warm process here (warm) or on several hosts (celery), "
        "each in a pod (k8s), all with the queue; or as Dagster does (stock).",
    )
    broker_url: SecretStr | None = Field(
        None, description="redis://… through which runs reach the hosts of KORDANT_LAUNCHER=celery."
    )
    host_name: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,63}$", description="This host's name in `hosts list`; unset: the machine's."
    )
    host_runs: int = Field(
        8, ge=1, le=256, description="Runs at the same time on one host (celery), or pods of runs (k8s)."
    )
    code_version: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,63}$",
        description="What names this code: hosts take runs of their own only; unset: a hash of the code.",
    )
    k8s_launcher: Json[dict[str, Any]] | None = Field(
        None, description="The config of dagster-k8s' K8sRunLauncher, as JSON (docs/deploy.md has one)."
    )
    lease_s: float = Field(
        15.0, ge=1, description="How long a run may be silent (paused, cut off) before its work is given to another."
    )
    warm_children: int = Field(3, ge=1, le=32, description="Idle children that wait, connected, for a run.")
    warm_running: int = Field(16, ge=1, le=256, description="Runs that have a child at the same time; others wait.")
    warm_runs: int = Field(5000, ge=1, description="After this many runs the warm process starts again.")
    warm_grace_s: float = Field(
        12.0, gt=0, description="Seconds that a run has to end when the warm process is stopped."
    )
    stop_grace_s: float = Field(10.0, gt=0, description="What a run gets to end when it is stopped, before SIGKILL.")

    keep_done_days: float = Field(
        30.0, gt=0, description="Days for which completed requests, good runs and ticks are kept: a month of history."
    )
    keep_failed_days: float = Field(
        90.0, gt=0, description="Days for which dead requests and failed runs are kept, for their investigation."
    )
    keep_tick_days: float = Field(
        2.0, gt=0, description="Days for which ticks of sensors that found nothing to do are kept."
    )
    keep_mails_days: float = Field(30.0, gt=0, description="Days for which mails stay in the maildir.")
    keep_logs_days: float = Field(30.0, gt=0, description="Days for which logs of ended processes are kept.")
    keep_suppressions_days: float = Field(
        1095.0, gt=0, description="Days for which the keyed hash of an address that gets nothing is kept: three years."
    )
    prune_every_s: float = Field(600.0, gt=0, description="Seconds between two times that the daemon deletes the rest.")

    @property
    def has_queue(self) -> bool:
        """True when our queue serves requests: with every launcher but Dagster's own."""
        return self.launcher != "stock"

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        """Require https, or http on this machine: mails contain it, and the links in them open reports."""
        if value is None:
            return None
        parts = urlsplit(value)  # a ValueError is said as what is wrong
        on_this_machine = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        is_secure = parts.scheme == "https" or (parts.scheme == "http" and on_this_machine)
        if not is_secure or not parts.hostname or parts.query or parts.fragment or parts.username or parts.port == 0:
            raise ValueError("it should be https:// and a host, perhaps with a path")
        if not (on_this_machine or "." in parts.hostname):
            raise ValueError("its host should be one that the world reaches, with a dot in it")
        return value

    @field_validator("hibp_url", "leakcheck_url", "xposedornot_url", "pluggy_url", "belvo_url", "api_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.port == 0:
                raise ValueError("it should be https:// (or http://) and a host, perhaps with a path")
        return value

    @field_validator("corpus_url", "reports_url", "drop_url", "voice_drop_url")
    @classmethod
    def _check_storage(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("it should be an address with ://, as s3://bucket/folder")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _check_issuer(cls, value: str | None) -> str | None:
        """Require https, or http on this machine: the server there decides who is an admin."""
        if value is not None:
            parts = urlsplit(value)
            on_this_machine = parts.hostname in {"localhost", "127.0.0.1", "::1"}
            is_secure = parts.scheme == "https" or (parts.scheme == "http" and on_this_machine)
            if not is_secure or not parts.hostname or parts.query or parts.fragment or parts.username:
                raise ValueError("it should be https:// and the provider's issuer, as its own metadata writes it")
        return value

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        if not _is_address(parseaddr(value)[1]) or not value.isprintable():
            raise ValueError("it should be a name, then an e-mail address in angle brackets")
        return value

    @field_validator("removals_address")
    @classmethod
    def _check_removals_address(cls, value: str) -> str:
        if not _is_address(value) or "+" in value:
            raise ValueError("it should be one e-mail address without a plus sign")
        return value

    @field_validator("unsubscribe_mailto")
    @classmethod
    def _check_unsubscribe_mailto(cls, value: str | None) -> str | None:
        if value is not None and not _is_address(value):
            raise ValueError("it should be one e-mail address, without mailto:")
        return value

    @field_validator("vapid_contact")
    @classmethod
    def _check_vapid_contact(cls, value: str) -> str:
        if not (value.startswith("https://") or (value.startswith("mailto:") and _is_address(value[7:]))):
            raise ValueError("it should be mailto: with an address, or an https:// address (RFC 8292)")
        return value

    @field_validator("twilio_sender")
    @classmethod
    def _check_twilio_sender(cls, value: str) -> str:
        if value and not re.fullmatch(r"\+[1-9]\d{6,14}|MG[0-9a-zA-Z]{1,64}|[A-Za-z0-9 ]{1,11}", value):
            raise ValueError("it should be a number in E.164, a messaging service (MG…), or up to 11 letters")
        return value

    @field_validator("dkim_selector")
    @classmethod
    def _check_dkim_selector(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", value):
            raise ValueError("it should be a label of a domain: letters, digits and hyphens")
        return value

    @cached_property
    def state_dir(self) -> Path:
        """The folder of this checkout's state (see `bootstrap.state`)."""
        return state_dir(os.environ)

    @property
    def drop(self) -> Path:
        """The drop folder for breach dumps."""
        return self.drop_dir or self.state_dir / "drop"

    @property
    def models(self) -> Path:
        """The folder of the models of voices."""
        return self.models_dir or self.state_dir / "models"

    @property
    def voice_drop(self) -> Path:
        """The drop folder for clips."""
        return self.voice_drop_dir or self.state_dir / "voice_drop"

    @property
    def watched_drops(self) -> tuple[Path, ...]:
        """The drop folders of dumps and clips, without those for which there is an object store."""
        pairs = ((self.drop_url, self.drop), (self.voice_drop_url, self.voice_drop))
        folders = (folder if url is None else folder_of(url) for url, folder in pairs)
        return tuple(folder for folder in folders if folder is not None)

    @property
    def counties(self) -> Path:
        """The folder of additional counties."""
        return self.counties_dir or self.state_dir / "counties"

    @property
    def county_drop(self) -> Path:
        """The drop folder for counties' files."""
        return self.county_drop_dir or self.state_dir / "county_drop"

    @property
    def bank_secrets(self) -> Mapping[Provider, str]:
        """The webhook secrets of providers of bank data, where they have one."""
        secrets = {Provider.PLUGGY: self.pluggy_webhook_secret, Provider.BELVO: self.belvo_webhook_secret}
        return {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}

    @property
    def bank_drop(self) -> Path:
        """The drop folder for banks' files."""
        return self.bank_drop_dir or self.state_dir / "bank_drop"

    @property
    def corpus(self) -> Path:
        """The folder of blinded dumps, and of unfinished ones for `corpus_url`."""
        return self.corpus_dir or self.state_dir / "corpus"

    @property
    def reports(self) -> Path:
        """The folder of PDF reports."""
        return self.reports_dir or self.state_dir / "reports"

    @property
    def mails(self) -> Path:
        """The maildir for mails when no SMTP server is set."""
        return self.maildir or self.state_dir / "maildir"

    @property
    def removals_inbox(self) -> Path:
        """The maildir with brokers' replies."""
        return self.removals_inbox_dir or self.state_dir / "removals-inbox"

    @property
    def anchors(self) -> Path:
        """The file of anchors of the audit log, outside the database."""
        return self.audit_anchor or self.state_dir / "audit-anchors.jsonl"

    @property
    def operator_token(self) -> Path:
        """The file with the token of this machine's operator, which `up` makes."""
        return self.state_dir / "operator.token"

    @property
    def key_is_given(self) -> bool:
        """True when the master key comes from the environment, not from `key_file`."""
        return self.master_key is not None or self.master_key_command is not None

    @property
    def key_file(self) -> Path:
        """The file that holds the master key when `master_key` is unset."""
        return self.master_key_path or self.state_dir / "master.key"


_POSTED = frozenset({"webhook_secret", "range_webhook_secret", "pluggy_webhook_secret", "belvo_webhook_secret"})
"""Secrets that prove calls of others to us."""
_KEYS = frozenset({"master_key", "master_key_command"})
_NOT_OF_RUNS = _POSTED | {"oidc_client_secret", "ui_secret", "token", "heartbeat_url", "alert_urls"}
_SECRETS_OF: Mapping[str, frozenset[str]] = {
    "code-server": _KEYS | {"socrata_token", "alert_urls"},  # its sensors ask counties and notify operators
    "pages": _KEYS | (_POSTED - {"range_webhook_secret"}) | {"twilio_auth_token"},
    "api": _KEYS | {"oidc_client_secret"},
}
"""The secrets that a part of `up` needs, without those of runs. Parts that are not listed need none."""


def secret_variables() -> frozenset[str]:
    """The variables with secrets other than the URLs of the database and the broker: keys, tokens, passwords."""
    return _variables(_secret_fields())


def secrets_of(part: str, *, launcher: str) -> frozenset[str]:
    """Those of `secret_variables` that a part of `up` needs in its environment. Runs are executed in the warm process,
    or with Dagster's own launcher below the code server. Further processes of a part have a number or `standby` behind
    its name.

    >>> sorted(secrets_of("api-2", launcher="warm"))
    ['KORDANT_MASTER_KEY', 'KORDANT_MASTER_KEY_COMMAND', 'KORDANT_OIDC_CLIENT_SECRET']
    >>> secrets_of("daemon-standby", launcher="warm")
    frozenset()
    """
    name = re.sub(r"-(standby|[0-9]+)$", "", part)
    needed = _SECRETS_OF.get(name, frozenset[str]())
    if name == ("code-server" if launcher == "stock" else "warm"):
        needed |= _secret_fields() - _NOT_OF_RUNS
    return _variables(needed)


def _secret_fields() -> frozenset[str]:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    return frozenset(secret - {"database_url", "database_direct_url", "broker_url"})


def _variables(fields: frozenset[str]) -> frozenset[str]:
    return frozenset(f"KORDANT_{name.upper()}" for name in fields)


def _is_address(text: str) -> bool:
    """True when a text has the form of one e-mail address. Its domain is not checked."""
    return re.fullmatch(r"[^\s@<>,;:]{1,64}@[^\s@<>,;:.]+(\.[^\s@<>,;:.]+)+", text) is not None


def load_settings() -> Settings:
    """Read the environment. While it is unchanged, the same settings are returned.

    Raises:
        SettingsError: values are not of their kind: a line each, which shows no value that may be secret.
    """
    return _read(tuple((name, os.environ[name]) for name in sorted(os.environ) if _matters(name)))


OURS = frozenset({"KORDANT_STATE_DIR", "KORDANT_DAGSTER_URL", "KORDANT_EMBEDDED", "KORDANT_CODE_SERVER_SOCKET"})
"""Variables that are no field of `Settings`: the place of the state, and values that `up` passes to its processes."""


def unknown_settings(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The variables of `environ` that look like settings but are not, each with the setting that may be meant."""
    names = {f"KORDANT_{name.upper()}" for name in Settings.model_fields} | OURS
    unknown = sorted(name for name in environ if name.upper().startswith("KORDANT_") and name.upper() not in names)
    return {name: next(iter(get_close_matches(name.upper(), names, n=1, cutoff=0.75)), None) for name in unknown}


def folder_of(url: str | None) -> Path | None:
    """The folder that a file:// URL names, as fsspec reads it (nothing is unquoted); None for any other store."""
    return Path(url.removeprefix("file://")) if url is not None and url.startswith("file://") else None


def _matters(name: str) -> bool:
    """True when a variable is a setting, or one that the state folder depends on."""
    return name.upper().startswith("KORDANT_") or name in {"HOME", "XDG_STATE_HOME", "TMPDIR"}


@lru_cache(maxsize=4)
def _read(_: tuple[tuple[str, str], ...]) -> Settings:
    """Read the settings, cached: reading takes 15 ms, and a run needs them several times."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        raise SettingsError("\n".join(_said(one) for one in error.errors())) from None


_FORMS = {
    "int_parsing": "it should be a whole number",
    "int_from_float": "it should be a whole number",
    "float_parsing": "it should be a number",
    "bool_parsing": "it should be true or false",
    "json_invalid": "it should be JSON",
}
"""The right form by Pydantic's kind of error, where its own words are a programmer's."""


def _said(error: ErrorDetails) -> str:
    """A line about one wrong value: the variable, what it holds unless that may be secret, and what is right."""
    name, given = str(error["loc"][0]), str(error["input"])
    field = Settings.model_fields[name]
    is_shown = "SecretStr" not in str(field.annotation) and given.isprintable() and redact(given) == given
    own = re.sub(r"^(Input|String) should", "it should", error["msg"].removeprefix("Value error, "))
    shown = f" ({given[:40]})" if is_shown else ""
    return (
        f"KORDANT_{name.upper()} is wrong{shown}: {_FORMS.get(error['type'], own)}. What it is for: {field.description}"
    )
