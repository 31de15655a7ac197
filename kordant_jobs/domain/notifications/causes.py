"""The causes of a refused message, by who has to act. Pure."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why a message did not arrive. Only `RECIPIENT` says that an address is of no use."""

    RECIPIENT = "recipient"
    """The address does not exist, is closed, or its owner said stop."""
    REPUTATION = "reputation"
    """The server distrusts us: a block list, a policy, a spam filter, a missing SPF, DKIM or DMARC."""
    RATE = "rate"
    """Not now: too many, too fast, or a mailbox that is full."""
    SETUP = "setup"
    """Our relay, key, topic, project or sender is wrong."""
    UNKNOWN = "unknown"
    """The answer does not say."""


CAUSE_WORDS = {
    Cause.RECIPIENT: "the address",
    Cause.REPUTATION: "our standing with the server",
    Cause.RATE: "too many or a full mailbox",
    Cause.SETUP: "our set-up",
}
"""The explanation of a code for operators."""


def with_cause(code: str | None, cause: Cause) -> str:
    """A code with its cause, for an operator.

    >>> with_cause("smtp 554 5.7.1", Cause.REPUTATION), with_cause("smtp 554", Cause.UNKNOWN)
    ('smtp 554 5.7.1: our standing with the server', 'smtp 554')
    """
    return f"{code or 'no code'}: {CAUSE_WORDS[cause]}" if cause in CAUSE_WORDS else code or "no code"
