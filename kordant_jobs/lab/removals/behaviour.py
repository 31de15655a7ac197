"""The behaviours of simulated brokers, and the state that a request to each must end in. The expected ends are written
here by hand, from the behaviour alone: the rules of the job are not asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Behaviour(StrEnum):
    """The kinds of brokers."""

    NEVER = "never answers"
    HONEST = "honest"
    SLOW = "slow"
    BOUNCING = "bounces, and has a form"
    DEAD = "bounces, and has nothing else"
    RETURNING = "returns mails a day later"
    LYING = "says removed, and still lists"
    RELISTING = "lists again after 60 days"
    MORE_IDENTITY = "asks for ever more identity"
    TWICE = "answers twice"
    ELSEWHERE = "answers from another address"
    PORTUGUESE = "answers in Portuguese"
    PHISHING = "sends a phishing link"
    CONFIRMING = "wants a link opened"
    FORM_ONLY = "takes no mail"
    NOT_FOUND = "holds nothing"
    EXEMPT = "exempt"
    PROTOCOL = "honest, over the protocol"
    PROTOCOL_DENIED = "refuses, over the protocol"


B = Behaviour


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A mail that comes some days after a request. `elsewhere`: from a help desk's domain."""

    after_days: int
    text: str
    subject: str = "Re: your request"
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Script:
    """A broker's reaction to each request: its replies, when it removes the listing, when it lists it again."""

    ends: tuple[str, ...]
    replies: tuple[Reply, ...] = ()
    removes_after: int | None = None
    relists_after: int | None = None
    lists: bool = True
    form: bool = False
    rcpt: str | None = None
    """The answer of its mail server to its address."""
    protocol: tuple[tuple[int, str, str | None], ...] = ()
    """Over the protocol: from which day after the request on which status, and why."""


RECEIVED = Reply(after_days=1, text="We have received your request. It will be reviewed.")
DONE = "We have deleted your personal information and removed your listing."

SCRIPTS: Mapping[Behaviour, Script] = {
    B.NEVER: Script(ends=("escalated",)),
    B.HONEST: Script(ends=("verified_removed",), replies=(RECEIVED, Reply(after_days=10, text=DONE)), removes_after=9),
    B.SLOW: Script(
        ends=("verified_removed",),
        replies=(
            Reply(after_days=8, text="We have received your request."),
            Reply(after_days=40, text="We are extending the time to respond to your request by an additional 45 days."),
            Reply(after_days=80, text=DONE),
        ),
        removes_after=79,
    ),
    B.BOUNCING: Script(ends=("needs_user_action",), rcpt="550 5.1.1 no such user", form=True),
    B.DEAD: Script(ends=("contact_moved",), rcpt="550 5.1.1 no such user"),
    B.RETURNING: Script(ends=("needs_user_action",), replies=(Reply(after_days=1, text="RETURN"),), form=True),
    B.LYING: Script(ends=("escalated",), replies=(RECEIVED, Reply(after_days=5, text=DONE))),
    B.RELISTING: Script(
        ends=("verified_removed",), replies=(Reply(after_days=5, text=DONE),), removes_after=4, relists_after=64
    ),
    B.MORE_IDENTITY: Script(
        ends=("needs_identity",),
        replies=(
            Reply(after_days=2, text="Please send us a copy of a government-issued ID."),
            Reply(after_days=12, text="We also need the last four digits of your social security number."),
            Reply(after_days=22, text="Please provide a notarized statement and a utility bill."),
        ),
    ),
    B.TWICE: Script(
        ends=("verified_removed",),
        replies=(
            Reply(after_days=4, text=DONE),
            Reply(after_days=6, text="We could not find any record matching your request."),
        ),
        removes_after=3,
    ),
    B.ELSEWHERE: Script(
        ends=("verified_removed",),
        replies=(
            Reply(after_days=1, text="Your ticket has been created.", elsewhere=True),
            Reply(after_days=7, text=DONE, elsewhere=True),
        ),
        removes_after=6,
    ),
    B.PORTUGUESE: Script(
        ends=("verified_removed",),
        replies=(
            Reply(after_days=1, text="Recebemos sua solicitação."),
            Reply(after_days=9, text="Informamos que seus dados pessoais foram excluídos de nossa base."),
        ),
        removes_after=8,
    ),
    B.PHISHING: Script(
        ends=("needs_user_action",),
        replies=(
            Reply(
                after_days=2, text="To continue, click the link to confirm your request: https://evil-sim.com/confirm"
            ),
        ),
    ),
    B.CONFIRMING: Script(
        ends=("verified_removed",),
        replies=(
            Reply(after_days=1, text="Please confirm your request by clicking this link: https://{domain}/confirm?c=1"),
            Reply(after_days=9, text=DONE),
        ),
        removes_after=8,
    ),
    B.FORM_ONLY: Script(
        ends=("needs_user_action",),
        replies=(Reply(after_days=1, text="We do not accept requests via email. Please submit via our web form."),),
    ),
    B.NOT_FOUND: Script(
        ends=("no_match",),
        replies=(Reply(after_days=3, text="We have no data linked to your email in our system."),),
        lists=False,
    ),
    B.EXEMPT: Script(
        ends=("exempt",),
        replies=(Reply(after_days=6, text="This data is governed by the Fair Credit Reporting Act and exempt."),),
    ),
    B.PROTOCOL: Script(
        ends=("verified_removed",),
        protocol=((0, "open", None), (3, "in_progress", None), (10, "fulfilled", None)),
        removes_after=9,
    ),
    B.PROTOCOL_DENIED: Script(ends=("denied",), protocol=((0, "open", None), (5, "denied", "claim_not_covered"))),
}

NEVER_SHARE = 0.4
"""In a study of 543 California brokers, over 40 % never answered."""


def behaviours(brokers: int) -> list[Behaviour]:
    """The behaviour of each of these brokers: four in ten never answer, the others share the rest.

    >>> found = behaviours(100)
    >>> found.count(Behaviour.NEVER), len(set(found)) == len(Behaviour)
    (41, True)
    """
    never = int(brokers * NEVER_SHARE) + 1
    others = [one for one in Behaviour if one is not Behaviour.NEVER]
    return [B.NEVER] * never + [others[place % len(others)] for place in range(brokers - never)]
