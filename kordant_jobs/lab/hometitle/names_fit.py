"""Fits the tables of `domain.property.likeness` on labelled pairs of invented names, and measures them on others.

Logistic regression on the features, then isotonic regression on half of the pairs that it did not see; kept as at most
40 points. Written to `domain/property/tables/likeness.json` with a version made of what it was fitted on.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kordant_jobs.cli.output import print_json, print_table
from kordant_jobs.domain.property import likeness
from kordant_jobs.domain.property.likeness import Question, Weights, body_features, person_features
from kordant_jobs.domain.property.names import Name, Order, parse
from kordant_jobs.lab.world.county_people import CountyParty, People, written

TABLE = Path(likeness.__file__).parent / "tables" / "likeness.json"
POINTS_MAX = 40
TOWN = 40_000
"""People of the town whose namesakes are the hard pairs of the question 'by a name alone'."""

NAMESAKES_SHARE = 0.05

Features = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """Two names' features, and whether they mean the same."""

    features: Features
    same: bool


JUMBLED_SHARE = 0.02
"""So many names are keyed so badly that only their letters are left."""


def _read(one: CountyParty, rng: random.Random, *, noise: float = 1.0) -> Name:
    name = parse(written(one, rng, noise=noise), Order.SURNAME_FIRST)
    if not name.is_person or rng.random() >= 2 * JUMBLED_SHARE:
        return name
    if rng.random() < 0.5:
        return replace(name, surname=_jumbled(name.surname, rng))
    return replace(name, given=_jumbled(name.given, rng))


def _jumbled(text: str, rng: random.Random) -> str:
    """Its letters in another order, one in six of them lost."""
    letters = rng.sample(text, len(text) - len(text) // 6)
    return "".join(letters)


def parcel_pairs(seed: int, size: int) -> Iterator[Pair]:
    """An owner as two clerks write them; or the owner beside a relative or a stranger, who sometimes has the same given
    name: so many more than by chance, that it never makes them one. Half are the same."""
    rng = random.Random(seed)  # noqa: S311 - invented people
    people = People(rng)
    for _ in range(size):
        one = people.person()
        draw = rng.random()
        stranger = partial(people.person, given=one.given if draw > 1 - NAMESAKES_SHARE else "")
        other = one if draw < 0.5 else people.relative(one) if draw < 0.75 else stranger()
        mine, theirs = _read(one, rng, noise=2), _read(other, rng, noise=2)
        if mine.given and theirs.given:  # a person called Church is read as a body
            yield Pair(person_features(mine, theirs), other is one)


def alone_pairs(seed: int, size: int, among: int = TOWN) -> Iterator[Pair]:
    """A person as they write themselves beside everybody in a town whom a search by keys brings up."""
    rng = random.Random(seed)  # noqa: S311 - invented people
    people = People(rng)
    town = []
    while len(people.all) < among:
        one = people.person()
        town.append(one)
        if rng.random() < 0.5:
            town.append(people.relative(one))
    by_key: dict[str, list[CountyParty]] = {}
    for one in town:
        by_key.setdefault(f"{one.surname[:3]}{one.given[0]}", []).append(one)
    for one in rng.sample(town, min(size, len(town))):
        mine = parse(one.full, Order.GIVEN_FIRST)
        for other in by_key[f"{one.surname[:3]}{one.given[0]}"]:
            theirs = _read(other, rng)
            if mine.given and theirs.given:
                yield Pair(person_features(mine, theirs, among=among), other is one)


def body_pairs(seed: int, size: int) -> Iterator[Pair]:
    """A firm or trust as two clerks write it; or beside another that shares a word or two."""
    rng = random.Random(seed)  # noqa: S311 - invented people
    people = People(rng)
    near = [people.firm() for _ in range(300)]
    for _ in range(size):
        draw = rng.random()
        person = people.person()
        one = rng.choice(near) if draw < 0.7 else people.trust(person) if draw < 0.85 else people.firm(person)
        if rng.random() < 0.5:
            other = one
        elif one.of is not None:
            other = people.trust(people.person())
        elif one.body[0].isdigit() and rng.random() < 0.5:
            other = CountyParty(-1, body=f"{rng.randrange(2, 4000)} {one.body.split(' ', 1)[1]}")
        else:
            alike = [b for b in rng.sample(near, 40) if b.body != one.body and b.body.split()[0] == one.body.split()[0]]
            other = alike[0] if alike else near[(near.index(one) + 1) % len(near)]
        same = other is one or other.body == one.body
        yield Pair(body_features(_read(one, rng, noise=2), _read(other, rng, noise=2)), same)


MAKERS: dict[Question, Callable[[int, int], Iterator[Pair]]] = {
    Question.PARCEL: parcel_pairs,
    Question.ALONE: alone_pairs,
    Question.BODY: body_pairs,
}


def fit(question: Question, seed: int, size: int) -> dict[str, Any]:
    """One table, as it is kept."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    first, second = list(MAKERS[question](seed, size)), list(MAKERS[question](seed + 1, size))
    names = sorted({name for pair in first for name in pair.features})
    model = LogisticRegression(C=10.0, max_iter=2000).fit(*_matrix(first, names))
    features, same = _matrix(second, names)
    raw = model.predict_proba(features)[:, 1]
    smooth = IsotonicRegression(out_of_bounds="clip", y_min=0.0005, y_max=0.9995).fit(raw, same)
    scores, probabilities = smooth.X_thresholds_, smooth.y_thresholds_
    keep = np.unique(np.linspace(0, len(scores) - 1, min(POINTS_MAX, len(scores))).round().astype(int))
    return {
        "bias": round(float(model.intercept_[0]), 4),
        "weights": {name: round(float(weight), 4) for name, weight in zip(names, model.coef_[0], strict=True)},
        "scores": [round(float(scores[at]), 6) for at in keep],
        "probabilities": [round(float(probabilities[at]), 5) for at in keep],
    }


def _matrix(pairs: list[Pair], names: list[str]) -> tuple[Any, Any]:
    rows = np.array([[pair.features.get(name, 0.0) for name in names] for pair in pairs])
    return rows, np.array([pair.same for pair in pairs], dtype=int)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The quality of a table on pairs that it was not fitted on: at the threshold 0.5, and its calibration error."""

    question: Question
    pairs: int
    true_positive: int
    false_positive: int
    false_negative: int
    expected_calibration_error: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.true_positive / max(1, 2 * self.true_positive + self.false_positive + self.false_negative)


def measure(question: Question, seed: int, size: int, table: Weights | None = None) -> Measured:
    """The table on fresh pairs."""
    table = table or likeness.tables()[1][question]
    pairs = list(MAKERS[question](seed, size))
    given = np.array([table.probability(pair.features) for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    predicted = given >= 0.5
    return Measured(
        question=question,
        pairs=len(pairs),
        true_positive=int((predicted & same).sum()),
        false_positive=int((predicted & ~same).sum()),
        false_negative=int((~predicted & same).sum()),
        expected_calibration_error=calibration_error(given, same),
    )


def calibration_error(given: Any, same: Any, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of what was said from what was so, over ten equal bins."""
    places = np.minimum((given * bins).astype(int), bins - 1)
    total = 0.0
    for place in range(bins):
        inside = places == place
        if inside.any():
            total += inside.mean() * abs(given[inside].mean() - same[inside].mean())
    return float(total)


def fit_all(seed: int = 1, size: int = 30_000, on: date | None = None) -> dict[str, Any]:
    """All tables, as they are kept."""
    sizes = {Question.PARCEL: size, Question.ALONE: size // 3, Question.BODY: size}
    tables = {question.value: fit(question, seed, sizes[question]) for question in Question}
    return {"version": f"{on or date(2026, 11, 29):%Y-%m-%d}-seed{seed}-{size}", "tables": tables}


def write(made: dict[str, Any]) -> None:
    """Keep the tables where the product reads them."""
    TABLE.write_text(json.dumps(made, indent=1) + "\n", "utf-8")


def fit_names(
    seed: Annotated[int, typer.Option(help="Same seed, same table.")] = 1,
    size: Annotated[int, typer.Option(min=1000, help="Pairs to fit on.")] = 30_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, but keep the table that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of a table.")] = False,
) -> None:
    """Fit the table of the names score on invented pairs, keep it, and measure it on others."""
    made = fit_all(seed, size)
    if not dry_run:
        write(made)
    rows = []
    for question in Question:
        table = made["tables"][question.value]
        weights = Weights(
            bias=table["bias"],
            weights=table["weights"],
            scores=tuple(table["scores"]),
            probabilities=tuple(table["probabilities"]),
        )
        rows.append(measure(question, seed + 1000, size // 10, weights))
    if as_json:
        print_json({"version": made["version"], "kept": not dry_run, "measured": [asdict(row) for row in rows]})
        return
    print_table(
        ["question", "pairs", "right", "false", "missed", "F1", "calibration error"],
        [
            (row.question.value, row.pairs, row.true_positive, row.false_positive, row.false_negative, f"{row.f1:.4f}",
             f"{row.expected_calibration_error:.4f}")
            for row in rows
        ],
    )  # fmt: skip
