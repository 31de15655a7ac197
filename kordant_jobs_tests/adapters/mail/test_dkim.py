"""DKIM signatures, as another program (dkimpy) verifies them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kordant_jobs.adapters.mail.dkim import DkimSigner, read_signer
from kordant_jobs.errors import SettingsError

MAIL = (
    b"From: Kordant <alerts@kordant.example>\r\nTo: ann@mail.example\r\nSubject: =?utf-8?b?QXRlbsOnw6Nv?=\r\n"
    b" =?utf-8?b?QXRlbsOnw6Nv?=\r\nDate: Fri, 12 Jun 2026 15:30:00 +0000\r\nMessage-ID: <7@kordant.example>\r\n"
    b"List-Unsubscribe: <https://k.example/unsubscribe/abc>,\r\n <mailto:out@k.example>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\nX-Other:  any \r\n\r\n"
    b"Hello  Ann, \t\r\n\r\nbye.\t\r\n\r\n\r\n"
)
RSA = rsa.generate_private_key(65537, 2048)


def verified(content: bytes) -> bool:
    public = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    return bool(dkim.verify(content, dnsfunc=lambda name, **_: record if name.startswith(b"k1._domainkey.") else None))


def test_another_program_verifies_what_we_sign() -> None:
    signed = DkimSigner("kordant.example", "k1", RSA)(MAIL)
    assert signed.endswith(MAIL)
    assert verified(signed)
    assert max(map(len, signed.split(b"\r\n"))) < 200


def _change(before: bytes, after: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: signed.replace(before, after)


@pytest.mark.parametrize(
    "change",
    [
        _change(b"/unsubscribe/abc", b"/unsubscribe/xyz"),
        _change(b"=One-Click", b"=Never"),
        _change(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
        _change(b"bye.", b"pay."),
        _change(b"To: ann", b"To: eve"),
        lambda signed: b"Subject: another\r\n" + signed,
        lambda signed: b"From: eve@evil.example\r\n" + signed,
    ],
)
def test_a_change_to_what_counts_breaks_the_signature(change: Callable[[bytes], bytes]) -> None:
    assert not verified(change(DkimSigner("kordant.example", "k1", RSA)(MAIL)))


@pytest.mark.parametrize("name", ["from", "to", "subject"])
def test_a_header_that_readers_show_is_named_once_more_than_it_is_there(name: str) -> None:
    """dkimpy refuses a second From by itself; another verifier goes by the list alone."""
    signed = DkimSigner("kordant.example", "k1", RSA)(MAIL)
    head = signed.partition(b"h=")[2].partition(b";")[0]
    named = b"".join(head.split()).lower().split(b":")
    assert named.count(name.encode()) == 2


def test_what_relays_may_do_leaves_it_whole() -> None:
    signed = DkimSigner("kordant.example", "k1", RSA)(MAIL)
    assert verified(b"Received: by mx.example\r\n" + signed.replace(b"X-Other:  any ", b"X-Other: else"))


def test_a_file_that_holds_no_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="KORDANT_DKIM_KEY_PATH"):
        read_signer("kordant.example", "k1", tmp_path / "absent")
    (tmp_path / "key").write_bytes(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert verified(read_signer("kordant.example", "k1", tmp_path / "key")(MAIL))
