"""Classifies a reply by the rules in `reply_rules.yaml`, with the sentence that decided. Pure, but for reading them.

Only the broker's own words count: what it quotes of our letter is cut off first. Where rules disagree, or none fits, a
person reads the reply: *done* in particular is only believed when nothing speaks against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from kordant_jobs.domain.removals.replies import Reading, ReplyClass

TEXT_MAX = 20_000
"""Characters of a reply that are read; answers come first."""
SENTENCE_MAX = 600
CASES_MAX = 5
LINKS_MAX = 20
EMPTY_WORDS = 3
BY_SUBJECT = frozenset(
    {ReplyClass.BOUNCED, ReplyClass.CONTACT_MOVED, ReplyClass.AUTO_REPLY, ReplyClass.CONFIRMATION_LINK}
)
"""Classes that a subject tells even when the body says something else; of others it counts where the body is empty."""


@dataclass(frozen=True, kw_only=True)
class ReplyRule:
    """One rule; a sentence that fits one of `patterns` and none of `unless` is of its class."""

    id: str
    reply_class: ReplyClass
    detail: str | None
    where: str
    patterns: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]

    def fits(self, sentence: str) -> bool:
        """True when this sentence is of its class."""
        return any(one.search(sentence) for one in self.patterns) and not any(
            one.search(sentence) for one in self.unless
        )


@dataclass(frozen=True, kw_only=True)
class ReplyRules:
    """All rules, which class counts first, and which classes contradict each other."""

    rules: tuple[ReplyRule, ...]
    order: tuple[ReplyClass, ...]
    conflicts: frozenset[frozenset[ReplyClass]]
    doubts: Mapping[ReplyClass, tuple[re.Pattern[str], ...]]
    """Words anywhere in the reply with which a class is not believed."""


def _compiled(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


@lru_cache(maxsize=1)
def reply_rules() -> ReplyRules:
    """The rules, read once a process."""
    raw: Mapping[str, Any] = yaml.safe_load(files(__package__).joinpath("reply_rules.yaml").read_text("utf-8"))
    return ReplyRules(
        rules=tuple(
            ReplyRule(
                id=one["id"],
                reply_class=ReplyClass(one["class"]),
                detail=one.get("detail"),
                where=one["where"],
                patterns=_compiled(one["patterns"]),
                unless=_compiled(one.get("unless", ())),
            )
            for one in raw["rules"]
        ),
        order=tuple(ReplyClass(one) for one in raw["order"]),
        conflicts=frozenset(frozenset(ReplyClass(one) for one in pair) for pair in raw["conflicts"]),
        doubts={ReplyClass(one): _compiled(texts) for one, texts in raw["doubts"].items()},
    )


_QUOTED = re.compile(
    r"""^\s*(>|-{2,}\s*(original|forwarded|mensagem)|_{8,}|(on|em|no dia)\b.{4,120}(wrote|escreveu):?\s*$"""
    r"""|(from|de|sent|enviad[oa]( em)?):\s.*@.*$|\#\#- please type your reply)""",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[^\s])")


def own_words(text: str) -> str:
    """The reply without what it quotes.

    >>> own_words("Done.\\n\\nOn Mon, 2 Mar 2026, Kordant wrote:\\n> please delete")
    'Done.'
    """
    kept = []
    for line in text[:TEXT_MAX].replace("\r\n", "\n").split("\n"):
        if _QUOTED.match(line):
            if line.lstrip().startswith(">"):
                continue
            break
        kept.append(line)
    return "\n".join(kept).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a text; lines that were wrapped are put together.

    >>> sentences("We have received\\nyour request. Thank you!\\n\\n- Privacy team")
    ['We have received your request.', 'Thank you!', '- Privacy team']
    """
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*•\d])", text):
        plain = " ".join(paragraph.split())
        found += [one[:SENTENCE_MAX] for one in _SENTENCE.split(plain) if one]
    return found


_CASE = re.compile(
    r"\b(?:ticket|case|reference|ref|request|protocolo|chamado|caso|solicitação|req)\b"
    r"[^\w\n]{0,4}(?:id|number|no|nº|#|ref)?[^\w\n]{0,4}(?:is|é)?[^\w\n]{0,3}([A-Z]{0,6}-?\d{4,14})\b",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[\[(]#?([A-Z]{0,6}-?\d{4,14})[\])]", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>\"')\]]+", re.IGNORECASE)


def case_numbers(text: str) -> tuple[str, ...]:
    """Numbers by which the broker names its case.

    >>> case_numbers("Request Received - [#REQ-195698]"), case_numbers("Ticket #317855 was created")
    (('REQ-195698',), ('317855',))
    """
    found = [one.upper() for one in _BRACKETED.findall(text)]
    found += [one.upper() for one in _CASE.findall(_BRACKETED.sub(" ", text))]
    return tuple(dict.fromkeys(found))[:CASES_MAX]


def read_reply(subject: str, text: str, *, is_automatic: bool = False, is_bounce: bool = False) -> Reading:
    """Classify a reply. `is_automatic`: its headers say that no person wrote it; `is_bounce`: it is a delivery report.

    >>> read_reply("Re: request", "We have deleted all your personal data.").reply_class.value
    'done'
    >>> read_reply("Re: request", "Your data will be deleted within 45 days.").reply_class.value
    'in_progress'
    """
    own = own_words(text)
    links = tuple(dict.fromkeys(one.rstrip(".,;") for one in _LINK.findall(own)))[:LINKS_MAX]
    cases = case_numbers(f"{subject}\n{own}")
    if is_bounce:
        return Reading(reply_class=ReplyClass.BOUNCED, rule="delivery_report", case_numbers=cases)
    matches = _fits([_without_our_subject(subject)], sentences(own))
    found = _decided(matches)
    if found and any(one.search(own) for one in reply_rules().doubts.get(found, ())):
        found = None
    if found is None:
        only = ReplyClass.AUTO_REPLY if is_automatic and not matches else ReplyClass.UNKNOWN
        rule = "headers" if only is ReplyClass.AUTO_REPLY else ("conflict" if matches else "none")
        return Reading(reply_class=only, rule=rule, case_numbers=cases, links=links)
    decided, sentence = matches[found]
    return Reading(
        reply_class=found, rule=decided.id, detail=decided.detail, sentence=sentence, case_numbers=cases, links=links
    )


_OUR_SUBJECT = re.compile(
    r"(re|fw|fwd|res|enc)\s*:|request to delete.*|personal data removal request|pedido de .*", re.I
)


def _without_our_subject(subject: str) -> str:
    """The part of the subject that the broker added to ours."""
    return " ".join(_OUR_SUBJECT.sub(" ", subject).split())


Matches = dict[ReplyClass, tuple[ReplyRule, str]]


def _fits(subject: Sequence[str], body: Sequence[str]) -> Matches:
    """The classes that a sentence fits, each with the first rule and sentence."""
    found: Matches = {}
    is_empty = sum(len(one.split()) for one in body) <= EMPTY_WORDS
    for rule in reply_rules().rules:
        if rule.reply_class in found:
            continue
        by_subject = rule.where == "subject" or (rule.where == "any" and (is_empty or rule.reply_class in BY_SUBJECT))
        places = [*(subject if by_subject else ()), *(body if rule.where != "subject" else ())]
        hit = next((one for one in places if one and rule.fits(one)), None)
        if hit is not None:
            found[rule.reply_class] = (rule, hit)
    return found


def _decided(matches: Mapping[ReplyClass, object]) -> ReplyClass | None:
    rules = reply_rules()
    if any(pair <= set(matches) for pair in rules.conflicts):
        return None
    return next((one for one in rules.order if one in matches), None)
