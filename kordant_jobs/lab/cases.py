"""`python -m kordant_jobs.lab.cases FOLDER`: reads each case of a folder and prints a line about it.

A case is a folder with an input and `expected.txt`, which names what is to be found ('email    ann@example.com', a line
each) or that the input is to be refused. Found identifiers are compared as sets; values are shown masked.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.errors import DumpUnreadable

LIMITS = DumpLimits(max_bytes=1 << 40, max_ratio=200)
_EXPECTED = re.compile(r"^\s+(\w+)\s+(\S.*?)\s*$", re.MULTILINE)
_KINDS = frozenset(str(kind) for kind in IdentifierKind)
_OTHER_FILES = frozenset(("how.txt", "expected.txt"))

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one case."""

    name: str
    missed: frozenset[Pair] = frozenset()
    wrong: frozenset[Pair] = frozenset()
    note: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is as expected."""
        return not (self.missed or self.wrong or self.note.startswith("!"))


def outcomes(folder: Path, region: str = "US") -> list[Outcome]:
    """Each case of the folder that is an input for the reader of dumps."""
    found = []
    for case in sorted(path for path in folder.iterdir() if (path / "expected.txt").is_file()):
        text = (case / "expected.txt").read_text()
        inputs = [path for path in sorted(case.iterdir()) if path.name not in _OTHER_FILES]
        if not inputs or not ("Should be found" in text or text.startswith("Refused")):
            continue
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
    return Outcome(name=name, missed=expected - got, wrong=(got - expected) if expected else frozenset(), note=note)


def _shown(pairs: frozenset[Pair]) -> str:
    listed = sorted(f"{kind} {mask(IdentifierKind(kind), who)}" for kind, who in pairs)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def main(folder: str, region: str = "US") -> int:
    """Print a line a case. Returns 1 when one is not as expected."""
    found = outcomes(Path(folder), region)
    for one in found:
        words = [f"missed {_shown(one.missed)}"] if one.missed else []
        words += [f"wrong {_shown(one.wrong)}"] if one.wrong else []
        print(f"{'right' if one.is_right else 'WRONG'}  {one.name}  {'; '.join([*words, one.note])}")  # noqa: T201 - a command
    right = sum(one.is_right for one in found)
    print(f"{right} of {len(found)} right")  # noqa: T201 - as above
    return 0 if right == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
