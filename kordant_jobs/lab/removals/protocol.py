"""The business's side of the Data Rights Protocol: opens what an agent signed."""

import base64
import binascii
from collections.abc import MutableSet
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kordant_jobs import outside_json
from kordant_jobs.adapters.brokers.drp import read_moment

SIGNATURE_BYTES = 64


class Refused(Exception):
    """A signed message that must not be acted on; `step` names the check that it failed."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


def open_signed(
    body: bytes,
    *,
    verify_key: str,
    agent_id: str,
    business_id: str,
    now: datetime,
    seen: MutableSet[bytes] | None = None,
) -> dict[str, Any]:
    """The message of a signed body, checked in the specification's order (§3.07): base64, signature by the key of the
    Bearer's agent, agent, business, not from the future, not expired; then that its signature was not `seen` before.

    Raises:
        Refused: with the step at which it failed.
    """
    try:
        raw = base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("base64") from None
    signature, content = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(verify_key)).verify(signature, content)
    except (InvalidSignature, ValueError, binascii.Error):
        raise Refused("signature") from None
    try:
        message = outside_json.loads(content)
    except ValueError:
        raise Refused("json") from None
    if not isinstance(message, dict):
        raise Refused("json")
    if message.get("agent-id") != agent_id:
        raise Refused("agent-id")
    if message.get("business-id") != business_id:
        raise Refused("business-id")
    issued, expires = read_moment(message.get("issued-at")), read_moment(message.get("expires-at"))
    if issued is None or now < issued:
        raise Refused("issued-at")
    if expires is None or now >= expires:
        raise Refused("expires-at")
    if seen is not None:
        if signature in seen:
            raise Refused("replayed")
        seen.add(signature)
    return message
