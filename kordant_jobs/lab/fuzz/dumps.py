"""The program that the fuzzer calls: `python -m kordant_jobs.lab.fuzz.dumps FOLDER -libfuzzer_option=…`.

The input's first byte says how it is wrapped; the rest stands as it is between lines that were planted.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kordant_jobs.adapters.dumps", "kordant_jobs.domain.identifiers"]):
    from kordant_jobs.adapters.dumps import Blinder, DumpLimits, DumpShape, open_dump
    from kordant_jobs.domain.identifiers.blinding import BlindingKey
    from kordant_jobs.errors import DumpUnreadable
    from kordant_jobs.lab.world.forms import forms, people

KEY = BlindingKey(key=bytes(32))
BLINDER = Blinder(KEY)
LIMITS = DumpLimits(max_bytes=1 << 24, max_ratio=100, max_line_bytes=4_096, block_bytes=8_192)
PLANTED = [f"planted.{number}@mail.example" for number in range(40)]
LAST = "last@mail.example"
SHAPES = [None, *DumpShape]

Record = tuple[int, bytes]


def read(path: Path, shape: DumpShape | None) -> tuple[list[Record], list[Record], DumpShape, str]:
    """Both ways through a dump: (line, blind index) of each record; and what it was taken for."""
    with open_dump(path, limits=LIMITS, phone_region="US", shape=shape) as dump:
        taken_for, encoding = dump.shape, dump.encoding
        general = [
            (line, KEY.indexes(kind, [identifier])[0])
            for batch in dump.batches()
            for line, kind, identifier, _ in batch.records.iter_rows()
        ]
    with open_dump(path, limits=LIMITS, phone_region="US", shape=shape) as dump:
        compiled = [
            (line, index.tobytes())
            for batch in dump.blinded(BLINDER)
            for line, index in zip(batch.line.tolist(), batch.index, strict=True)
        ]
    return sorted(set(general)), sorted(set(compiled)), taken_for, encoding


def one_input(data: bytes, path: Path) -> None:
    """Raises AssertionError when the ways differ or what was planted is not found."""
    how, rest = (data[0], data[1:]) if data else (0, b"")
    planted = how & 1
    head = "".join(f"{address}:secret{n}\n" for n, address in enumerate(PLANTED)).encode() if planted else b""
    content = head + rest + (f"\n{LAST}:secret\n".encode() if planted else b"")
    path.write_bytes(gzip.compress(content, 1) if how & 2 else content)
    shape = DumpShape.COMBO if planted else SHAPES[(how >> 2) % len(SHAPES)]
    try:
        general, compiled, taken_for, encoding = read(path, shape)
    except DumpUnreadable:
        return
    assert general == compiled, "the compiled way differs"  # noqa: S101 - what the fuzzer looks for
    if planted and taken_for is DumpShape.COMBO and encoding in {"utf-8", "utf-8-sig", "cp1252"}:
        found = {index for _, index in compiled}
        assert found.issuperset(KEY.indexes("email", PLANTED)), "a planted address was not found"  # noqa: S101 - as above
        if b"\r" not in rest and len(rest) < LIMITS.max_line_bytes:
            assert KEY.indexes("email", [LAST])[0] in found, "what stands behind damage was not found"  # noqa: S101 - as above


_SEEDS = (
    b"\x01ana@mail.example:pw\n\xe9\xff:x\n",
    b"\x03bob@x.example;5f4dcc3b5aa765d61d8327deb882cf99\r\n",
    b"\x04a@b.example,c,d\n",
    b"\x0cemail,name\nann@mail.example,Ann\n",
    b"\x00+12025550143:pw\n",
    b"\x0cname;dob;ssn;iban;card;domain\nAnn Doe;31.01.1980;536-90-4399;GR1601101050000010547023795;"
    b"4111111111111111;Shop.example\n",
    b'\x10{"first_name": "Ann", "last_name": "Doe", "birthday": "01/31/1980", "cpf": "390.533.447-05"}\n',
)
"""Beside these every form of `lab.world.forms`, whose shape is not given."""


def main() -> None:
    """Fuzz until libFuzzer's options say to stop."""
    folder = Path(sys.argv.pop(1))
    seeds = folder / "seeds"
    seeds.mkdir()
    written = [b"\x00" + form.content for form in forms(people(3))]
    for number, text in enumerate([*_SEEDS, *written]):
        (seeds / str(number)).write_bytes(text)
    path = folder / "dump"
    atheris.Setup([sys.argv[0], *sys.argv[1:], str(seeds)], lambda data: one_input(data, path))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
