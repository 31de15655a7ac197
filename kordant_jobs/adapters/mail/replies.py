"""Classifies a mail server's replies: try later, never use this address, or ask an operator. Pure.

It follows RFC 5321 §4.2 (the first digit decides) and RFC 3463 (the enhanced code gives the subject). The words are
read as well, since servers send 5.1.1 or 5.2.1 where a block list or a rate limit was the reason: an address counts as
dead only when no code and no word gives another reason.
"""

import re
from collections.abc import Sequence

from kordant_jobs.domain.notifications.receipts import Cause
from kordant_jobs.ports import DeliveryOutcome

Enhanced = tuple[int, int, int]
"""Class, subject and detail of an enhanced status code."""

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_ADDRESS = re.compile(r"\S{0,320}@\S{0,320}")

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
"""Subject and detail of the permanent codes about the address, unless the words give another reason."""

_FULL = (2, 2)
_NO_DETAIL = frozenset({(0, 0), (1, 0), (2, 0)})

_WORDS = (
    (
        Cause.REPUTATION,
        r"(block|black|deny|reject)[ -]?list|\b(dns)?[rd]bls?\b|spamhaus|spamcop|barracuda|proofpoint|cloudmark|"
        r"reputation|polic(y|ies)|spam|junk|unsolicited|phish|virus|malware|\bspf\b|\bdkim\b|\bdmarc\b|"
        r"not? (pass|accept)\w* authenticat|unauthenticated|\bbanned\b|\bblocked\b|access denied|prohibited|"
        r"client (host|address)|your (ip|host|server|network)|"
        r"reverse dns|\bptr\b|content (filter|reject)|administrat\w+ prohibit|not authori[sz]ed|security",
    ),
    (
        Cause.RATE,
        r"\brate\b|too (many|fast|much|quick)|throttl|exceeded|over ?quota|quota|mailbox (is )?full|full mailbox|"
        r"out of (storage|space)|insufficient|try (again )?later|tempora|busy|timed? ?out|deferr|grey ?list",
    ),
    (
        Cause.SETUP,
        r"relay|authentication (is )?required|must (issue|authenticate|use)|starttls|"
        r"sender (address )?(rejected|refused|unknown|verif)|not allowed to send|bad sender|invalid sender|helo",
    ),
    (
        Cause.RECIPIENT,
        r"(user|recipient|mailbox|account|address)( \S+){0,4} (unknown|not found|not exist|not known)|"
        r"(user|recipient|mailbox|account|address)( \S+){0,4} (disabled|inactive|closed)|"
        r"unknown (user|recipient|mailbox|address)|no such (user|recipient|mailbox|person|address)|"
        r"(does not|doesn'?t|doesnt) (exist|have an? (\S+ )?account)|no mailbox here|not a valid (mailbox|user)",
    ),
)
_PATTERNS = [(cause, re.compile(pattern, re.IGNORECASE)) for cause, pattern in _WORDS]

WORDS_MAX = 4000
"""The most characters of a server's words that are read."""


def enhanced_codes(text: str) -> list[Enhanced]:
    """The enhanced codes in a text, in order. IP addresses are not matched.

    >>> enhanced_codes("550-5.1.1 no\\n550 5.1.1 such user at 192.5.1.1")
    [(5, 1, 1), (5, 1, 1)]
    """
    return [(int(one), int(two), int(three)) for one, two, three in _ENHANCED.findall(text[:WORDS_MAX])]


def cause_of(codes: Sequence[Enhanced], words: str) -> Cause:
    """The reason why a mail was refused for good. Any code or word with a reason other than the address is preferred: a
    wrong guess would silence a person who must be warned.

    >>> cause_of([(5, 1, 1)], "user unknown").value, cause_of([(5, 1, 1)], "on a block list").value
    ('recipient', 'reputation')
    >>> cause_of([(5, 1, 1), (5, 7, 1)], "no").value, cause_of([(5, 2, 1)], "gets mail at a rate that …").value
    ('reputation', 'rate')
    """
    said = _ADDRESS.sub(" ", " ".join(words[:WORDS_MAX].split()))
    heard = {cause for cause, pattern in _PATTERNS if pattern.search(said)}
    if Cause.REPUTATION in heard or any(subject == 7 for _, subject, _ in codes):
        return Cause.REPUTATION
    if Cause.RATE in heard or any(kind == 4 or (subject, detail) == _FULL for kind, subject, detail in codes):
        return Cause.RATE
    if Cause.SETUP in heard:
        return Cause.SETUP
    about = [(subject, detail) for _, subject, detail in codes]
    if about and all(one in NO_SUCH_ADDRESS for one in about):
        return Cause.RECIPIENT
    if Cause.RECIPIENT in heard and all(one in NO_SUCH_ADDRESS | _NO_DETAIL for one in about):
        return Cause.RECIPIENT
    return Cause.UNKNOWN


_OUTCOMES = {Cause.RECIPIENT: DeliveryOutcome.NO_SUCH_ADDRESS, Cause.RATE: DeliveryOutcome.DEFERRED}


def outcome_of(code: int, text: bytes) -> tuple[DeliveryOutcome, str, Cause]:
    """The outcome of a reply, the code to store, and the cause. The text is not stored, since it may quote the address.

    >>> outcome_of(550, b"5.1.1 <jane@example.com>: Recipient address rejected")[:2]
    (<DeliveryOutcome.NO_SUCH_ADDRESS: 'no_such_address'>, 'smtp 550 5.1.1')
    >>> outcome_of(552, b"mailbox full")[0].value, outcome_of(554, b"5.7.1 spam")[0].value
    ('deferred', 'refused')
    >>> outcome_of(550, b"5.1.1 your IP is on a block list")[0].value
    'refused'
    """
    words = text.decode("utf-8", "replace")
    codes = enhanced_codes(words)
    kept = f"smtp {code} {'.'.join(map(str, codes[0]))}" if codes else f"smtp {code}"
    if 200 <= code < 300:
        return DeliveryOutcome.DELIVERED, kept, Cause.UNKNOWN
    if 400 <= code < 500 or (code == 552 and not (codes and codes[0][:2] == (5, 3))):
        return DeliveryOutcome.DEFERRED, kept, Cause.RATE  # RFC 5321 §4.5.3.1.10: 552 for a recipient as 452
    cause = cause_of(codes, words)
    return _OUTCOMES.get(cause, DeliveryOutcome.REFUSED), kept, cause
