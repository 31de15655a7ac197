"""Every form × every damage at small size: `kordant-jobs fuzz damage` has giant lines of 80 MB."""

from __future__ import annotations

from pathlib import Path

from kordant_jobs.lab.fuzz.damage import DAMAGES, matrix


def test_damage_makes_nobody_unfound_in_what_counts_as_read(tmp_path: Path) -> None:
    found = matrix(tmp_path, seed=1, line_bytes=1 << 16)
    assert found.broken == []
    assert {f"{damage}: read" for damage in DAMAGES} <= set(found.outcomes)
    assert found.outcomes["cut: refused"] > 0
