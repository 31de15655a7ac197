"""When a dump counts as partly read: what was not understood may be what somebody is watched by."""

from __future__ import annotations

from pathlib import Path

import pytest

from kordant_jobs.adapters.dumps import Blinder, open_dump
from kordant_jobs.domain.identifiers.blinding import BlindingKey
from kordant_jobs_tests.adapters.dumps.planted import LIMITS

BLINDER = Blinder(BlindingKey(key=bytes(32)))
ROWS = "id,email,pass\n" + "".join(f"{row},ann{row}@mail.example,hush{row}\n" for row in range(1_000))
PLAIN = "".join(f"ann{row}@mail.example:hush{row}\n" for row in range(1_000))


def problem(path: Path, content: str) -> str | None:
    path.write_text(content)
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        for _ in dump.blinded(BLINDER):
            pass
        return dump.ledger.problem()


@pytest.mark.parametrize("rows", [ROWS, PLAIN], ids=["csv", "combo"])
@pytest.mark.parametrize(
    "line", ["Nr 202 555 {:04}", "x 202555{:04}", "202 555{:04} or so", "to 5550{:04}", "at 20-2555-{:04} now"]
)
def test_numbers_in_lines_that_were_not_understood_make_a_dump_partly_read(
    tmp_path: Path, rows: str, line: str
) -> None:
    few, many = ("".join(line.format(row) + "\n" for row in range(count)) for count in (4, 8))
    assert problem(tmp_path / "dump", rows + few) is None
    assert "8 lines with numbers in them not understood" in str(problem(tmp_path / "dump", rows + many))


@pytest.mark.parametrize("rows", [ROWS, PLAIN], ids=["csv", "combo"])
@pytest.mark.parametrize("line", ["Tel 202-555-{:04}", "Tel (202) 555 {:04}", "call 202.555.{:04} now"])
def test_lines_whose_numbers_the_sweep_finds_are_not_among_them(tmp_path: Path, rows: str, line: str) -> None:
    assert problem(tmp_path / "dump", rows + "".join(line.format(row) + "\n" for row in range(8))) is None


@pytest.mark.parametrize(
    "line",
    ["note {}", "2019-01-01 10:00:{:02}", "01.02.2019 {:02}", "10.0.0.{}", "at 1546300{:03}", "order A1234567{:03}"],
)
def test_times_and_addresses_of_hosts_are_no_numbers_of_people(tmp_path: Path, line: str) -> None:
    assert problem(tmp_path / "dump", ROWS + "".join(line.format(row) + "\n" for row in range(60))) is None


def test_a_text_whose_shape_changes_all_the_time_is_swept_and_partly_read(tmp_path: Path) -> None:
    pairs = "".join(f'{{"email":"a{at}@mail.example"}}\nb{at}@mail.example:x\n' for at in range(2_000))
    path = tmp_path / "dump"
    assert "the shape changes too often" in str(problem(path, pairs))
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        assert sum(batch.records.height for batch in dump.batches()) == 4_000
