"""Writes letters to brokers and regulators, and the permission that we act on. Pure, but for reading templates.

A letter discloses the least that the broker needs to find the person: the fields that its recipe names, and of those
only what the subscriber gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from email.header import Header
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr
from functools import lru_cache
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.clocks import CLOCKS, Ask, Law, deadlines
from kordant_jobs.domain.removals.replies import MessageKind
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.wording import Wording, wording


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Us, as brokers know us: `address` is the one that gets a token for each request (`removals@kordant.example`)."""

    name: str
    address: str

    def address_of(self, token: str) -> str:
        """The address of one request.

        >>> Agent(name="Kordant", address="removals@kordant.example").address_of("ab12")
        'removals+ab12@kordant.example'
        """
        local, _, domain = self.address.partition("@")
        return f"{local}+{token}@{domain}"

    @property
    def domain(self) -> str:
        """The domain of our addresses and Message-IDs."""
        return self.address.partition("@")[2]

    def message_id(self, message_id: UUID) -> str:
        """The Message-ID of one message: the same in every attempt."""
        return f"<removal.{message_id}@{self.domain}>"


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message to a broker, ready to go; `fields` are what it discloses."""

    subject: str
    body: str = field(repr=False)
    fields: tuple[str, ...]
    ground: str


PERMITTED = ("state", "country", "permission")
"""Disclosed by the permission beside the name: where the subscriber lives (the law depends on it), and itself."""


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__, "letters"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _labels(words: Wording) -> dict[str, str]:
    return {
        "name": words.say("Name"),
        "email": words.say("E-mail"),
        "phone": words.say("Phone"),
        "street": words.say("Street"),
        "city": words.say("City"),
        "state": words.say("State"),
        "postal_code": words.say("Postal code"),
        "country": words.say("Country"),
        "birth_year": words.say("Year of birth"),
        "birth_date": words.say("Date of birth"),
    }


def least(wanted: Sequence[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """The fields to disclose: those that the broker needs and the subscriber gave.

    >>> least(("name", "phone", "city"), {"name": "Ann", "city": "Fresno", "birth_date": "1980-01-01"})
    ('name', 'city')
    """
    return tuple(one for one in wanted if given.get(one))


def write_letter(
    kind: MessageKind,
    *,
    broker: str,
    fronts: Sequence[str],
    wanted: Sequence[str],
    given: Mapping[str, str],
    law: Law,
    ask: Ask,
    language: Locale,
    sent_on: date | None,
    today: date,
    reference: str,
    agent: Agent,
    has_permission: bool,
    authority: str | None = None,
) -> Letter:
    """The request to a broker, or the reminder of one that was sent on a day; that one names the `authority` to which
    the subscriber may complain."""
    words = wording(language)
    fields, labels = least(wanted, given), _labels(words)
    clock = CLOCKS[law]
    dates = deadlines(law, ask, sent_on or today)
    body = (
        _templates()
        .get_template(f"{kind}.{language}.txt")
        .render(
            broker=broker,
            fronts=words.join_list(list(fronts)) if fronts else "",
            permission=has_permission,
            ask=ask.value,
            law=law.value,
            ground=clock.ground,
            confirm_by=dates.confirm_by_on and words.day(dates.confirm_by_on),
            answer_by=words.day(dates.answer_by_on),
            days=clock.answer.number,
            sent_on=sent_on and words.day(sent_on),
            overdue=today > dates.answer_by_on,
            regulator=authority,
            details=[(labels[one], given[one]) for one in fields],
            name=given.get("name", ""),
            sender=agent.name,
            reference=reference,
        )
    )
    subject = (
        words.say("Request to delete personal data")
        if ask is Ask.DELETION
        else words.say("Request to opt out of sale and sharing")
    )
    if kind is MessageKind.REMINDER:
        subject = f"Re: {subject}"
    named = ("name", *fields, *(PERMITTED if kind is MessageKind.REQUEST and has_permission else ()))
    return Letter(
        subject=f"{subject} [{reference}]",
        body=body,
        fields=tuple(dict.fromkeys(one for one in named if one == "permission" or given.get(one))),
        ground=clock.ground,
    )


def write_own_request(
    *, broker: str, wanted: Sequence[str], given: Mapping[str, str], law: Law, ask: Ask, language: Locale, today: date
) -> str:
    """The request to a broker in the subscriber's own name, for the subscriber to send."""
    words = wording(language)
    labels = _labels(words)
    return (
        _templates()
        .get_template(f"own-request.{language}.txt")
        .render(
            broker=broker,
            ask=ask.value,
            ground=CLOCKS[law].ground,
            answer_by=words.day(deadlines(law, ask, today).answer_by_on),
            details=[(labels[one], given[one]) for one in least(wanted, given)],
            name=given.get("name", ""),
        )
    )


def happened(words: Wording, before: RemovalState, after: RemovalState) -> str:
    """One move in the subscriber's words, as a complaint lists it; empty for steps of our own."""
    if before is RemovalState.DRAFT:
        return ""
    return {
        RemovalState.SENT: words.say("the request was sent"),
        RemovalState.BOUNCED: words.say("the request did not arrive"),
        RemovalState.ACKNOWLEDGED: words.say("it confirmed that it had received the request"),
        RemovalState.IN_PROGRESS: words.say("it was at work on the request"),
        RemovalState.EXTENDED: words.say("it took more time"),
        RemovalState.NEEDS_USER_ACTION: words.say("it asked me to do something"),
        RemovalState.NEEDS_IDENTITY: words.say("it asked for more proof of who I am"),
        RemovalState.COMPLETED: words.say("it said that it had removed my data"),
        RemovalState.NO_MATCH: words.say("it said that it held nothing about me"),
        RemovalState.DENIED: words.say("it refused"),
        RemovalState.EXEMPT: words.say("it said that a law lets it keep my data"),
        RemovalState.OVERDUE: words.say("its time to answer was over"),
        RemovalState.VERIFIED_REMOVED: words.say("my data was not on its site"),
        RemovalState.RELISTED: words.say("my data was on its site"),
    }.get(after, "")


def write_complaint(facts: Mapping[str, Any], *, language: Locale) -> str:
    """A complaint that the subscriber can send to the regulator, from facts as the template names them."""
    return _templates().get_template(f"complaint.{language}.txt").render(**facts)


def mail_of(
    letter: Letter,
    *,
    agent: Agent,
    recipient: str,
    token: str,
    message_id: UUID,
    in_reply_to: UUID | None,
    permission: bytes | None,
    now: datetime,
) -> bytes:
    """The letter as a mail (RFC 5322), from the request's own address, with the permission attached."""
    text = MIMEText(letter.body, "plain", "utf-8")
    mail: MIMEMultipart | MIMEText = MIMEMultipart() if permission else text
    mail["From"] = formataddr((agent.name, agent.address_of(token)))
    mail["To"] = recipient
    mail["Subject"] = Header(letter.subject, None if letter.subject.isascii() else "utf-8").encode()
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = agent.message_id(message_id)
    if in_reply_to:
        mail["In-Reply-To"] = mail["References"] = agent.message_id(in_reply_to)
    if permission:
        attached = MIMEApplication(permission, "pdf")
        attached.add_header("Content-Disposition", "attachment", filename="permission.pdf")
        mail.attach(text)
        mail.attach(attached)
    return mail.as_bytes(policy=compat32.clone(linesep="\r\n"))


def permission_page(name: str, given: Mapping[str, str], *, agent: Agent, language: Locale, signed_on: date) -> str:
    """The permission to act for a subscriber, as the HTML of a page; it names no broker, so that one serves all."""
    words = wording(language)
    labels = _labels(words)
    return (
        _templates()
        .get_template("permission.html")
        .render(
            lang=language.value,
            title=words.say("Permission of an authorised agent"),
            text=words.say(
                "I, %(name)s, give %(agent)s permission to submit requests to delete my personal information, and to "
                "opt out of its sale and sharing, to businesses and data brokers on my behalf.",
                name=name,
                agent=agent.name,
            ),
            facts=[
                *((labels[one], given[one]) for one in PERMITTED if one in labels and given.get(one)),
                (words.say("Signed electronically on"), words.day(signed_on)),
            ],
            note=words.say("The permission is limited to these requests and can be withdrawn at any time."),
        )
    )
