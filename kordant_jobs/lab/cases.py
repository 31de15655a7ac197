"""`kordant-jobs read-cases FOLDER`: reads each case of a folder and prints a line about it.

A case is a folder with an input and `expected.txt`, which names what is to be found ('email    ann@example.com', a line
each), what may be found besides ('allowed beside: [('username', 'ann')]'), or that the input is to be refused. Found
identifiers are compared as sets; values are shown masked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.cli.output import out
from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.errors import DumpUnreadable

LIMITS = DumpLimits(max_bytes=1 << 40, max_ratio=200)
_EXPECTED = re.compile(r"^\s+(\w+)\s+(\S.*?)\s*$", re.MULTILINE)
_BESIDE = re.compile(r"allowed beside: (\[.*?\])\)?:?$", re.MULTILINE)
_PAIR = re.compile(r"\('(\w+)', '([^']*)'\)")
_LISTED_MAX = 4
"""Longer lists of what is allowed are cut in these files: any of the same kinds is allowed then."""
_KINDS = frozenset(str(kind) for kind in IdentifierKind)
_OTHER_FILES = frozenset(("how.txt", "expected.txt"))

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one case."""

    name: str
    missed: frozenset[Pair] = frozenset()
    wrong: frozenset[Pair] = frozenset()
    note: str = ""
    skipped: bool = False
    """True if it is not a case for the reader of dumps; `note` says why."""

    @property
    def is_right(self) -> bool:
        """True if the result is as expected."""
        return not (self.missed or self.wrong or self.note.startswith("!"))


def outcomes(folder: Path, region: str = "US") -> list[Outcome]:
    """Each case of the folder that is an input for the reader of dumps."""
    found = []
    for case in sorted(path for path in folder.iterdir() if (path / "expected.txt").is_file()):
        text = (case / "expected.txt").read_text()
        inputs = [path for path in sorted(case.iterdir()) if path.name not in _OTHER_FILES]
        if not inputs:
            found.append(Outcome(name=case.name, note="it has no input of its own", skipped=True))
        elif not ("Should be found" in text or text.startswith("Refused")):
            found.append(Outcome(name=case.name, note=f"no dump: {text.partition(chr(10))[0][:80]}", skipped=True))
        else:
            found.append(outcome(case.name, inputs[0], text, region))
    return found


def outcome(name: str, path: Path, text: str, region: str) -> Outcome:
    """One case."""
    listed, _, _ = text.partition("\nIf the shape")
    expected = frozenset((kind, who) for kind, who in _EXPECTED.findall(listed) if kind in _KINDS)
    cut = re.search(r"all (\d+) in the file", listed)
    try:
        with open_dump(path, limits=LIMITS, phone_region=region) as dump:
            got = frozenset(
                (str(kind), str(who))
                for batch in dump.batches()
                for kind, who in batch.records.select("kind", "identifier").iter_rows()
            )
            note = f"{dump.shape}; {dump.ledger.problem() or 'read'}"
    except DumpUnreadable as error:
        return Outcome(name=name, missed=expected, note=f"refused: {error}")
    if cut is not None:
        short = len(got) != int(cut[1])
        return Outcome(name=name, missed=expected - got, note=f"{'!' * short}{len(got)} of {cut[1]} found; {note}")
    wrong = {pair for pair in got - expected if not _is_allowed(pair, listed)}
    return Outcome(name=name, missed=expected - got, wrong=frozenset(wrong) if expected else frozenset(), note=note)


def _is_allowed(pair: Pair, text: str) -> bool:
    """True if the case allows this pair beside the expected ones.

    >>> _is_allowed(("username", "ann"), "Should be found (2; allowed beside: [('username', 'ann')]):")
    True
    """
    beside = _BESIDE.search(text)
    listed = [(kind, who) for kind, who in _PAIR.findall(beside[1])] if beside else []
    return pair in listed or (len(listed) >= _LISTED_MAX and pair[0] in {kind for kind, _ in listed})


def _shown(pairs: frozenset[Pair]) -> str:
    listed = sorted(f"{kind} {mask(IdentifierKind(kind), who)}" for kind, who in pairs)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def read_cases(
    folder: Annotated[Path, typer.Argument(help="Each case is a folder in it.", exists=True, file_okay=False)],
    region: Annotated[str, typer.Option(help="The country of numbers without a country code.")] = "US",
) -> None:
    """Read the cases of a folder and print a line about each. Exit code 1 when one is not as expected."""
    found = outcomes(folder, region)
    for one in found:
        words = [f"missed {_shown(one.missed)}"] if one.missed else []
        words += [f"wrong {_shown(one.wrong)}"] if one.wrong else []
        verdict = "passed over" if one.skipped else "right" if one.is_right else "WRONG"
        out.print(f"{verdict:11}  {one.name}  {'; '.join([*words, one.note])}", markup=False, highlight=False)
    judged = [one for one in found if not one.skipped]
    right = sum(one.is_right for one in judged)
    out.print(f"{right} of {len(judged)} right, {len(found) - len(judged)} passed over", highlight=False)
    raise SystemExit(0 if right == len(judged) else 1)
