"""The doctor's checks of outside services: the mail server, DNS, sign-in, and delivery of operators' notices."""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from kordant_jobs.adapters.mail.dkim_record import public_half, published_keys
from kordant_jobs.adapters.messengers import open_signer
from kordant_jobs.errors import SourceUnavailable, TransientError
from kordant_jobs.observability.alerting import open_operators
from kordant_jobs.observability.doctor import ExaminedSystem, Finding, Skipped, fail
from kordant_jobs.observability.system_checks import ANSWER_S, is_listening


def mail(system: ExaminedSystem) -> Iterator[Finding]:
    """The mail server answers."""
    if not system.has_all_secrets:
        raise Skipped("the API does not have KORDANT_SMTP_URL: `kordant-jobs doctor` in a shell makes this check")
    if system.settings.smtp_url is None:
        raise Skipped("KORDANT_SMTP_URL is unset: mails go to a folder")
    found = urlsplit(system.settings.smtp_url.get_secret_value())
    port = found.port or (465 if found.scheme == "smtps" else 587)
    if not is_listening(found.hostname or "", port):
        yield fail(
            f"the mail server does not answer on port {port}",
            "no mail goes out; they wait in the outbox",
            "correct KORDANT_SMTP_URL, or see to the server",
        )


def dkim(system: ExaminedSystem) -> Iterator[Finding]:
    """DNS publishes the key that mails are signed with."""
    signer = open_signer(system.settings)
    if signer is None:
        raise Skipped("KORDANT_DKIM_KEY_PATH is unset: mails are not signed")
    name = f"{signer.selector}._domainkey.{signer.domain}"
    try:
        published = published_keys(name, nameserver=system.nameserver)
    except TransientError as error:
        raise Skipped(str(error)) from None
    ours = public_half(signer.key)
    if ours not in published:
        found = "another key" if any(published) else "a withdrawn key" if published else "no key"
        yield fail(
            f"DNS has {found} at {name}",
            "receivers find our signatures wrong, and refuse mails or put them among spam",
            f"publish there, as TXT: v=DKIM1; k=rsa; p={ours}",
        )


def openid(system: ExaminedSystem) -> Iterator[Finding]:
    """People can sign in through the OpenID provider."""
    settings = system.settings
    if settings.oidc_issuer is None:
        raise Skipped("KORDANT_OIDC_ISSUER is unset: people sign in with a token")
    from kordant_jobs.adapters.openid import LEEWAY_S, OpenIdProvider

    try:
        there = OpenIdProvider(issuer=settings.oidc_issuer, client_id=settings.oidc_client_id).examine()
    except SourceUnavailable as error:
        yield fail(
            str(error).rstrip(".").removesuffix(": try again"),
            "sign-ins to the console and Dagster's UI fail; sessions that have begun go on",
            "correct KORDANT_OIDC_ISSUER, or see to the provider; tokens of `kordant-jobs tokens create` sign in, too",
        )
        return
    apart_s = abs((there - system.clock()).total_seconds()) if there else 0.0
    if apart_s > LEEWAY_S:
        yield fail(
            f"the clock of the OpenID provider is {apart_s:,.0f} s from this machine's",
            f"its tokens are refused: they may be off by {LEEWAY_S} s",
            "turn on time synchronisation on both",
        )


def notices(system: ExaminedSystem) -> Iterator[Finding]:
    """Operators' notices and the heartbeat arrive (only with --send)."""
    if not system.sends:
        raise Skipped("`kordant-jobs doctor --send` sends a test notice")
    operators = open_operators(system.settings)
    for place in range(len(operators)):
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        text = f"A test of {when}; nothing is wrong."
        if not operators.notify(place, "test: kordant-jobs doctor", text, urgent=False):
            yield fail(
                f"address {place + 1} of KORDANT_ALERT_URLS took no test notice",
                "this operator would get no alert",
                "correct the address; `kordant-jobs alerts test` tries again",
            )
    if system.settings.heartbeat_url is not None:
        try:
            httpx.get(system.settings.heartbeat_url.get_secret_value(), timeout=ANSWER_S).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield fail(
                f"KORDANT_HEARTBEAT_URL does not take a ping ({type(error).__name__})",
                "its receiver believes that everything is down, or would not notice",
                "correct the address, or see to that service",
            )
