"""Tables are read at any width: nothing is cut, nothing is wider than the terminal, no text moves its cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from kordant_jobs.cli.output import err, printable, table_lines

COLUMNS = ["id", "job", "by", "state", "priority", "due (UTC)", "try", "progress", "run", "cause", "error"]
ROWS = [
    ["01a22471-bc04-7571-8074-8be2d00a372f", "darkwatch_scan", "sensor:new_data_sensor", "dead", "normal",
     "11-28 23:16", "4", "454317456/454317456", "d0d480dd", "exception",
     "Postgres cannot be reached (no answer). Check KORDANT_DATABASE_URL and that the server runs."],
    ["01a22471-8089-77c8-8152-8a62c71879a6", "notifications_send", "cli:root", "completed", "critical", "11-28 23:15",
     "1", "", "a7ef7994", "", ""],
]  # fmt: skip


@pytest.mark.parametrize("width", [20, 30, 40, 60, 79, 80, 100, 120, 132, 160, 200, 240, 320])
def test_a_table_shows_every_cell_whole_and_no_line_is_too_wide(width: int) -> None:
    lines = table_lines(COLUMNS, ROWS, width)
    assert max(map(cell_len, lines)) <= width
    shown = "".join("".join(lines).split())
    for cell in (cell for row in ROWS for cell in row):
        words = cell.split()
        assert all("".join(word.split()) in shown for word in words), cell


def test_a_wide_terminal_and_a_pipe_have_a_row_a_line() -> None:
    for width in (None, 320):
        assert len(table_lines(COLUMNS, ROWS, width)) == 3


def test_a_column_of_sentences_is_folded_while_there_is_room() -> None:
    lines = table_lines(["channel", "reason"], [["email", "the server refused our name and key " * 4]], 80)
    assert lines[0].split() == ["channel", "reason"]
    assert len(lines) == 3
    assert all(line.startswith(" " * 9) for line in lines[2:])


text = st.text(alphabet=st.characters(codec="utf-8"), max_size=60).map(printable)


@given(st.data(), st.integers(2, 200))
def test_any_text_fits_any_width(data: st.DataObject, width: int) -> None:
    columns = data.draw(st.lists(text, min_size=1, max_size=5))
    rows = data.draw(st.lists(st.lists(text, min_size=len(columns), max_size=len(columns)), max_size=3))
    assert all(cell_len(line) <= width for line in table_lines(columns, rows, width))


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "\x9b2J", "a\u202eb", "\ud800", "\x00"])
def test_nothing_moves_a_cursor(text: str) -> None:
    assert printable(text).isprintable()


def test_what_a_long_command_is_at_is_said_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([100.0, 101.0, 105.5, 106.0])
    monkeypatch.setattr("kordant_jobs.cli.output.time.monotonic", lambda: next(moments))
    with err.status("day 0 …") as shown:
        for day in (1, 2, 3):
            shown.update(f"day {day} …")
    assert capsys.readouterr().err.splitlines() == ["  day 0 …", "  day 2 …, 6 s"]
