"""XML and PHP: which record a value belongs to, wherever the text is cut and however it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.dumps import DumpLimits, DumpShape
from kordant_jobs.lab.world.forms import forms, people
from kordant_jobs_tests.adapters.dumps.planted import Found, read

FORMS = {form.name: form.content for form in forms(people(8)) if form.name.startswith(("xml", "php"))}


def read_bytes(folder: Path, content: bytes, block_bytes: int = 1 << 16) -> tuple[Found, DumpShape]:
    path = folder / "dump"
    path.write_bytes(content)
    found, _, _, shape = read(path, limits=DumpLimits(max_bytes=1 << 30, max_ratio=200, block_bytes=block_bytes))
    return found, shape


@pytest.mark.parametrize("name", FORMS)
def test_where_blocks_are_cut_makes_no_difference(tmp_path: Path, name: str) -> None:
    whole, shape = read_bytes(tmp_path, FORMS[name])
    assert shape in (DumpShape.XML, DumpShape.PHP)
    for block_bytes in (501, 777):
        found = read_bytes(tmp_path, FORMS[name], block_bytes)[0]
        assert {one[1:] for one in found} == {one[1:] for one in whole}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<us><u><email>a@b.cd</email></u>\n<u><password>x</password></u></us>", {("a@b.cd", "none")}),
        ("<us><u><email>a@b.cd</email><p><pass>x</pass></p></u></us>", {("a@b.cd", "clear")}),
        ("<us><u email='a@b.cd'><password>x</password></u><u pass='x'/></us>", {("a@b.cd", "clear")}),
        ("<us><u email='a@b.cd'/><u pass='x'/></us>", {("a@b.cd", "none")}),
        ("<us><u><email>a@b.cd</email><br><password>x</password></u></us>", {("a@b.cd", "clear")}),
        ("<us><u><email>a@b.cd</email><password></password></u></us>", {("a@b.cd", "none")}),
        ("<us><!-- <u> --><u><email>a@b.cd</email><n a='<'/><password>x</password></u></us>", {("a@b.cd", "clear")}),
        ('a:1:{i:0;a:2:{s:5:"email";s:6:"a@b.cd";s:4:"pass";s:3:"";x";}}', {("a@b.cd", "clear")}),
        ('a:2:{s:5:"email";s:9:"a@b.cd";s:4:"pass";s:1:"x";}', {("a@b.cd", "clear")}),
        ('a:2:{s:5:"email";s:6:"a@b.cd";s:4:"pass";N;}\na:1:{s:4:"pass";s:1:"x";}', {("a@b.cd", "none")}),
        ("['email' => 'a@b.cd', 'password' => null, 'x' => 'it\\'s']\n['password' => 'x']", {("a@b.cd", "none")}),
    ],
)  # fmt: skip
def test_a_secret_belongs_to_its_record(tmp_path: Path, text: str, expected: set[tuple[str, str]]) -> None:
    found, _ = read_bytes(tmp_path, text.encode())
    assert {(who, secret) for _, _, who, secret in found} == expected


def test_a_list_of_addresses_in_angle_brackets_is_no_xml(tmp_path: Path) -> None:
    found, shape = read_bytes(tmp_path, "".join(f"<ann{at}@mail.example>\n" for at in range(9)).encode())
    assert (shape, len(found)) == (DumpShape.PLAIN, 9)


# from the fifth byte on: what stands before may be a mark of another encoding or packing, and the dump is refused
@given(name=st.sampled_from(sorted(FORMS)), at=st.integers(4, 2_000), put=st.binary(max_size=6), cut=st.integers(0, 40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_costs_no_address_elsewhere(tmp_path: Path, name: str, at: int, put: bytes, cut: int) -> None:
    content = FORMS[name]
    at = min(at, len(content))
    if b"\0" in put or b"@" in put:
        return
    found, _ = read_bytes(tmp_path, content[:at] + put + content[at + cut :])
    if at + cut < content.rfind(b"\n", 0, content.index(b"cyd_c7")):
        assert any(who.startswith("cyd_c7") for _, kind, who, _ in found if kind == "email")


def test_a_screen_name_is_a_user_name_among_labels_and_a_handle_is_none(tmp_path: Path) -> None:
    text = "".join(f"Email: ann{at}@mail.example\nScreenName: ann_{at}\nHandle: 0x{at}f\n\n" for at in range(9))
    found, _ = read_bytes(tmp_path, text.encode())
    names = {who for _, kind, who, _ in found if kind == "username"}
    assert names == {f"ann_{at}" for at in range(9)}
