"""One form in four × every damage at small size: `kordant-jobs fuzz damage` takes all, and giant lines of 80 MB."""

from __future__ import annotations

from pathlib import Path

from kordant_jobs.lab.fuzz.damage import DAMAGES, matrix


def test_damage_hides_no_one_in_what_counts_as_read(tmp_path: Path) -> None:
    found = matrix(tmp_path, seed=1, line_bytes=1 << 16, every=4)
    assert found.broken == []
    assert {f"{damage}: read" for damage in DAMAGES} <= set(found.outcomes)
