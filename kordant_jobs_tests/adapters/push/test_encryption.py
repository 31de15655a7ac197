"""Sealing is what RFC 8291 says: its own example, byte by byte, and what a browser opens."""

import base64
import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec

from kordant_jobs.adapters.push.web_push import LONGEST, point_of, seal
from kordant_jobs.lab.fakes.push import open_sealed


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(_raw(text)), ec.SECP256R1())


CLEAR = b"When I grow up, I want to be a watermelon"
BROWSER = _key("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")
SENDER = _key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
AUTH, SALT = _raw("BTBZMqHH6r4Tts7J_aSIgg"), _raw("DGv6ra1nlYgDCS1FRnbzlw")
SEALED = _raw(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
    "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
"""The example of RFC 8291 §5."""


def test_the_example_of_the_rfc_comes_out_byte_by_byte() -> None:
    browser = point_of(BROWSER.public_key())
    assert seal(CLEAR, browser=browser, auth=AUTH, sender=SENDER, salt=SALT) == SEALED


def test_the_fake_browser_opens_the_example_of_the_rfc() -> None:
    assert open_sealed(SEALED, browser=BROWSER, auth=AUTH) == CLEAR


def test_two_messages_are_sealed_with_different_keys() -> None:
    browser = point_of(BROWSER.public_key())
    assert seal(CLEAR, browser=browser, auth=AUTH)[:86] != seal(CLEAR, browser=browser, auth=AUTH)[:86]


def test_another_browser_cannot_open_it() -> None:
    sealed = seal(CLEAR, browser=point_of(BROWSER.public_key()), auth=AUTH)
    with pytest.raises(InvalidTag):
        open_sealed(sealed, browser=SENDER, auth=AUTH)


def test_what_fits_into_no_record_is_refused() -> None:
    browser = point_of(BROWSER.public_key())
    assert len(seal(os.urandom(LONGEST), browser=browser, auth=AUTH)) == 86 + LONGEST + 17
    with pytest.raises(ValueError, match="at most 4079 bytes"):
        seal(b"x" * (LONGEST + 1), browser=browser, auth=AUTH)
