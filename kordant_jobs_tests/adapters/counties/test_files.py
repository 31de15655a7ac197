"""Files of a county, damaged in the ways that exports are: what may hide a document is said, never passed over."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

import pytest

from kordant_jobs.adapters.counties.description import County, TableKind, read_county, shipped
from kordant_jobs.adapters.counties.files_driver import Files
from kordant_jobs.adapters.counties.reading import CountyReader
from kordant_jobs.adapters.counties.understand import Understood
from kordant_jobs.domain.property.parcels import has_words
from kordant_jobs.errors import SettingsError

TODAY = date(2026, 5, 1)
HEAD = "INSTRUMENT,TYPE,RECORDED,PRICE,PARCEL,FROM,TO"
COUNTY = shipped()["example-files"]


def line(number: int, sellers: str = "SELLER SUE") -> str:
    return f"D{number},DE,2026-04-01,1000,{number:04d}A,{sellers},BUYER BOB"


def read(folder: Path, county: County = COUNTY) -> Understood:
    [made] = CountyReader(county, Files(county, folder)).read({}, today=TODAY)
    return made


def read_lines(folder: Path, *lines: str, county: County = COUNTY) -> Understood:
    (folder / "deeds.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    return read(folder, county)


DAMAGED = {
    "a quote that nothing closes": ([line(1), line(2, '"SELLER SUE'), line(3)], "file_damaged"),
    "two stray quotes": ([line(1), line(2, '"SELLER SUE'), line(3), line(4, '"SELLER SUE')], "file_damaged"),
    "a quote that takes in rows": ([line(1), line(2, '"SELLER SUE'), line(3, 'SELLER SUE"'), line(4)], "row_damaged"),
    "a row that was cut off": ([line(1), "D2,DE,2026-04-01"], "row_damaged"),
    "a comma that nobody quoted": ([line(1), line(2, "SELLER, SUE")], "row_damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_row_is_counted_and_no_cell_of_it_is_used(tmp_path: Path, name: str) -> None:
    lines, problem = DAMAGED[name]
    made = read_lines(tmp_path, *lines)
    assert made.problems[problem] == 1
    assert [one.parcels for one in made.documents if one.instrument.key == "D1"] == [("0001A",)]
    assert all(len(one.parcels) == 1 for one in made.documents)


def test_blank_cells_that_an_export_adds_are_no_damage(tmp_path: Path) -> None:
    assert not read_lines(tmp_path, line(1) + ",,", "", line(2) + ",,").problems


def test_a_row_that_a_comma_moved_into_a_blank_last_cell_is_damaged(tmp_path: Path) -> None:
    rows = (line(number).removesuffix("BUYER BOB") for number in (1, 2))
    assert read_lines(tmp_path, *rows, line(3, "SELLER, SUE").removesuffix("BUYER BOB")).problems == {"row_damaged": 1}


def test_a_byte_order_mark_and_what_a_mac_adds_to_an_archive_change_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("deeds.csv", "\ufeff" + HEAD + "\n" + line(1))
        archive.writestr("__MACOSX/._deeds.csv", b"\0\5\x16\7")
    (tmp_path / "deeds.csv.zip").write_bytes(content.getvalue())
    made = read(tmp_path)
    assert ([one.instrument.key for one in made.documents], made.problems) == (["D1"], {})


def test_a_file_that_fits_no_table_and_a_table_without_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "more.tsv").write_text("what nobody reads")
    (tmp_path / "Smith, John.xlsx").write_text("a name is not repeated")
    made = read_lines(tmp_path, line(1))
    assert set(made.problems) == {"file_unmatched more.tsv", "file_unmatched (a name with other signs)"}
    (tmp_path / "deeds.csv").unlink()
    assert read(tmp_path).problems["file_missing *.csv*"] == 1


def test_cells_that_no_column_could_keep_are_counted_alone(tmp_path: Path) -> None:
    bad = [line(2).replace("D2", "D\x002"), line(3).replace("D3", "D" * 9000), line(4).replace("DE,", "D\x00E,")]
    made = read_lines(tmp_path, line(1), *bad)
    assert [one.instrument.key for one in made.documents] == ["D1"]
    assert made.problems == {"no_key": 2, "no_code": 1}


def test_a_cell_that_is_no_code_is_not_repeated(tmp_path: Path) -> None:
    made = read_lines(tmp_path, line(1).replace("DE,", "QUIXZOTE WALDEMAR,"), line(2).replace("DE,", "XQ,"))
    assert [one.instrument.code for one in made.documents] == ["?", "XQ"]
    assert made.problems == {"unknown_code": 1, "unknown_code XQ": 1}


def test_the_countys_own_format_of_days_counts_before_any_guess(tmp_path: Path) -> None:
    county = COUNTY.model_copy(update={"date_formats": ("%d/%m/%Y",)})
    days = ("05/11/2026", "20/11/2026", "11/20/2026")
    lines = (line(number).replace("2026-04-01", day) for number, day in enumerate(days, 1))
    made = read_lines(tmp_path, *lines, county=county)
    assert [one.instrument.recorded_on for one in made.documents] == [date(2026, 11, 5), date(2026, 11, 20), None]


def test_two_documents_under_one_number_are_both_kept(tmp_path: Path) -> None:
    deed, mortgage = line(900), line(900).replace(",DE,", ",MT,")
    lots = line(901), line(901).replace("0901A", "0902A")
    made = read_lines(tmp_path, deed, mortgage, line(17), line(17).replace("2026-04-01", "2015-04-01"), *lots)
    assert [(one.instrument.key, one.parcels) for one in made.documents] == [
        ("D900", ("0900A",)), ("D900§MT 2026-04-01", ("0900A",)),
        ("D17", ("0017A",)), ("D17§DE 2026-04-01", ("0017A",)),
        ("D901", ("0901A", "0902A")),
    ]  # fmt: skip
    assert made.problems == {"key_shared": 2}


def test_a_number_that_the_county_cannot_have_is_none() -> None:
    nyc, apn = shipped()["nyc"], COUNTY
    assert (nyc.parcel_number("1-835-41"), nyc.parcel_number("5-1-1")) == (
        "1008350041",
        None,
    )  # Staten Island: not here
    found = [apn.parcel_number(one) for one in ("1234.0", "0431-B-00017", "LOT-12-77")]
    assert found == [None, "0431B00017", "LOT1277"]
    assert has_words("731 Main St")
    exact = apn.model_copy(update={"parcel_pattern": r"\d{8}"})
    assert (exact.parcel_number("77-0001-01"), exact.parcel_number("77-1-01")) == ("77000101", None)


WRONG = [
    ("latency_days: 14", "latency_day: 14", ":5: latency_day: this name means nothing; did you mean `latency_days`?"),
    ("{event: tax_deed}", "{event: taxdeed}", ":11: codes.SD.event: Input should be"),
    ("[deed, lien]", "[]", ":6: capabilities: "),
    ("date_formats:", "name: Another\ndate_formats:", ":8: name stands there twice"),
    ('"%d-%b-%Y"', '"%Q"', ":8: date_formats: '%Q' is no format of a day"),
    ("/{number}", "/{docnum}", ":7: recorder_url: only {key} and {number} are filled in"),
    ("https://recorder", "javascript:recorder", ":7: recorder_url: it should begin with https://"),
    ("driver: files", "driver: carto\nurl: http://127.0.0.1.evil.example.com", ":4: url: "),
    ("driver: files", "driver: files\nencoding: nonsense", ":4: encoding: "),
    ("driver: files", 'driver: files\ndelimiter: ";;"', ":4: delimiter: "),
    ("driver: files", "driver: files\nparcel_pattern: '['", ":4: parcel_pattern: "),
    ("driver: files", "driver: files\nfixed_width:\n - {name: A, first: 9, last: 4}", ":5: fixed_width.0: A begins"),
    ("driver: files", "driver: files\nfixed_width:\n  - {name: A, first: 1, last: 4}", "not among the names of"),
]  # fmt: skip
TEXT = """id: example
name: Example
driver: files
parcel: apn
latency_days: 14
capabilities: [deed, lien]
recorder_url: https://recorder.example/document/{number}
date_formats: ["%d-%b-%Y"]
codes:
  DE: {event: ownership_change}
  SD: {event: tax_deed}
tables:
  instruments: {dataset: "*.csv", columns: {key: INSTRUMENT, code: TYPE, parcel: PARCEL}}
"""


@pytest.mark.parametrize(("good", "bad", "said"), WRONG, ids=[one[1][:30] for one in WRONG])
def test_a_wrong_setting_is_refused_with_its_line(good: str, bad: str, said: str) -> None:
    assert read_county(TEXT, "f.yaml").tables[TableKind.INSTRUMENTS].key == "INSTRUMENT"
    with pytest.raises(SettingsError) as error:
        read_county(TEXT.replace(good, bad), "f.yaml")
    assert said in str(error.value)


def test_codes_that_yaml_takes_for_something_else_are_texts() -> None:
    text = TEXT.replace("  SD:", "  NO: {event: release}\n  12: {event: lien}\n  SD:")
    assert {"NO", "12"} <= set(read_county(text, "f.yaml").code_table)
    with pytest.raises(SettingsError, match=r"f.yaml:9: codes: "):
        read_county(TEXT.replace(TEXT[TEXT.index("codes:") : TEXT.index("tables:")], "codes: ../files/nyc\n"), "f.yaml")


def test_what_decides_how_rows_are_understood_changes_the_fingerprint_and_nothing_else_does() -> None:
    first = read_county(TEXT, "f.yaml").fingerprint
    assert read_county(TEXT.replace("Example", "Other").replace("14", "15"), "f.yaml").fingerprint == first
    for good, bad in (("tax_deed", "lien"), ("parcel: PARCEL", "parcel: APN"), ("%d-%b", "%m-%d")):
        assert read_county(TEXT.replace(good, bad), "f.yaml").fingerprint != first
