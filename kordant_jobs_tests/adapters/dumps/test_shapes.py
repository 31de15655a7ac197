"""Whatever shape, encoding and compression: the same people come out, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kordant_jobs.adapters.dumps import DumpLimits, DumpShape, open_dump
from kordant_jobs_tests.adapters.dumps.planted import (
    COMPRESSIONS,
    ENCODINGS,
    LIMITS,
    MD5,
    SHAPES,
    Found,
    combo,
    expected,
    people,
    read,
    sql_tuple,
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_people_in_every_encoding(tmp_path: Path, shape: str, encoding: str) -> None:
    write, kind, first_line = SHAPES[shape]
    persons = people(2)
    path = tmp_path / "dump"
    path.write_bytes(ENCODINGS[encoding](write(persons)))
    found, lines, bad, detected = read(path)
    assert detected is kind
    assert found == expected(persons, first_line=first_line, secrets=shape != "plain")
    assert bad == {}
    assert lines == len(persons) + first_line - 1


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_people_however_packed(tmp_path: Path, shape: str, compression: str) -> None:
    write, _, first_line = SHAPES[shape]
    persons = people(3, 2_000)
    path = tmp_path / "named.wrong"
    path.write_bytes(COMPRESSIONS[compression](write(persons).encode()))
    found, *_ = read(path)
    assert found == expected(persons, first_line=first_line, secrets=shape != "plain")


@pytest.mark.parametrize("shape", SHAPES)
def test_where_blocks_are_cut_makes_no_difference(tmp_path: Path, shape: str) -> None:
    write, _, first_line = SHAPES[shape]
    persons = people(5, 40)
    path = tmp_path / "dump"
    path.write_text(write(persons))
    for block_bytes in (1, 60, 501):
        limits = DumpLimits(max_bytes=1 << 30, max_ratio=200, block_bytes=block_bytes)
        assert read(path, limits=limits)[0] == expected(persons, first_line=first_line, secrets=shape != "plain")


def lines_of(tmp_path: Path, text: str | bytes, **options: str) -> tuple[Found, int, dict[str, int], DumpShape]:
    path = tmp_path / "dump"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    shape = DumpShape(options["shape"]) if "shape" in options else None
    return read(path, shape=shape, region=options.get("region", "US"))


def test_a_password_keeps_its_delimiters_and_a_mixed_file_its_people(tmp_path: Path) -> None:
    text = "a@b.c:pa:ss\nD@e.f;p;w\n g@h.io | x\nj@k.lm\n\n  \n'n@o.pq',pw\nr@s.tu:\n<v@w.xy>\tpw\r\n"
    found, lines, bad, shape = lines_of(tmp_path, text)
    assert shape is DumpShape.COMBO
    assert {(line, who, secret) for line, _, who, secret in found} == {
        (1, "a@b.c", "clear"), (2, "d@e.f", "clear"), (3, "g@h.io", "clear"), (4, "j@k.lm", "none"),
        (7, "n@o.pq", "clear"), (8, "r@s.tu", "none"), (9, "v@w.xy", "clear"),
    }  # fmt: skip
    assert (lines, bad) == (9, {})


def test_banners_and_comments_are_bad_lines_and_an_address_in_them_is_mentioned(tmp_path: Path) -> None:
    banner = "### leaked by: crew@evil.example ###\n-- visit us\n=====\n\n"
    found, lines, bad, _ = lines_of(tmp_path, banner + combo(people(4)))
    assert found == {*expected(people(4), first_line=5), (1, "email", "crew@evil.example", "mentioned")}
    assert bad == {"no_identifier": 3}
    assert lines == 404


def test_only_broken_lines_are_read_as_windows_1252(tmp_path: Path) -> None:
    good, broken = "jörg@example.com:1\n".encode(), "rené@example.com:€\n".encode("cp1252")
    found, _, bad, _ = lines_of(tmp_path, good + broken + b"x@y.zz:\xff\x81\n" + b"b\x00b@y.zz:p\n" + good)
    assert sorted((line, who) for line, _, who, _ in found) == [
        (1, "jörg@example.com"), (2, "rené@example.com"), (3, "x@y.zz"), (5, "jörg@example.com"),
    ]  # fmt: skip
    assert bad == {"undecodable": 1}


def test_user_names_and_phones_stand_in_for_e_mails(tmp_path: Path) -> None:
    users = "".join(f"JohnDoe{at}:secret{at}\n" for at in range(50))
    found, _, bad, shape = lines_of(tmp_path, users)
    assert shape is DumpShape.COMBO
    assert (8, "username", "johndoe7", "clear") in found
    assert len(found) == 50
    phones = "".join(f"(202) 555-01{at:02}:secret\n" for at in range(50))
    found, _, bad, _ = lines_of(tmp_path, phones)
    assert (8, "phone", "+12025550107", "clear") in found
    assert (len(found), bad) == (50, {})
    mixed = "".join(f"john{at}:pw\nJohn{at}@example.com:pw\n+1202555{at:04}:pw\n" for at in range(50))
    found, _, bad, _ = lines_of(tmp_path, mixed)
    assert {kind: sum(each[1] == kind for each in found) for kind in ("email", "username", "phone")} == {
        "email": 50,
        "username": 50,
        "phone": 50,
    }
    assert bad == {}


_PEOPLE = [(f"joe{at}.doe", f"joe{at}@mail.example", hashlib.md5(bytes([at])).hexdigest()) for at in range(8)]


@pytest.mark.parametrize(
    ("row", "kind", "secret"),
    [
        ("{hash}:{mail}:hush{name}", "email", "clear"),
        ("{hash}:{mail}", "email", "hashed"),
        ("corp\\{name}:1001:aad3b435b51404eeaad3b435b51404ee:{hash}:::", "username", "hashed"),
        ("-[ RECORD 1 ]---\nid    | 7\nlogin | {name}\nhash  | {hash}", "username", "hashed"),
        ("Username: “{name}”\nPassword: “hush”\n", "username", "clear"),
        ('{{"users": {{"{name}": {{"email": "x@mail.example", "password": "hush"}}}}}}', "username", "clear"),
        ('{{"users": {{"{mail}": {{"password": "hush"}}}}}}', "email", "clear"),
        ('{{"login": "{name}", "password": "hush"}}', "username", "clear"),
    ],
)
def test_the_person_and_the_kind_of_password_are_read(tmp_path: Path, row: str, kind: str, secret: str) -> None:
    text = "\n".join(row.format(name=name, mail=mail, hash=digest) for name, mail, digest in _PEOPLE)
    found, *_ = lines_of(tmp_path, text)
    wanted = {name if kind == "username" else mail for name, mail, _ in _PEOPLE}
    assert {who for _, of_kind, who, held in found if (of_kind, held) == (kind, secret)} - {"x@mail.example"} == wanted


@pytest.mark.parametrize("row", ["    'name{}',", "        part{0}=self.part{0},", "('ab{0}', 'cd{0}'),"])
def test_words_in_the_source_of_a_program_are_no_user_names(tmp_path: Path, row: str) -> None:
    path = tmp_path / "dump"
    path.write_text("__all__ = [\n" + "".join(row.format(at) + "\n" for at in range(60)) + "]\nx@b.cd\n")
    assert {kind for _, kind, _, _ in read(path, shape=None, region="US")[0]} == {"email"}


def test_keys_of_databases_below_users_are_no_user_names(tmp_path: Path) -> None:
    keys = ["-MabC9dEf", "4711", "a3f8c09b12d44e7788aa0011", "Zx9aQ7fLp2Kc81mnB0sTyu3vWq42"]
    text = "".join(f'{{"users": {{"{key}": {{"email": "a{at}@b.cd"}}}}}}\n' for at, key in enumerate(keys))
    found, *_ = lines_of(tmp_path, text)
    assert {kind for _, kind, _, _ in found} == {"email"}


def test_a_site_before_the_login_is_passed_over(tmp_path: Path) -> None:
    text = "".join(f"https://shop.example/login:a{at}@b.cd:pw\n" for at in range(20))
    found, *_ = lines_of(tmp_path, text)
    assert found == {(at + 1, "email", f"a{at}@b.cd", "clear") for at in range(20)}


def test_columns_without_a_header_are_recognised_by_what_they_hold(tmp_path: Path) -> None:
    text = "".join(f"{at}|2012-01-0{at % 9 + 1}|x{at}@b.cd|hun{at}ter|+4420794609{at:02}\n" for at in range(60))
    found, _, bad, shape = lines_of(tmp_path, text + "1|2\n")
    assert shape is DumpShape.DELIMITED
    assert {(8, "email", "x7@b.cd", "clear"), (8, "phone", "+442079460907", "clear")} <= found
    assert (len(found), bad) == (120, {"wrong_columns": 1})


def test_a_column_of_words_is_never_guessed_to_be_user_names(tmp_path: Path) -> None:
    text = "".join(f"hunter{at},x{at}@b.cd,swordfish{at}\n" for at in range(60))
    found, *_ = lines_of(tmp_path, text)
    assert {kind for _, kind, _, _ in found} == {"email"}


@pytest.mark.parametrize(
    ("header", "row", "kinds"),
    [
        ("mail;pwd", "a@b.cd;x", {("email", "a@b.cd", "clear")}),
        ("id\tLogin\tHash", "1\tJohn\tabc", {("username", "john", "hashed")}),
        ("Telefone,Senha,Correo", "11961234567,,A@b.cd",
         {("phone", "+5511961234567", "none"), ("email", "a@b.cd", "none")}),
        ("user_email|nickname|password_hash", "A@b.cd|Nick|",
         {("email", "a@b.cd", "none"), ("username", "nick", "none")}),
        ("email:password", "a@b.cd:pa:ss", {("email", "a@b.cd", "clear")}),
        ("email,password,hash", f"a@b.cd,x,{MD5}", {("email", "a@b.cd", "clear")}),
        ('"email","name","password"', '"a@b.cd","Doe, ""J""","x"', {("email", "a@b.cd", "clear")}),
        ("email", "a@b.cd", {("email", "a@b.cd", "none")}),
    ],
)  # fmt: skip
def test_a_header_names_the_columns(tmp_path: Path, header: str, row: str, kinds: set[tuple[str, str, str]]) -> None:
    found, lines, bad, shape = lines_of(tmp_path, f"{header}\n{row}\n{header}\n", region="BR")
    assert shape is DumpShape.CSV
    assert found == {(2, *kind) for kind in kinds}
    assert (lines, bad) == (3, {})


def test_broken_json_is_counted_and_the_rest_read(tmp_path: Path) -> None:
    good = [f'{{"email": "a{at}@b.cd", "phone": 1202555{at:04}, "password": null}}' for at in range(300)]
    text = "\n".join([*good[:100], '{"email": "x@y.zz"', "[1]", "null", *good[100:], '{"email": ["q@y.zz"]}', "{}"])
    found, lines, bad, _ = lines_of(tmp_path, text)
    assert len(found) == 602
    assert {(104, "phone", "+12025550100", "none"), (304, "email", "q@y.zz", "none")} <= found
    assert (101, "email", "x@y.zz", "none") in found  # what was read of a broken one counts
    assert lines == 305
    assert bad == {"bad_json": 1, "no_identifier": 1}


def test_extended_inserts_of_one_line_are_cut_between_tuples(tmp_path: Path) -> None:
    persons = [(f"a{at}@example.com", "pa),('ss" if at % 3 else "x") for at in range(3_000)]
    rows = [sql_tuple(at, *person) for at, person in enumerate(persons)]
    names = ("id", "name", "mail", "pass", "x")
    create = "".join(f"  `{name}` text,\n" for name in names)
    text = (
        f"-- MySQL dump\nCREATE TABLE `u` (\n{create}  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n"
        f"LOCK TABLES `u` WRITE;\nINSERT INTO `u` VALUES {','.join(rows)};\nUNLOCK TABLES;\n"
    )
    path = tmp_path / "dump.sql"
    path.write_text(text)
    small = DumpLimits(max_bytes=1 << 30, max_ratio=200, max_line_bytes=5_000, block_bytes=20_000)
    for limits in (small, LIMITS):
        found, lines, bad, _ = read(path, limits=limits)
        assert found == {(11, "email", email, "clear") for email, _ in persons}
        assert (lines, bad) == (12, {})


def test_damaged_tuples_are_counted_and_other_tables_passed_over(tmp_path: Path) -> None:
    text = (
        "INSERT INTO logs (id, at) VALUES (1,'2012'),(2,'2013');\n"
        'INSERT INTO "users" ("id", "email") VALUES (1,\'a@b.cd\'),\n(2,\'c@d.ef\'),\n(3),\n(4,\'g@h.ij);\n'
        "insert into users (id, email) values (5, 'k@l.mn') ;\n"
    )
    found, lines, bad, _ = lines_of(tmp_path, text)
    assert {(line, who) for line, _, who, _ in found} == {(2, "a@b.cd"), (3, "c@d.ef"), (6, "k@l.mn")}
    assert (lines, bad) == (6, {"bad_sql": 2})


def test_a_shape_that_is_given_is_believed(tmp_path: Path) -> None:
    found, _, _, shape = lines_of(tmp_path, "JohnDoe\nkate_99\n", shape="plain")
    assert (shape, {who for _, _, who, _ in found}) == (DumpShape.PLAIN, {"johndoe", "kate_99"})


def test_what_a_dump_was_taken_for_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("user;mail;pwd\nann;a@b.cd;x\n")
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        assert [(column.name, column.role.value) for column in dump.columns] == [
            ("user", "login"), ("mail", "email"), ("pwd", "password"),
        ]  # fmt: skip
        assert (dump.encoding, dump.compression.value) == ("utf-8", "none")
        list(dump.batches())
        assert dump.bytes_read == dump.bytes_total == path.stat().st_size


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_giant_line_near_the_start_does_not_hide_the_shape(tmp_path: Path, at: int) -> None:
    lines = [f'{{"id": {n}, "email": "p{n}@example.com", "password": "x{n}"}}' for n in range(50)]
    lines.insert(at, '{"id": 1, "note": "' + "x" * (3 << 20))
    path = tmp_path / "dump.jsonl"
    path.write_text("\n".join(lines) + "\n")
    found, _, bad, shape = read(path)
    assert shape is DumpShape.JSON_LINES
    assert len(found) == 50
    assert bad == {"bad_json": 1}


def test_an_address_in_the_place_of_a_password_is_mentioned_and_no_password_said_of_it(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    passwords = [f"dragon@hill{n}.example" if n % 10 == 0 else f"x{n}" for n in range(100)]
    path.write_text("".join(f" Ann{n}@Example.com :{password}\n" for n, password in enumerate(passwords)))
    found, *_ = read(path)
    secrets = {identifier: secret for _, _, identifier, secret in found}
    assert {identifier for identifier, secret in secrets.items() if secret == "clear"} == {
        f"ann{n}@example.com" for n in range(100)
    }
    assert {identifier for identifier, secret in secrets.items() if secret == "mentioned"} == set(passwords[::10])


def test_a_line_of_delimiters_alone_is_blank_and_hides_no_bad_one(tmp_path: Path) -> None:
    path = tmp_path / "dump.tsv"
    rows = [f"p{n}@example.com\tNick{n}\tx" for n in range(30)]
    path.write_text("email\tnick\tpassword\n" + "\n".join([*rows, "\t\t", "one column", "", *rows[:1]]) + "\n")
    _, _, bad, _ = read(path)
    assert bad == {"no_identifier": 1}


def test_a_blank_line_at_the_end_counts_beside_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_bytes(b"a@b.cd\nb@b.cd caf\xe9\nc@b.cd\n\n")
    assert read(path)[1] == 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("between", ["\nann@mail.example\n", '"ann%40mail.example"', "|ann&#64;mail.example|x"])
def test_bytes_of_another_encoding_between_wide_characters_are_read(
    tmp_path: Path, encoding: str, between: str
) -> None:
    persons = people(1, 40)
    lines = combo(persons).splitlines(keepends=True)
    halves = ["".join(lines[:20]).encode(encoding), "".join(lines[20:]).encode(encoding.removesuffix("-sig"))]
    halves[1] = halves[1].removeprefix(b"\xff\xfe\x00\x00" if "32" in encoding else b"\xff\xfe")
    path = tmp_path / "dump"
    path.write_bytes(halves[0] + between.encode() + halves[1])
    found = {identifier for _, _, identifier, _ in read(path)[0]}
    assert "ann@mail.example" in found
    assert len(found) >= 40


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            'id,phone\n1,"+12025550143\n+442079460958"\n2,+12025550145\n',
            {"+12025550143", "+442079460958", "+12025550145"},
        ),
        ("phone,id\n5215512345678,1\n5215512345679,2\n", {"+525512345678", "+525512345679"}),
        ("phone,id\n+52 1 55 1234 5678,1\n+52 55 1234 5679,2\n", {"+525512345678", "+525512345679"}),
        ("phone,id\n4.42E+11,1\n+12025550145,2\n", {"+12025550145"}),
        ("id,phone\n1,4.42079460958E+11\n2,1.2025550143E+10\n", {"+442079460958", "+12025550143"}),
        ("id,email\n1,ann @mail.example\n2,bob@ mail.example\n", {"ann@mail.example", "bob@mail.example"}),
    ],
)
def test_cells_are_read_as_people_and_spreadsheets_leave_them(tmp_path: Path, content: str, expected: set[str]) -> None:
    path = tmp_path / "dump"
    path.write_text(content)
    assert {identifier for _, _, identifier, _ in read(path)[0]} == expected
