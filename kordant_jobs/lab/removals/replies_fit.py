"""Fits the table of the second reader of replies (`reply_words`) on labelled replies of invented brokers.

Only the set marked `training` is read for that; what it is worth is measured on the set marked `judging`, which is of
other brokers.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kordant_jobs.cli.output import print_json, print_table
from kordant_jobs.domain.removals.replies import ReplyClass
from kordant_jobs.jobs.removebrokers_process import reply_words
from kordant_jobs.jobs.removebrokers_process.reply_words import SCALE, WordTable, features
from kordant_jobs.jobs.removebrokers_process.rules_replies import own_words, read_reply, without_our_subject

REPLIES = Path(__file__).parent / "replies.tsv"
TABLE = Path(reply_words.__file__).parent / "reply_words.json"
SEEN_LEAST = 3
"""Replies that a word must be in to count."""
STRENGTH = 30.0
"""The inverse of the penalty on weights; 10 and 30 are alike on replies of brokers that were left out."""


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
    """How well replies are read; `f1` is the mean over classes."""

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


def fit(replies: Sequence[Labelled]) -> WordTable:
    """A table made of these replies. Classes with few replies weigh more each."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    found = [features(without_our_subject(one.subject), own_words(one.text)) for one in replies]
    seen = Counter(word for words in found for word in words)
    rarity = {
        word: math.log((1 + len(found)) / (1 + number)) + 1 for word, number in seen.items() if number >= SEEN_LEAST
    }
    rows = []
    for words in found:
        row = {word: rarity[word] for word in words if word in rarity}
        length = math.sqrt(sum(value**2 for value in row.values())) or 1.0
        rows.append({word: value / length for word, value in row.items()})
    classes = [one.wanted.value for one in replies]
    shares = Counter(classes)
    vectors = DictVectorizer()
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(
        vectors.fit_transform(rows), classes, sample_weight=[shares[one] ** -0.5 * 10 for one in classes]
    )
    weights = {
        word: [round(rarity[word] * SCALE), *(round(value * SCALE) for value in model.coef_[:, place])]
        for word, place in sorted(vectors.vocabulary_.items())
    }
    return WordTable(
        classes=tuple(map(ReplyClass, model.classes_)),
        bias=[round(one * SCALE) for one in model.intercept_],
        words=weights,
    )


def judge(replies: Iterable[Labelled], table: WordTable | None = None) -> Judged:
    """Read replies by the rules and, where none fits, by this table."""
    pairs = [(one.wanted, read_reply(one.subject, one.text, table=table).reply_class) for one in replies]
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


def write(table: WordTable) -> None:
    """Keep the table where the product reads it, a word a line."""
    head: Mapping[str, Any] = {"classes": [one.value for one in table.classes], "bias": list(table.bias)}
    words = ",\n".join(
        f"{json.dumps(word)}: {json.dumps(row, separators=(',', ':'))}" for word, row in table.words.items()
    )
    TABLE.write_text(f'{json.dumps(head)[:-1]}, "words": {{\n{words}\n}}}}\n', "utf-8")


def fit_replies(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, but keep the table that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of a table.")] = False,
) -> None:
    """Fit the second reader of brokers' replies, keep its table, and measure how replies of other brokers are read."""
    everything = labelled()
    training = [one for one in everything if one.which == "training"]
    table = fit(training)
    if not dry_run:
        write(table)
    judged = {
        which: judge((one for one in everything if one.which == which), table) for which in ("training", "judging")
    }
    if as_json:
        print_json({which: {**asdict(one), "done_precision": one.done_precision} for which, one in judged.items()})
        return
    print_table(
        ["set", "replies", "macro F1", "done right", "wrong", "missed"],
        [(which, one.replies, f"{one.f1:.3f}", one.done_right, one.done_wrong, one.done_missed)
         for which, one in judged.items()],
    )  # fmt: skip
