"""What an SMTP reply means for the mail: later, never to this address, or a matter for an operator. Pure.

RFC 5321 §4.2 (the first digit decides) and RFC 3463 (the enhanced code says of what).
"""

from __future__ import annotations

import re

from kordant_jobs.ports import DeliveryOutcome

_ENHANCED = re.compile(rb"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")

NO_SUCH_ADDRESS = frozenset(
    {
        (1, 1),  # bad destination mailbox address
        (1, 2),  # bad destination system address
        (1, 3),  # bad destination mailbox address syntax
        (1, 6),  # mailbox has moved, no forwarding address
        (1, 10),  # recipient address has a null MX (RFC 7505)
        (2, 1),  # mailbox disabled
    }
)
"""Subject and detail of the permanent codes that speak of the address and of nothing else."""


def outcome_of(code: int, text: bytes) -> tuple[DeliveryOutcome, str]:
    """The outcome that a reply stands for, and its code to keep. The text goes no further: it may quote the address.

    >>> outcome_of(550, b"5.1.1 <jane@example.com>: Recipient address rejected")
    (<DeliveryOutcome.NO_SUCH_ADDRESS: 'no_such_address'>, 'smtp 550 5.1.1')
    >>> outcome_of(552, b"mailbox full")[0].value, outcome_of(554, b"5.7.1 spam")[0].value
    ('deferred', 'refused')
    """
    found = _ENHANCED.match(text)
    detail = b".".join(found.groups()).decode() if found else None
    kept = f"smtp {code} {detail}" if detail else f"smtp {code}"
    if 200 <= code < 300:
        return DeliveryOutcome.DELIVERED, kept
    if 400 <= code < 500 or (code == 552 and not (detail and detail.startswith("5.3."))):
        return DeliveryOutcome.DEFERRED, kept  # 552 for a recipient is to be taken as 452 (RFC 5321 §4.5.3.1.10)
    if found and detail and detail.startswith("5.") and (int(found[2]), int(found[3])) in NO_SUCH_ADDRESS:
        return DeliveryOutcome.NO_SUCH_ADDRESS, kept
    return DeliveryOutcome.REFUSED, kept
