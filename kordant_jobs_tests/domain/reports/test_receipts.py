"""What a receipt says is proved by its signature and its place in the chain; whatever was done to it is refused."""

from __future__ import annotations

import base64
import json
import string
from datetime import date
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kordant_jobs.domain.reports.receipts import (
    ALGORITHM,
    TYPE,
    Receipt,
    ReceiptRefused,
    SourceChecked,
    fingerprint,
    key_id,
    key_set,
    public_keys_of,
    sign,
    verify,
    verify_chain,
)

ALPHABET = string.ascii_letters + string.digits + "-_"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = {key_id(KEY.public_key()): KEY.public_key()}


def receipt(number: int = 1, previous: str = "", sub: int = 7) -> Receipt:
    return Receipt(
        iat=1_790_000_000,
        sub=UUID(int=sub),
        number=number,
        previous=previous,
        period="weekly",
        since=date(2026, 9, 14),
        until=date(2026, 9, 21),
        verdict="unknown",
        items=3,
        sources=(
            SourceChecked(source="dumps", verdict="clean", days=7, last=date(2026, 9, 20)),
            SourceChecked(source="hibp", verdict="unknown", reason="rate_limited", days=2, last=date(2026, 9, 19)),
        ),
    )


def chain(count: int, sub: int = 7) -> list[str]:
    lines: list[str] = []
    for number in range(1, count + 1):
        lines.append(sign(receipt(number, fingerprint(lines[-1]) if lines else "", sub), KEY))
    return lines


def resigned(line: str, changed: dict[str, object], *, header: dict[str, str] | None = None) -> str:
    """The same line with another header or payload and the old signature."""
    first, second, third = line.split(".")
    payload = {**json.loads(base64.urlsafe_b64decode(second + "==")), **changed}
    texts = [header or json.loads(base64.urlsafe_b64decode(first + "==")), payload]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in texts), third]
    )


def test_a_receipt_says_what_was_signed_and_the_same_gives_the_same_line() -> None:
    line = sign(receipt(), KEY)
    assert verify(line, PUBLIC) == receipt()
    assert line == sign(receipt(), KEY)
    assert "\n" not in line
    assert len(line) < 1_200


def test_the_key_set_is_all_that_a_stranger_needs() -> None:
    published = json.loads(json.dumps(key_set([KEY.public_key()])))
    assert verify(sign(receipt(), KEY), public_keys_of(published)) == receipt()
    with pytest.raises(ReceiptRefused, match="holds no Ed25519 key"):
        public_keys_of({"keys": [{"kty": "RSA"}, None]})


def test_no_character_of_it_can_be_changed_left_out_or_doubled() -> None:
    line = sign(receipt(), KEY)
    for place in range(len(line)):
        without, doubled = line[:place] + line[place + 1 :], line[: place + 1] + line[place:]
        others = [line[:place] + other + line[place + 1 :] for other in ALPHABET if other != line[place]]
        for changed in (without, doubled, *others[place % 7 :: 7], *(others if place == len(line) - 1 else ())):
            with pytest.raises(ReceiptRefused):
                verify(changed, PUBLIC)
    for cut in range(0, len(line), 7):
        with pytest.raises(ReceiptRefused):
            verify(line[:cut], PUBLIC)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"since": "2026-08-14"}, "changed or cut off"),
        ({"until": "2026-12-31"}, "changed or cut off"),
        ({"iat": 1}, "changed or cut off"),
        ({"sub": str(UUID(int=8))}, "changed or cut off"),
        ({"verdict": "clean"}, "changed or cut off"),
    ],
)
def test_a_receipt_with_another_date_or_owner_is_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ReceiptRefused, match=why):
        verify(resigned(sign(receipt(), KEY), changed), PUBLIC)


def test_other_keys_and_other_algorithms_are_refused() -> None:
    line, kid = sign(receipt(), KEY), key_id(KEY.public_key())
    payload = receipt().model_dump(mode="json")
    with pytest.raises(ReceiptRefused, match="not among those given"):
        verify(sign(receipt(), Ed25519PrivateKey.from_private_bytes(bytes(32))), PUBLIC)
    with pytest.raises(ReceiptRefused, match="signed by EdDSA is wanted"):
        verify(resigned(line, {}, header={"alg": "none", "typ": TYPE, "kid": kid}), PUBLIC)
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    by_public_key = jwt.encode(payload, public, algorithm="HS256", headers={"typ": TYPE, "kid": kid})
    with pytest.raises(ReceiptRefused, match="signed by EdDSA is wanted"):
        verify(by_public_key, PUBLIC)
    with pytest.raises(ReceiptRefused, match="signed by EdDSA is wanted"):
        verify(jwt.encode(payload, KEY, algorithm=ALGORITHM, headers={"typ": "JWT", "kid": kid}), PUBLIC)
    with pytest.raises(ReceiptRefused, match="does not know"):
        verify(jwt.encode({"iat": 1}, KEY, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": kid}), PUBLIC)


@pytest.mark.parametrize(
    "text", ["", "a.b.c", "no receipt", "." * 2, "é.ü.ß", "x" * 200_000, "\ud800.a.b", "e30.e30.e30"]
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ReceiptRefused):
        verify(text, PUBLIC)


def test_a_chain_holds_and_shows_what_was_taken_out_swapped_or_brought_in() -> None:
    lines, others = chain(4), chain(4, sub=8)
    assert [one.number for one in verify_chain(lines, PUBLIC)] == [1, 2, 3, 4]
    assert [one.number for one in verify_chain(lines[1:], PUBLIC)] == [2, 3, 4]
    with pytest.raises(ReceiptRefused, match="some are missing"):
        verify_chain([lines[0], lines[2]], PUBLIC)
    with pytest.raises(ReceiptRefused, match="some are missing"):
        verify_chain([lines[1], lines[0]], PUBLIC)
    with pytest.raises(ReceiptRefused, match="another subscription's"):
        verify_chain([lines[0], others[1]], PUBLIC)
    forked = sign(receipt(2, fingerprint(others[0])), KEY)
    with pytest.raises(ReceiptRefused, match="was not made after"):
        verify_chain([lines[0], forked], PUBLIC)
    with pytest.raises(ReceiptRefused, match="receipt 2: "):
        verify_chain([lines[0], lines[1][:-9]], PUBLIC)
