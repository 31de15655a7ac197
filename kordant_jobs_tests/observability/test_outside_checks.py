"""The doctor's checks of what is outside: the mail server, DNS, operators' notices; each against a real fake."""

from __future__ import annotations

import http.server
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from kordant_jobs.adapters.mail import dkim_record
from kordant_jobs.adapters.mail.dkim_record import public_half
from kordant_jobs.lab.fakes.openid import FakeOpenId
from kordant_jobs.observability.checks import CHECKS
from kordant_jobs.observability.doctor import ExaminedSystem, State, examine
from kordant_jobs_tests.observability.conftest import changed, facts, only, wrong
from kordant_jobs_tests.observability.test_system_checks import listening


def closed_port() -> int:
    with listening() as port:
        return port


@pytest.mark.injects("mail")
def test_a_mail_server_that_is_away_is_reported(healthy: ExaminedSystem) -> None:
    with listening() as port:
        url = SecretStr(f"smtp://user:secret@127.0.0.1:{port}")
        assert "mail" not in wrong(changed(healthy, smtp_url=url))
    found = only(changed(healthy, smtp_url=url), "mail")
    assert found == f"the mail server does not answer on port {port}"


@contextmanager
def dns_server(*texts: str) -> Iterator[tuple[str, int]]:
    """Answers every question with these TXT records; without any, that there is no such name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (asked := server.recvfrom(4096))[0]:
                query = dns.message.from_wire(asked[0])
                answer = dns.message.make_response(query)
                if texts:
                    answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *texts))
                else:
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                server.sendto(answer.to_wire(), asked[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            thread.join()


@pytest.mark.injects("dkim")
def test_a_signing_key_that_dns_does_not_publish_is_reported(healthy: ExaminedSystem, tmp_path: Path) -> None:
    ours, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    path = tmp_path / "dkim.pem"
    path.touch(0o600)
    path.write_bytes(ours.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    signing = changed(healthy, dkim_key_path=path, mail_from="Kordant <alerts@kordant.example>")
    name, key = "kordant._domainkey.kordant.example", public_half(ours)
    split = f'"v=DKIM1; k=rsa; p={key[:200]}" "{key[200:]}"'  # a string of a record holds 255 bytes
    for records, says in (
        ((split,), None),
        ((f'"v=DKIM1; p={public_half(other)[:200]}" "{public_half(other)[200:]}"', split), None),
        ((f'"v=DKIM1; p={public_half(other)[:200]}" "{public_half(other)[200:]}"',), f"DNS has another key at {name}"),
        (('"v=DKIM1; p="',), f"DNS has a withdrawn key at {name}"),
        ((), f"DNS has no key at {name}"),
    ):
        with dns_server(*records) as address:
            system = replace(signing, nameserver=address)
            if says is None:
                assert facts(system, "dkim") == []
            else:
                assert only(system, "dkim") == says


def test_dns_that_does_not_answer_is_no_fault_of_the_key(
    healthy: ExaminedSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dkim_record, "ANSWER_S", 0.2)
    path = tmp_path / "dkim.pem"
    key = rsa.generate_private_key(65537, 2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    system = replace(changed(healthy, dkim_key_path=path), nameserver=address)
    (result,) = examine(system, {"dkim": CHECKS["dkim"]})
    assert result.state is State.SKIPPED
    assert "DNS gives no answer" in result.reason


class _Sink(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.injects("notices")
def test_operators_and_the_heartbeat_are_tried_only_when_asked(healthy: ExaminedSystem) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        system = changed(healthy, alert_urls=SecretStr(f"json://{address}/a json://127.0.0.1:{closed_port()}/b"),
                          heartbeat_url=SecretStr(f"http://{address}/ping"))  # fmt: skip
        assert "notices" not in wrong(system)
        sending = replace(system, sends=True)
        assert only(sending, "notices") == "address 2 of KORDANT_ALERT_URLS took no test notice"
        alone = changed(sending, alert_urls=SecretStr(f"json://{address}/a"))
        assert "notices" not in wrong(alone)
        _Sink.status = 500
        try:
            found = facts(alone, "notices")
        finally:
            _Sink.status = 200
        server.shutdown()
    assert found == [
        "address 1 of KORDANT_ALERT_URLS took no test notice",
        "KORDANT_HEARTBEAT_URL does not take a ping (HTTPStatusError)",
    ]


def _moment(off_s: int) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=off_s)


@pytest.mark.injects("openid")
def test_an_openid_provider_through_which_no_one_can_sign_in_is_reported(healthy: ExaminedSystem) -> None:
    with FakeOpenId() as fake:
        system = changed(healthy, oidc_issuer=fake.url, oidc_client_id="kordant")
        assert "openid" not in wrong(system)
        fake.is_away = True
        assert "could not be asked" in only(system, "openid")
        fake.is_away = False
        assert "says that it is another issuer" in only(changed(system, oidc_issuer=f"{fake.url}/"), "openid")
        for off_s in (-90, 50, 90):
            off = replace(system, clock=partial(_moment, off_s))
            found = [float(one) for fact in facts(off, "openid") for one in re.findall(r"is (\d+) s from", fact)]
            assert found == ([] if off_s == 50 else [pytest.approx(90, abs=3)])  # said to the second
    assert "could not be asked (ConnectError)" in only(system, "openid")
