"""Texts that mails and reports share. Pure."""

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.wording import Wording


def one_line(text: str, limit: int) -> str:
    """`text` on one line, cut where it is longer than `limit` characters.

    >>> one_line("a  long\\nname", 6)
    'a lon…'
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def severity_word(words: Wording, severity: Severity) -> str:
    """The name of a severity."""
    return {
        Severity.LOW: words.say("Low"),
        Severity.MEDIUM: words.say("Medium"),
        Severity.HIGH: words.say("High"),
        Severity.CRITICAL: words.say("Critical"),
    }[severity]


def removal_state(
    words: Wording,
    state: RemovalState,
    *,
    reminded: bool = False,
    can_check: bool = True,
    can_complain: bool = True,
    is_listed: bool = False,
) -> str:
    """The state of a removal request, in lower case. `reminded`: the broker got a reminder; `can_check`: its site can
    be searched; `can_complain`: a law obliges it; `is_listed`: our last check found the subscriber there."""
    match state:
        case RemovalState.COMPLETED if not can_check:
            return words.say("removed, as the broker says")
        case RemovalState.ESCALATED if is_listed:
            return words.say("still lists you; a complaint is ready for you")
        case RemovalState.RELISTED if not can_complain:
            return words.say("listed again")
    return {
        RemovalState.DRAFT: words.say("about to be sent"),
        RemovalState.QUEUED: words.say("about to be sent"),
        RemovalState.SENT: words.say("sent"),
        RemovalState.ACKNOWLEDGED: words.say("received by the broker"),
        RemovalState.NEEDS_USER_ACTION: words.say("needs you"),
        RemovalState.NEEDS_IDENTITY: words.say("asks for more proof of who you are"),
        RemovalState.IN_PROGRESS: words.say("in progress"),
        RemovalState.EXTENDED: words.say("the broker took more time, as the law allows"),
        RemovalState.COMPLETED: words.say("removed, as the broker says; not yet checked by us"),
        RemovalState.NO_MATCH: words.say("holds nothing about you, as the broker says"),
        RemovalState.DENIED: words.say("refused"),
        RemovalState.EXEMPT: words.say("kept under a law that allows it"),
        RemovalState.CONTACT_MOVED: words.say("the broker's address changed; we look for the new one"),
        RemovalState.BOUNCED: words.say("did not arrive; we try another way"),
        RemovalState.OVERDUE: words.say("overdue; we remind the broker") if reminded else words.say("overdue"),
        RemovalState.ESCALATED: words.say("overdue; a complaint is ready for you"),
        RemovalState.VERIFIED_REMOVED: words.say("removed, checked by us"),
        RemovalState.RELISTED: words.say("listed again; we ask again"),
        RemovalState.CANCELLED: words.say("withdrawn"),
    }[state]
