"""Mails over STARTTLS: to a server whose certificate is trusted, and to no other."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kordant_jobs.adapters.mail import SmtpTransport
from kordant_jobs.adapters.mail.smtp import SmtpServer
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.lab.fakes.smtp import FakeSmtpServer
from kordant_jobs.ports import DeliveryOutcome
from kordant_jobs_tests.adapters.mail.test_transports import mail


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of `localhost` with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


def transport_to(fake: FakeSmtpServer, trusted: Path | None) -> SmtpTransport:
    server = SmtpServer(host="localhost", port=int(fake.url.rpartition(":")[2]), tls=False, starttls=True)
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    return SmtpTransport(server, sender="Kordant <k@kordant.example>", context=context)


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_mails_go_encrypted_and_pipelined_to_a_server_that_is_trusted(certificate: Path) -> None:
    with FakeSmtpServer(tls=server_tls(certificate)) as fake:
        found = list(transport_to(fake, certificate).deliver([mail() for _ in range(3)]))
        assert {one.outcome for one in found} == {DeliveryOutcome.DELIVERED}
        assert len(fake.received) == 3


def test_a_server_without_a_trusted_certificate_gets_no_mail(certificate: Path) -> None:
    with FakeSmtpServer(tls=server_tls(certificate)) as fake:
        with pytest.raises(SourceUnavailable, match="KORDANT_SMTP_URL"):
            list(transport_to(fake, None).deliver([mail()]))
        assert fake.received == []


def test_a_server_that_offers_no_encryption_gets_no_mail() -> None:
    with FakeSmtpServer() as fake:
        with pytest.raises(SourceUnavailable, match="kind of encryption"):
            list(transport_to(fake, None).deliver([mail()]))
        assert fake.received == []
