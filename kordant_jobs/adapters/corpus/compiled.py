"""Compiles the loops that read, store and look up a dump, so that no scan waits for the compiler.

Set-up runs this module once. A loop that it misses is compiled when it is first used.
"""

import tempfile
from pathlib import Path
from uuid import UUID

import polars as pl

from kordant_jobs.adapters.corpus.place import Corpus
from kordant_jobs.adapters.corpus.shards import Items
from kordant_jobs.adapters.dumps import Blinder, DumpLimits, open_dump
from kordant_jobs.domain.identifiers.blinding import BlindingKey

_LIMITS = DumpLimits(max_bytes=1 << 20, max_ratio=200)


def samples() -> dict[str, str]:
    """A small dump, by file name, for each format with its own loops."""
    forms = {
        "combo.txt": ("", "{mail}:{secret}\n"),
        "names.txt": ("", "{name}:{secret}\n"),
        "table.csv": ("email,phone,password\n", '{mail},"{phone}",{secret}\n'),
        "table.sql": ("", "INSERT INTO `users` (`email`,`phone`,`password`) VALUES ('{mail}','{phone}','{secret}');\n"),
        "change.sql": ("", "UPDATE `users` SET `email`='{mail}', `password`='{secret}' WHERE `id`=1;\n"),
        "lines.jsonl": ("", '{{"email":"{mail}","phone":"{phone}","hash":"{secret}"}}\n'),
        "sites.txt": ("", "https://shop.example/login:{mail}:{secret}\n"),
        "stealer.txt": ("", "URL: https://shop.example\nUsername: {mail}\nPassword: {secret}\n\n"),
        "notes.txt": ("", "call {phone} or write to {mail}, card 4111 1111 1111 1111\n"),
    }
    people = [
        {"name": f"user{n}", "mail": f"user{n}@example.com", "phone": f"+4915112345{n:03}", "secret": f"S3cret-{n}"}
        for n in range(20)
    ]
    return {name: head + "".join(row.format(**one) for one in people) for name, (head, row) in forms.items()}


def compile_all(folder: Path) -> None:
    """Read, store and look up the samples, in `folder`."""
    from kordant_jobs.adapters.kernels.members import Members

    blinder, corpus = Blinder(BlindingKey(key=bytes(32))), Corpus(folder / "corpus")
    for number, (name, text) in enumerate(samples().items()):
        file, dump_id = folder / name, UUID(int=number)
        file.write_text(text, encoding="utf-8")
        dump = open_dump(file, limits=_LIMITS, phone_region="US")
        with dump, corpus.write(dump_id, origin=name) as writer:
            for batch in dump.blinded(blinder):
                writer.add(batch)
        Members(batch.index).find(batch.index, len(batch.line))
        items = {"item_id": range(len(batch.line)), "blind_index": [row.tobytes() for row in batch.index]}
        corpus.find(dump_id, Items.of(pl.DataFrame(items)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="kordant-compile-") as scratch:
        compile_all(Path(scratch))
