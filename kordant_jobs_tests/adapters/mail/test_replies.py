"""Causes told apart: an address is called dead only when no code and no word speaks of something else."""

from __future__ import annotations

import pytest

from kordant_jobs.adapters.mail.replies import outcome_of
from kordant_jobs.domain.notifications.receipts import Cause
from kordant_jobs.ports import DeliveryOutcome

GONE, LATER, REFUSED = DeliveryOutcome.NO_SUCH_ADDRESS, DeliveryOutcome.DEFERRED, DeliveryOutcome.REFUSED


@pytest.mark.parametrize(
    ("code", "words", "outcome", "cause"),
    [
        (550, "5.1.1 <jane@x.example>: Recipient address rejected: User unknown", GONE, Cause.RECIPIENT),
        (550, "5.1.1 <policy.spam@x.example> unknown", GONE, Cause.RECIPIENT),
        (550, "5.2.1 The email account that you tried to reach is inactive.", GONE, Cause.RECIPIENT),
        (554, "delivery error: dd This user doesn't have a yahoo.com account", GONE, Cause.RECIPIENT),
        (550, "No such user here", GONE, Cause.RECIPIENT),
        (550, "5.1.1 Service unavailable; client host blocked using zen.spamhaus.org", REFUSED, Cause.REPUTATION),
        (550, "5.1.1 Message rejected due to local policy", REFUSED, Cause.REPUTATION),
        (550, "5.4.1 Recipient address rejected: Access denied", REFUSED, Cause.REPUTATION),
        (550, "5.1.10 5.7.26 unauthenticated mail is not accepted (DMARC)", REFUSED, Cause.REPUTATION),
        (550, "5.2.1 gets mail at a rate that prevents further mail", LATER, Cause.RATE),
        (550, "5.2.2 mailbox full", LATER, Cause.RATE),
        (550, "5.1.1 too many recipients, try again later", LATER, Cause.RATE),
        (550, "5.1.2 Relay access denied", REFUSED, Cause.REPUTATION),
        (550, "5.1.8 Sender address rejected: domain not found", REFUSED, Cause.SETUP),
        (550, "no", REFUSED, Cause.UNKNOWN),
        (550, "5.3.0 no such user", REFUSED, Cause.UNKNOWN),
    ],
)
def test_only_the_recipients_cause_calls_an_address_dead(
    code: int, words: str, outcome: DeliveryOutcome, cause: Cause
) -> None:
    found, kept, said = outcome_of(code, words.encode())
    assert (found, said) == (outcome, cause)
    assert "x.example" not in kept


def test_words_without_end_are_read_quickly() -> None:
    for words in ("a" * 10**6 + "@", "user " * 10**5, "sender " * 10**5, "5.1.1 " * 10**5):
        assert outcome_of(550, words.encode())[0] is not DeliveryOutcome.DELIVERED
