"""Which SMTP URLs are taken, and what they mean."""

from __future__ import annotations

import pytest

from kordant_jobs.adapters.mail import parse_smtp_url
from kordant_jobs.adapters.mail.smtp import SmtpServer
from kordant_jobs.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://u:p%40ss@mail.example:2525",
            SmtpServer(host="mail.example", port=2525, tls=False, starttls=True, user="u", password="p@ss"),
        ),
        ("smtps://mail.example", SmtpServer(host="mail.example", port=465, tls=True, starttls=False)),
        ("smtp://127.0.0.1", SmtpServer(host="127.0.0.1", port=587, tls=False, starttls=False)),
        ("smtp://relay.lan:25/?starttls=no", SmtpServer(host="relay.lan", port=25, tls=False, starttls=False)),
    ],
)
def test_a_url_says_host_port_and_encryption(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    "url", ["", "mail.example:25", "http://mail.example", "smtp://", "smtp://h:port", "smtp://h/x"]
)
def test_anything_else_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="KORDANT_SMTP_URL is no SMTP URL") as caught:
        parse_smtp_url(url)
    assert "port'" not in str(caught.value)


def test_a_password_never_travels_in_clear() -> None:
    with pytest.raises(SettingsError, match="in clear"):
        parse_smtp_url("smtp://u:secret@relay.lan:25?starttls=no")
