"""Labelled replies of invented brokers, and how well the rules read them.

Rules are written for the set marked `training` only; the set marked `judging` is of other brokers. The hard ones are
written to be misread: partial, conditional, undone, about another thing.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kordant_jobs.domain.removals.replies import ReplyClass
from kordant_jobs.jobs.removebrokers_process.rules_replies import read_reply

REPLIES = Path(__file__).parent / "replies.tsv"
HARD = Path(__file__).parent / "hard_replies.tsv"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One reply and what a person reads in it."""

    which: str
    broker: str
    language: str
    wanted: ReplyClass
    subject: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The quality of reading replies; `f1` is the mean over classes."""

    replies: int
    f1: float
    done_right: int
    done_wrong: int
    done_missed: int

    @property
    def done_precision(self) -> float:
        """The share of *done* that was right."""
        return self.done_right / ((self.done_right + self.done_wrong) or 1)


def labelled() -> list[Labelled]:
    """All labelled replies."""
    with REPLIES.open(encoding="utf-8") as file:
        return [
            Labelled(
                which=row["set"],
                broker=row["broker"],
                language=row["language"],
                wanted=ReplyClass(row["class"].partition(":")[0]),
                subject=row["subject"],
                text=row["text"],
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


def hard() -> list[Labelled]:
    """Replies that say *done*, *no match*, *rejected* or *exempt* in so many words, and mostly mean something else."""
    with HARD.open(encoding="utf-8") as file:
        return [
            Labelled(
                which=row["set"], broker="", language=row["language"], wanted=ReplyClass(row["class"]),
                subject="Re: Request", text=row["text"],
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]  # fmt: skip


def judge(replies: Iterable[Labelled]) -> Judged:
    """Read replies by the rules."""
    pairs = [(one.wanted, read_reply(one.subject, one.text, sender=f"{one.broker}.com").reply_class) for one in replies]
    right = Counter(wanted for wanted, found in pairs if wanted is found)
    missed = Counter(wanted for wanted, found in pairs if wanted is not found)
    wrong = Counter(found for wanted, found in pairs if wanted is not found)
    classes = {*right, *missed, *wrong}
    scores = [2 * right[one] / (2 * right[one] + wrong[one] + missed[one]) for one in classes]
    done = ReplyClass.DONE
    return Judged(
        replies=len(pairs), f1=sum(scores) / (len(scores) or 1), done_right=right[done], done_wrong=wrong[done],
        done_missed=missed[done],
    )  # fmt: skip
