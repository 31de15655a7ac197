"""The program that the fuzzer calls: `python -m kordant_jobs.lab.fuzz.scans_guided FOLDER KEPT -libfuzzer_option=…`.

An input that breaks something is kept in KEPT with a line about it in `found.jsonl`, and fuzzing goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["kordant_jobs.adapters.dumps", "kordant_jobs.jobs.darkwatch_scan"]):
    from kordant_jobs.lab.fuzz.mutations import worse
    from kordant_jobs.lab.fuzz.scans import World, planted, seeds, world_in


class Finder:
    """Judges inputs, and keeps the first of each kind that breaks something."""

    def __init__(self, world: World, kept: Path) -> None:
        self._world, self._kept = world, kept
        self._known = set[str]()

    def __call__(self, data: bytes) -> None:
        """Judge one input."""
        try:
            judged = self._world.judge(data)
            what = "clean though they stand in it" if judged.missed else ""
        except Exception:  # noqa: BLE001 - what is looked for
            what = traceback.format_exc(limit=-2)
        if not what or what in self._known:
            return
        if "clean" not in what:
            self._known.add(what)
        name = hashlib.sha256(data).hexdigest()[:16]
        (self._kept / name).write_bytes(data)
        with (self._kept / "found.jsonl").open("a") as file:
            file.write(json.dumps({"input": name, "what": what}) + "\n")


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own mutation, ours, or a planted address."""
    dice = Random(seed)  # noqa: S311 - dice
    match dice.randrange(3):
        case 0:
            return bytes(atheris.Mutate(data, max_size))
        case 1:
            return worse(data, dice)[:max_size]
    return planted(data, dice)[:max_size]


def main() -> None:
    """Fuzz until libFuzzer's options say to stop."""
    folder, kept = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
    known = folder / "seeds"
    known.mkdir()
    for form in seeds():
        (known / form.name).write_bytes(form.content)
    with world_in(folder) as world:
        atheris.Setup([*sys.argv, str(known)], Finder(world, kept), custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
