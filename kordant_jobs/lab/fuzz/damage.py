"""Every form of a dump × every kind of damage: cut off, NULs, bytes that are no text, mixed line ends, one giant line.

Each person whose address is still in the damaged bytes has to be found, or the dump refused or counted as partly read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from types import MappingProxyType

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.errors import DumpUnreadable
from kordant_jobs.lab.fuzz.scans import standing
from kordant_jobs.lab.world.forms import Form, forms, people

LIMITS = DumpLimits(max_bytes=1 << 40, max_ratio=1_000)
_NO_TEXT = b"\xff\xc3\x81\xed\x80"
_FILLINGS = (b"x", b"ab@ ", b"',")


def _cut(content: bytes, dice: Random, _: int) -> bytes:
    return content[: dice.randrange(1, len(content))]


def _exchanged(content: bytes, dice: Random, share: int, bytes_put: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(max(1, len(content) // share)):
        damaged[dice.randrange(len(content))] = dice.choice(bytes_put)
    return bytes(damaged)


def _nuls(content: bytes, dice: Random, _: int) -> bytes:
    return _exchanged(content, dice, 400, b"\0")


def _no_text(content: bytes, dice: Random, _: int) -> bytes:
    return _exchanged(content, dice, 200, _NO_TEXT)


def _line_ends(content: bytes, dice: Random, _: int) -> bytes:
    return b"".join(line + dice.choice((b"\r\n", b"\n", b"\r")) for line in content.split(b"\n"))


def _giant_line(content: bytes, dice: Random, line_bytes: int) -> bytes:
    place = content.find(b"\n", len(content) // 2) + 1 or len(content)
    filling = dice.choice(_FILLINGS)
    return content[:place] + filling * (line_bytes // len(filling)) + b"\n" + content[place:]


DAMAGES: Mapping[str, Callable[[bytes, Random, int], bytes]] = MappingProxyType(
    {"cut": _cut, "NULs": _nuls, "no text": _no_text, "line ends": _line_ends, "giant line": _giant_line}
)


@dataclass
class Matrix:
    """The results of the damaged forms: how many were read, read in part, refused; and each in which a person was
    missed though it counts as read, or that made the reader fail."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def matrix(folder: Path, *, seed: int, line_bytes: int, times: int = 1, every: int = 1) -> Matrix:
    """Damage each form (or one in `every`) in each way, `times` times, and read it. Giant lines are put into texts."""
    found, dice = Matrix(), Random(seed)  # noqa: S311 - dice
    path = folder / "dump"
    for form in islice(forms(people(10)), 0, None, every):
        for name, damage in DAMAGES.items():
            if name == "giant line" and not form.content.isascii():
                continue
            for _ in range(times):
                content = damage(form.content, dice, line_bytes)
                path.write_bytes(content)
                found.outcomes[f"{name}: {_outcome(form, name, content, path, found)}"] += 1
    return found


def _outcome(form: Form, damage: str, content: bytes, path: Path, matrix: Matrix) -> str:
    got = set[str]()
    try:
        with open_dump(path, limits=LIMITS, phone_region="US") as dump:
            for batch in dump.batches():
                got.update(batch.records["identifier"].to_list())
            problem = dump.ledger.problem()
    except DumpUnreadable:
        return "refused"
    except Exception as error:  # noqa: BLE001 - what is looked for
        matrix.broken.append(f"{form.name}, {damage}: {type(error).__name__}")
        return "failed"
    if problem is not None:
        return "read in part"
    missed = set(standing(content)) - got
    if missed:
        matrix.broken.append(f"{form.name}, {damage}: {len(missed)} missed though it counts as read")
    return "read"
