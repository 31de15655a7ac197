"""The causes of a refused message, by the party that has to act. Pure."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """The cause of a failed delivery. Only `RECIPIENT` means that an address is unusable."""

    RECIPIENT = "recipient"
    """The address does not exist, is closed, or its owner said stop."""
    REPUTATION = "reputation"
    """The server distrusts us: a block list, a policy, a spam filter, a missing SPF, DKIM or DMARC."""
    RATE = "rate"
    """A temporary refusal: too many, too fast, or a full mailbox."""
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
