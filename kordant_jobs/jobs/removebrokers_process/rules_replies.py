"""Classifies a reply by the rules in `reply_rules.yaml`, with the sentence that decided. Pure, but for reading them.

Only the broker's own words count: `own_words` cuts off what it quotes, our letters above all, which are known by their
text in every language, since mail programs and ticket systems repeat them in too many ways for their marks to be
enough. Where rules disagree, or none fits, a person reads the reply. *Done* and *no match* end a request: they are
believed only in plain words with nothing unknown beside.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from kordant_jobs.domain.removals.replies import Reading, ReplyClass

TEXT_MAX = 20_000
"""Characters of the broker's own words that rules read; a longer reply is a person's."""
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
class Claim:
    """The plain words of a claim: its sentence has no others, and one that fits `must`."""

    words: frozenset[str]
    must: re.Pattern[str]


@dataclass(frozen=True, kw_only=True)
class ReplyRules:
    """All rules, which class counts first, and which classes contradict each other."""

    rules: tuple[ReplyRule, ...]
    order: tuple[ReplyClass, ...]
    conflicts: frozenset[frozenset[ReplyClass]]
    claims: Mapping[ReplyClass, Claim]
    phrases: tuple[re.Pattern[str], ...]
    """Phrases that are plain in any claim."""
    beside: tuple[re.Pattern[str], ...]
    """Sentences that may stand beside a claim."""
    doubts: Mapping[ReplyClass, tuple[re.Pattern[str], ...]]
    """Words anywhere in the reply with which a class is not believed."""


def _compiled(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


@lru_cache(maxsize=1)
def reply_rules() -> ReplyRules:
    """The rules that classify brokers' replies, from `reply_rules.yaml`; read once a process."""
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
        claims={
            ReplyClass(one): Claim(
                words=frozenset(raw["claims"][one]["words"].split()),
                must=re.compile(raw["claims"][one]["must"], re.IGNORECASE),
            )
            for one in ("done", "no_match")
        },
        phrases=_compiled(raw["claims"]["phrases"]),
        beside=_compiled(raw["claims"]["beside"]),
        doubts={ReplyClass(one): _compiled(texts) for one, texts in raw["doubts"].items()},
    )


_CASE = re.compile(
    r"\b(?:ticket|case|reference|ref|request|protocolo|chamado|caso|solicitação|req)\b"
    r"[^\w\n]{0,4}(?:id|number|no|nº|#|ref)?[^\w\n]{0,4}(?:is|é)?[^\w\n]{0,3}([A-Z]{0,6}-?\d{4,14})\b(?![-/.]\d)"
    r"|[\[(]#([A-Z]{0,6}-?\d{4,14})[\])]",
    re.IGNORECASE,
)
_YEAR = re.compile(r"[A-Z]*-?(19|20)\d\d", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>\"')\]]+", re.IGNORECASE)


def case_numbers(text: str) -> tuple[str, ...]:
    """Numbers by which the broker names its case: beside a word or mark for it, and no years.

    >>> case_numbers("Request Received - [#REQ-195698]"), case_numbers("Ticket #317855 was created")
    (('REQ-195698',), ('317855',))
    >>> case_numbers("the Act (2018), your request (2018), ticket 2026-03-02"), case_numbers("[48213] update")
    ((), ())
    """
    found = [(beside or marked).upper() for beside, marked in _CASE.findall(text)]
    return tuple(dict.fromkeys(one for one in found if not _YEAR.fullmatch(one)))[:CASES_MAX]


def read_reply(
    subject: str, *texts: str, sender: str = "", is_automatic: bool = False, is_cut: bool = False
) -> Reading:
    """Classify a reply by the text parts that it has. `sender`: the domain that it comes from; `is_automatic`: its
    headers say that no person wrote it; `is_cut`: it has more text than was read.

    >>> read_reply("Re: request", "We have deleted all your personal data.").reply_class.value
    'done'
    >>> read_reply("Re: request", "Your data will be deleted within 45 days.").reply_class.value
    'in_progress'
    >>> read_reply("Re: request", "We have deleted all your personal data. Bob pays, Ann stays.").rule
    'beside'
    """
    own = [own_words(one) for one in texts]
    cases = case_numbers("\n".join([plain_text(subject), *own])[:TEXT_MAX])
    if is_cut or sum(map(len, own)) > TEXT_MAX:
        return Reading(reply_class=ReplyClass.UNKNOWN, rule="too_long", case_numbers=cases)
    said = [one for part in own for one in sentences(part)]
    matches = _fits([_without_our_subject(plain_text(subject))], said)
    found = _decided(matches)
    doubt = "conflict" if matches else "none"
    if found is not None and (why := _doubt(found, own, said or [matches[found][1]], sender)):
        found, doubt = None, why
    if found is None:
        only = ReplyClass.AUTO_REPLY if is_automatic and not matches else ReplyClass.UNKNOWN
        rule = "headers" if only is ReplyClass.AUTO_REPLY else doubt
        return Reading(reply_class=only, rule=rule, case_numbers=cases)
    decided, sentence = matches[found]
    return Reading(
        reply_class=found,
        rule=decided.id,
        detail=decided.detail or _detail(found, said),
        sentence=sentence,
        case_numbers=cases,
        links=_links(sentence, said),
    )


def _detail(found: ReplyClass, said: Sequence[str]) -> str | None:
    """*Done* says what was done where it is only an opt-out."""
    text = " ".join(said)
    is_opt_out = found is ReplyClass.DONE and _OPT_OUT.search(text) and not _DELETED.search(text)
    return "opt_out" if is_opt_out else None


_OPT_OUT = re.compile(r"\bopt(ed)?[- ]?(you )?out\b|\bsell\b|\bsale\b", re.IGNORECASE)
_DELETED = re.compile(
    r"delet|remov|eras|purg|suppress|wip|scrub|destroy|expung|eliminat|anonymi|taken (down|off)|gone|exclu|apag|elimin",
    re.IGNORECASE,
)


def _doubt(found: ReplyClass, own: Sequence[str], said: Sequence[str], sender: str) -> str | None:
    """Why a class that was found is not believed, if so."""
    if any(one.search(part) for one in reply_rules().doubts.get(found, ()) for part in own):
        return "doubt"
    if found in reply_rules().claims and not _is_plain(found, said, sender):
        return "beside"
    return None


_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\s\w,.;:!()-]")
"""Words, and marks that are none of the usual ones: a quotation mark is not a plain word."""
_PLACES = re.compile(r"https?://\S+|[^\s@<>]+@[^\s@<>]+\w", re.IGNORECASE)


def _is_plain(claim: ReplyClass, said: Sequence[str], sender: str) -> bool:
    """True when every sentence says the claim in plain words, or may stand beside it. The sender's name is plain."""
    rules, plain = reply_rules(), reply_rules().claims[claim]
    words = plain.words | {sender.partition(".")[0]}
    states = [rule for rule in rules.rules if rule.reply_class is claim]

    is_said = False
    for sentence in said:
        rest = _PLACES.sub(" ", sentence.lower())
        for phrase in rules.phrases:
            rest = phrase.sub(" ", rest)
        if (
            plain.must.search(sentence)
            and any(rule.fits(sentence) for rule in states)
            and all(word in words for word in _WORD.findall(rest))
        ):
            is_said = True
        elif not any(one.search(sentence) or one.search(rest.strip()) for one in rules.beside):
            return False
    return is_said


def _links(sentence: str, said: Sequence[str]) -> tuple[str, ...]:
    """The links of the deciding sentence, else of the first one after it that has any."""
    start = said.index(sentence) if sentence in said else 0
    found = next((links for one in said[start:] if (links := _LINK.findall(one))), [])
    return tuple(dict.fromkeys(one.rstrip(".,;") for one in found))[:LINKS_MAX]


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


SENTENCE_MAX = 600
RUN = 4
"""Words in a row that a letter of ours has, too."""
OURS_FROM = 0.6
"""The share of a sentence's words in such runs from which on it is ours."""

_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\uff07", "'"))


def plain_text(text: str) -> str:
    """Text as it is seen: without characters that have no width, with plain spaces and apostrophes.

    >>> plain_text("has\\u00a0n\\u200bot been dele\\u00adted; wasn\\u2019t")
    "has not been deleted; wasn't"
    """
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).translate(_APOSTROPHES)


_QUOTED_LINE = re.compile(r"^\s*>")
_NO_WORDS = re.compile(r"^\s*(_{8,}|##- .{0,80} -##)\s*$")
"""Lines that mail programs and ticket systems write around a reply."""
_ATTRIBUTION = re.compile(
    r"^[ \t]*(on|em|no dia|at)\b(?=[^\n]{0,200}(?:\n[^\n]{1,200}){0,2}?[\d@<])[^\n]{0,200}(?:\n[^\n>]{1,200}){0,2}?"
    r"\b(wrote|escreveu):[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(
    r"^[ \t*]*(from|de)[ \t*]*:[^\n]{1,200}\n(?:[^\n]{1,200}\n){0,2}?"
    r"[ \t*]*(sent|date|to|enviad[oa]( em)?|data|para)[ \t*]*:"
    r"|^[ \t]*-{2,}[ \t]*(original message|forwarded message|mensagem original|mensagem encaminhada)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Where the mail that is answered begins; from there to the end it is quoted."""


def own_words(text: str) -> str:
    """The reply without what it quotes.

    >>> own_words("Done.\\n\\nOn Mon, 2 Mar 2026, Kordant wrote:\\n> please delete\\n\\nRegards")
    'Done.\\n\\n\\n\\nRegards'
    >>> own_words("See below.\\n\\nDe: Kordant\\nEnviado: segunda-feira\\nSe não mantêm dados, pedimos que o digam.")
    'See below.'
    """
    whole = plain_text(text).replace("\r\n", "\n").replace("\r", "\n")
    if header := _HEADER.search(whole):
        whole = whole[: header.start()]
    while quoted := _ATTRIBUTION.search(whole):
        rest = whole[quoted.end() :]
        # answers below a quotation are the broker's; a quotation without marks goes on to the end
        whole = whole[: quoted.start()] + (rest if _QUOTED_LINE.match(rest.lstrip("\n")) else "")
    kept = [one for one in whole.split("\n") if not _QUOTED_LINE.match(one) and not _NO_WORDS.match(one)]
    return "\n".join(kept).strip()


_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[^\s])")


def sentences(text: str) -> list[str]:
    """The sentences of a text, without those of our letters; lines that were wrapped are put together. One that is very
    long is cut into several.

    >>> sentences("We have received\\nyour request. Thank you!\\n\\n- Privacy team")
    ['We have received your request.', 'Thank you!', '- Privacy team']
    >>> sentences("Noted. If you hold nothing, please say so.")
    ['Noted.']
    """
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*•\d])", text):
        for one in _SENTENCE.split(" ".join(paragraph.split())):
            if one and not is_ours(one):
                found += [one[start : start + SENTENCE_MAX] for start in range(0, len(one), SENTENCE_MAX)]
    return found


_LETTER_WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=1)
def _our_runs() -> frozenset[tuple[str, ...]]:
    runs: set[tuple[str, ...]] = set()
    for letter in files(__package__).joinpath("letters").iterdir():
        if letter.name.endswith(".txt"):
            for fixed in re.split(r"\{[%{].*?[%}]\}", letter.read_text("utf-8")):
                words = _LETTER_WORD.findall(fixed.lower())
                runs.update(tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return frozenset(runs)


def is_ours(sentence: str) -> bool:
    """True when a sentence is one of our letters to brokers.

    >>> is_ours("Se não mantêm dados, pedimos que o digam."), is_ours("We do not hold personal information about you.")
    (True, False)
    """
    words = _LETTER_WORD.findall(sentence.lower())
    ours = {
        place
        for start in range(len(words) - RUN + 1)
        if tuple(words[start : start + RUN]) in _our_runs()
        for place in range(start, start + RUN)
    }
    return bool(ours) and len(ours) >= OURS_FROM * len(words)
