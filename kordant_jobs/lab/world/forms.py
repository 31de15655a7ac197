"""One set of people in many forms: dialect × quoting × encoding × nesting × damage. Readers are tried on them.

Each form says what a reader can find in it: addresses in all of them, the rest where the form has it.
"""

import base64
import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import zstandard


@dataclass(frozen=True, kw_only=True)
class Someone:
    """One of the people."""

    number: int
    email: str
    username: str
    phone: str
    password: str
    name: str


def people(count: int = 30) -> list[Someone]:
    """The people, always the same."""
    return [
        Someone(
            number=at + 1,
            email=f"{('ann', 'Bob.B', 'cyd_c', 'dan+x', 'eve-e')[at % 5]}{at}@{('mail.example.com', 'example.org')[at % 2]}",
            username=f"{('annie', 'bobby', 'cydney')[at % 3]}{at}",
            phone=f"+1202555{100 + at:04}",
            password=f"Hush{at}{('!', '', 'x')[at % 3]}pw",
            name=f"{('Ann', 'Bob', 'Cyd')[at % 3]} {('Smith', 'Jones')[at % 2]}",
        )
        for at in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form, with the facts of each person that it contains in a readable way."""

    name: str
    content: bytes
    usernames: bool = False
    phones: bool = False
    secret: str | None = None
    """The secret beside each address: 'clear' or 'none'; None: a reader need not know."""


Write = Callable[[Sequence[Someone]], str]
Facts = dict[str, Any]


def _sheet(separator: str, quoting: Literal[0, 1], header: str | None = None, **options: Any) -> Write:
    def write(persons: Sequence[Someone]) -> str:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator="\n", **options)
        if header:
            writer.writerow(header.split(","))
        writer.writerows([one.number, one.email, one.username, one.phone, one.password] for one in persons)
        return out.getvalue()

    return write


def _lines(template: str, *, first: str = "", last: str = "", between: str = "\n") -> Write:
    def write(persons: Sequence[Someone]) -> str:
        rows = [template.format(p=one, sql=one.password.replace("'", "''")) for one in persons]
        return f"{first}{between.join(rows)}{last}\n"

    return write


def _folded(template: str, fold: str) -> Write:
    """Writes lines with a fold before and behind each '@'."""
    written = _lines(template)

    def write(persons: Sequence[Someone]) -> str:
        text = written(persons)
        for one in persons:
            text = text.replace(one.email, one.email.replace("@", f"{fold}@{fold}"))
        return text

    return write


def _serialised(kind: str) -> Write:
    def write(persons: Sequence[Someone]) -> str:
        lines = []
        for one in persons:
            pairs = [(key, str(value)) for key, value in _record(one).items()]
            fields = "".join(f's:{len(key)}:"{key}";s:{len(value)}:"{value}";' for key, value in pairs)
            lines.append(f"{kind}:{len(pairs)}:{{{fields}}}\n")
        return "".join(lines)

    return write


def _record(one: Someone) -> dict[str, object]:
    return {
        "id": one.number,
        "email": one.email,
        "username": one.username,
        "phone": one.phone,
        "password": one.password,
    }


def _json(wrap: Callable[[list[Facts]], object], indent: int | None = None) -> Write:
    return lambda persons: json.dumps(wrap([_record(one) for one in persons]), indent=indent) + "\n"


def _json_lines(shape: Callable[[dict[str, object]], object]) -> Write:
    return lambda persons: "".join(json.dumps(shape(_record(one))) + "\n" for one in persons)


HEADER = "id,email,username,phone,password"
_COLUMNS = "id, email, username, phone, password"
_VALUES = "{p.number}, '{p.email}', '{p.username}', '{p.phone}', '{sql}'"
_CREATE = "CREATE TABLE users (\n  id int NOT NULL,\n  email varchar(99) COMMENT 'a, (b',\n  username text,\n  phone text,\n  password text\n);\n"
_ALL: Facts = {"usernames": True, "phones": True, "secret": "clear"}
_SECRET: Facts = {"secret": "clear"}

_QUOTINGS: tuple[tuple[str, Literal[0, 1]], ...] = (("minimal", csv.QUOTE_MINIMAL), ("all", csv.QUOTE_ALL))
_SHEETS: dict[str, tuple[Write, Facts]] = {
    f"csv-{name}-{how}": (_sheet(separator, quoting, HEADER), _ALL)
    for name, separator in {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}.items()
    for how, quoting in _QUOTINGS
}
_RARE = {
    "caret": "^", "tilde": "~", "dash": " - ", "arrow": " -> ", "fat-arrow": " => ", "two-colons": "::",
    "two-bars": "||", "hash": "#", "equals": "=", "greater": ">", "blank-colon": " : ",
}  # fmt: skip
_FIELDS = ("{p.number}", "{p.email}", "{p.username}", "{p.phone}", "{p.password}")
_SEPARATED: dict[str, tuple[Write, Facts]] = {}
for _name, _separator in _RARE.items():
    _header = _separator.join(HEADER.split(",")) + "\n"
    _SEPARATED |= {
        f"combo-{_name}": (_lines(_separator.join(("{p.email}", "{p.password}"))), _SECRET),
        f"delimited-{_name}": (_lines(_separator.join(_FIELDS)), {"phones": True}),
        f"csv-{_name}": (_lines(_separator.join(_FIELDS), first=_header), _ALL),
        f"ulp-{_name}": (_lines(_separator.join(("https://shop.example/login", "{p.email}", "{p.password}"))), _SECRET),
    }
_TEXTS: dict[str, tuple[Write, Facts]] = {
    **_SHEETS,
    **_SEPARATED,
    "csv-title-users": (_lines("{p.number},{p.email},{p.username},{p.phone},{p.password}", first=f"Users\n{HEADER}\n"), _ALL),
    "csv-single-quotes": (_sheet(",", csv.QUOTE_ALL, HEADER, quotechar="'"), _ALL),
    "csv-sep-line": (_lines("{p.number};{p.email};{p.username};{p.phone};{p.password}", first=f"sep=;\n{HEADER.replace(',', ';')}\n"), _ALL),
    "csv-title-lines": (_lines("{p.number},{p.email},{p.username},{p.phone},{p.password}", first=f"Export of 2019\n\n{HEADER}\n"), _ALL),
    "csv-trailing": (_lines("{p.number},{p.email},{p.username},{p.phone},{p.password},", first=f"{HEADER}\n"), _ALL),
    "csv-blanks": (_lines('{p.number} , "{p.email}" , {p.username} , {p.phone} , {p.password}', first=f"{HEADER.replace(',', ' , ')}\n"), _ALL),
    "csv-multiline": (_lines('{p.number},{p.email},{p.username},{p.phone},{p.password},"a\nb"', first=f"{HEADER},note\n"), _ALL),
    "csv-inner-quotes": (_lines('{p.number},{p.email},{p.username},{p.phone},{p.password},"say "hi" now"', first=f"{HEADER},note\n"), _ALL),
    "csv-backslash-quotes": (_lines('{p.number},{p.email},{p.username},{p.phone},{p.password},"say \\"hi, you\\" now"', first=f"{HEADER},note\n"), _ALL),
    "csv-comma-in-last": (_lines("{p.number},{p.email},{p.username},{p.phone},{p.password},1 Main St, X", first=f"{HEADER},address\n"), _ALL),
    "csv-formulas": (_lines('{p.number},="{p.email}",{p.username},="{p.phone}",{p.password}', first=f"{HEADER}\n"), _ALL),
    "csv-name-address": (_lines('{p.number},{p.name} <{p.email}>,{p.username},{p.phone},{p.password}', first=f"{HEADER}\n"), _ALL),
    "csv-chrome": (_lines("shop.example,https://shop.example/login,{p.username},{p.password},{p.email}", first="name,url,username,password,note\n"), {"usernames": True, **_SECRET}),
    "csv-accents": (_lines("{p.name};{p.email};{p.password}", first="nombre;correo electrónico;contraseña\n"), _SECRET),
    "csv-json-cell": (_lines('{p.number},"{{""email"": ""{p.email}"", ""n"": 1}}"', first="id,profile\n"), {}),
    "delimited-bar": (_sheet("|", csv.QUOTE_MINIMAL), {"phones": True, "secret": None}),
    "delimited-tab": (_sheet("\t", csv.QUOTE_MINIMAL), {"phones": True}),
    "combo-colon": (_lines("{p.email}:{p.password}"), _SECRET),
    "combo-semicolon": (_lines("{p.email};{p.password}"), _SECRET),
    "combo-bar": (_lines("{p.email}|{p.password}"), _SECRET),
    "combo-tab": (_lines("{p.email}\t{p.password}"), _SECRET),
    "combo-blank": (_lines("{p.email} {p.password}"), _SECRET),
    "combo-quoted": (_lines("'{p.email}':{p.password}"), _SECRET),
    "combo-username": (lambda persons: "".join(f"{p.username}:{p.password}\n{p.email}:{p.password}\n" for p in persons), {"usernames": True, **_SECRET}),
    "combo-hash": (_lines("{p.email}:5f4dcc3b5aa765d61d8327deb882cf99"), {"secret": "hashed"}),
    "combo-phone": (lambda persons: "".join(f"{p.phone}:{p.password}\n{p.email}:{p.password}\n" for p in persons), {"phones": True, **_SECRET}),
    "plain": (_lines("{p.email}"), {"secret": "none"}),
    "plain-commas": (_lines("{p.email}", between=", "), {}),
    "plain-mailto": (_lines("mailto:{p.email}"), {}),
    "plain-named": (_lines("{p.name} <{p.email}>"), {"secret": "none"}),
    "plain-named-quoted": (_lines('"{p.name}" <{p.email}>,'), {}),
    "ulp-colon": (_lines("https://shop.example/login:{p.email}:{p.password}"), _SECRET),
    "ulp-username": (lambda persons: "".join(f"https://a.example/x:{p.username}:{p.password}\nhttps://b.example:8443/y:{p.email}:{p.password}\n" for p in persons), {"usernames": True, **_SECRET}),
    "ulp-port": (_lines("https://shop.example:8443/login:{p.email}:{p.password}"), _SECRET),
    "ulp-android": (_lines("android://aB-_9kHASH==@com.example.app/:{p.email}:{p.password}"), _SECRET),
    "ulp-bar": (_lines("https://shop.example/login|{p.email}|{p.password}"), _SECRET),
    "ulp-semicolon": (_lines("https://shop.example/login;{p.email};{p.password}"), _SECRET),
    "ulp-blank": (_lines("https://shop.example/login {p.email} {p.password}"), _SECRET),
    "ulp-tab": (_lines("https://shop.example/login\t{p.email}\t{p.password}"), _SECRET),
    "ulp-no-scheme": (_lines("shop.example/login:{p.email}:{p.password}"), _SECRET),
    "ulp-last": (_lines("{p.email}:{p.password}:https://shop.example/login"), _SECRET),
    "labels-redline": (_lines("URL: https://shop.example/\nUsername: {p.email}\nPassword: {p.password}\nApplication: Chrome\n===============", first="*********\n* BLOCK *\n*********\n"), _SECRET),
    "labels-raccoon": (_lines("SOFT:\tChrome (89)\nHOST:\thttps://shop.example/\nUSER:\t{p.email}\nPASS:\t{p.password}\n"), _SECRET),
    "labels-lumma": (_lines("Soft: Chrome\nHost: https://shop.example/\nLogin: {p.email}\nPassword: {p.password}\n"), _SECRET),
    "labels-vidar": (_lines("browser: Chrome\nprofile: Default\nurl: https://shop.example/\nlogin: {p.username}\npassword: {p.password}\nemail: {p.email}\n"), {"usernames": True, **_SECRET}),
    "labels-brackets": (_lines("[Website]: https://shop.example/\n[Login]: {p.username}\n[E-Mail]: {p.email}\n[Password]: {p.password}\n"), {"usernames": True, **_SECRET}),
    "labels-arrows": (_lines("Site => https://shop.example\nUser => {p.email}\nPass => {p.password}\n"), _SECRET),
    "labels-cyrillic": (_lines("Сайт: https://shop.example\nЛогин: {p.username}\nПочта: {p.email}\nПароль: {p.password}\n"), {"usernames": True, **_SECRET}),
    "labels-one-line": (_lines("Email: {p.email} Pass: {p.password}"), _SECRET),
    "labels-dashes": (_lines("Email: {p.email} - Name: {p.name} - Password: {p.password} - Followers: 3"), _SECRET),
    "vcard": (_lines("BEGIN:VCARD\nVERSION:3.0\nFN:{p.name}\nEMAIL;TYPE=INTERNET:{p.email}\nTEL;TYPE=CELL:{p.phone}\nEND:VCARD"), {"phones": True}),
    "ldif": (_lines("dn: uid={p.username},dc=example\nuid: {p.username}\nmail: {p.email}\nuserPassword: {p.password}\n"), _SECRET),
    "ldif-base64": (lambda persons: "".join(f"dn: uid=x\nmail:: {base64.b64encode(p.email.encode()).decode()}\nuserPassword: {p.password}\n\n" for p in persons), _SECRET),
    "ldif-folded": (_folded("dn: uid={p.username},dc=example\nmail: {p.email}\nuserPassword: {p.password}\n", "\n "), _SECRET),
    "ldif-base64-folded": (lambda persons: "".join(f"dn: uid=x,dc=example\nmail:: {code[:9]}\n {code[9:]}\nuserPassword: {p.password}\n\n" for p in persons for code in [base64.b64encode(p.email.encode()).decode()]), _SECRET),
    "vcard-folded": (_folded("BEGIN:VCARD\r\nFN:{p.name}\r\nEMAIL;TYPE=INTERNET:{p.email}\r\nTEL:{p.phone}\r\nEND:VCARD\r", "\r\n "), {"phones": True}),
    "mime-folded": (_folded("To: {p.name} <{p.email}>", "=\n"), {}),
    "vcard-base64": (lambda persons: "".join(f"BEGIN:VCARD\nN:x\nEMAIL;ENCODING=b:{base64.b64encode(p.email.encode()).decode()}\nEND:VCARD\n" for p in persons), {}),
    "environment": (_lines("SMTP_USER_{p.number}={p.email}\nSMTP_PASS_{p.number}={p.password}"), {}),
    "ical": (_lines("BEGIN:VEVENT\nATTENDEE;CN=x:mailto:{p.email}\nEND:VEVENT", first="BEGIN:VCALENDAR\n", last="\nEND:VCALENDAR"), {}),
    "phones-of-the-world": (lambda persons: "".join(f"{p.phone[1:]}\n" for p in persons) + "".join(f"{p.email}\n" for p in persons), {"phones": True}),
    "yaml": (_lines("- email: {p.email}\n  password: {p.password}\n  phone: '{p.phone}'"), {"phones": True, **_SECRET}),
    "mbox": (_lines("From x Mon Jan  1 00:00:00 2019\nFrom: {p.name} <{p.email}>\nSubject: hi\n\nHello.\n"), {}),
    "ini": (_lines("[user{p.number}]\nemail={p.email}\npassword={p.password}\n"), _SECRET),
    "sql-mysql": (_lines("(" + _VALUES + ")", first="INSERT INTO `users` (`id`,`email`,`username`,`phone`,`password`) VALUES ", last=";", between=","), _ALL),
    "sql-mysql-created": (_lines("(" + _VALUES + ")", first=_CREATE + "INSERT INTO users VALUES ", last=";", between=","), _ALL),
    "sql-one-a-line": (_lines(f"INSERT INTO users ({_COLUMNS}) VALUES ({_VALUES});"), _ALL),
    "sql-replace": (_lines(f"REPLACE INTO users ({_COLUMNS}) VALUES ({_VALUES});"), _ALL),
    "sql-set": (_lines("INSERT INTO users SET id={p.number}, email='{p.email}', username='{p.username}', phone='{p.phone}', password='{sql}';"), _ALL),
    "sql-double-quoted": (_lines('INSERT INTO `users` (`id`, `email`, `username`, `phone`, `password`) VALUES ({p.number},"{p.email}","{p.username}","{p.phone}","{p.password}");'), _ALL),
    "sql-binary": (_lines("INSERT INTO `users` (`id`,`email`,`password`) VALUES ({p.number},_binary '{p.email}',_binary '{sql}');"), _SECRET),
    "sql-hex": (lambda persons: "".join(f"INSERT INTO `users` (`id`,`email`,`password`) VALUES ({p.number},0x{p.email.encode().hex()},'{p.password}');\n" for p in persons), _SECRET),
    "sql-mssql": (_lines("INSERT [dbo].[Users] ([Id], [Email], [UserName], [Phone], [Password]) VALUES ({p.number}, N'{p.email}', N'{p.username}', N'{p.phone}', N'{sql}')\nGO"), _ALL),
    "sql-mssql-cast": (_lines("INSERT INTO [dbo].[Users] ([Id], [Email], [Password], [On]) VALUES ({p.number}, N'{p.email}', N'{sql}', CAST(N'2019-03-01' AS DateTime))"), _SECRET),
    "sql-sqlite-replace": (_lines("INSERT INTO users VALUES({p.number},'{p.email}',replace('a\\nb','\\n',char(10)));", first="CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, note TEXT);\n"), {"secret": "none"}),
    "sql-backslash-end": (_lines("INSERT INTO users VALUES({p.number},'C:\\Users\\','{p.email}');", first="CREATE TABLE users (id INTEGER, home TEXT, email TEXT);\n"), {}),
    "sql-columns-below": (_lines("\t(" + _VALUES + ")", first=f"INSERT INTO dbo.Users\n\t({_COLUMNS})\nVALUES\n", last=";", between=",\n"), _ALL),
    "sql-line-break": (_lines("INSERT INTO public.users VALUES ({p.number}, '{p.email}', 'a\nb');"), {}),
    "sql-comments": (_lines(f"/* {{p.number}} */ INSERT INTO users ({_COLUMNS}) VALUES ({_VALUES}); -- x", first="-- dump\n"), {}),
    "sql-oracle": (_lines("INTO users (id, email, password) VALUES ({p.number}, '{p.email}', '{sql}')", first="INSERT ALL\n", last="\nSELECT 1 FROM dual;"), _SECRET),
    "sql-json-column": (_lines("INSERT INTO `a` VALUES ({p.number},'{{\\\"email\\\": \\\"{p.email}\\\"}}');"), {}),
    "sql-copy": (_lines("{p.number}\t{p.email}\t{p.username}\t{p.phone}\t{p.password}", first=f"SET x = 1;\nCOPY public.users ({_COLUMNS}) FROM stdin;\n", last="\n\\."), _ALL),
    "sql-copy-csv": (_lines('{p.number},{p.email},{p.username},{p.phone},"{p.password}"', first=f"COPY users ({_COLUMNS}) FROM stdin WITH (FORMAT csv);\n", last="\n\\."), _ALL),
    "sql-copy-csv-header": (_lines("{p.number};{p.email};{p.username};{p.phone};{p.password}", first=f"COPY users FROM stdin WITH CSV HEADER DELIMITER ';';\n{HEADER.replace(',', ';')}\n", last="\n\\."), _ALL),
    "sql-copy-bar": (_lines("{p.number}|{p.email}|{p.username}|{p.phone}|{p.password}", first=f"COPY users ({_COLUMNS}) FROM stdin WITH DELIMITER '|';\n", last="\n\\."), _ALL),
    "json-lines": (_json_lines(lambda one: one), _ALL),
    "json-lines-nested": (_json_lines(lambda one: {"_source": {"user": one}}), _ALL),
    "json-lines-emails": (_json_lines(lambda one: {"id": 1, "emails": [one["email"]], "password": one["password"]}), _SECRET),
    "json-lines-meteor": (_json_lines(lambda one: {"emails": [{"address": one["email"], "verified": True}], "username": one["username"]}), {"usernames": True}),
    "json-lines-escaped": (lambda persons: "".join(json.dumps(_record(p)).replace("@", "\\u0040") + "\n" for p in persons), _ALL),
    "json-array": (_json(lambda rows: rows), _ALL),
    "json-array-pretty": (_json(lambda rows: rows, 2), _ALL),
    "json-wrapped": (_json(lambda rows: {"version": 1, "data": rows}), _ALL),
    "json-elastic": (_json(lambda rows: {"hits": {"hits": [{"_source": row} for row in rows]}}, 1), _ALL),
    "json-firebase": (_json(lambda rows: {"users": {f"u{at}": row for at, row in enumerate(rows)}}), _ALL),
    "json-django": (_json(lambda rows: [{"model": "auth.user", "pk": 1, "fields": row} for row in rows]), _ALL),
    "json-mongo": (_json_lines(lambda one: {"_id": {"$oid": "5f"}, "profile": {"email": one["email"]}, "password": one["password"]}), _SECRET),
    "json-list": (_json(lambda rows: [row["email"] for row in rows]), {}),
    "python-dicts": (lambda persons: "".join(f"{_record(p)!r}\n" for p in persons), _ALL),
    "php-serialised": (_serialised("a"), _ALL),
    "php-serialised-object": (_serialised('O:8:"stdClass"'), _ALL),
    "php-arrays": (_lines("  array('id' => {p.number}, 'email' => '{p.email}', 'username' => '{p.username}', 'phone' => '{p.phone}', 'password' => '{p.password}'),", first="<?php\nreturn array(\n", last="\n);"), _ALL),
    "php-short-arrays": (_lines('  [\n    "id" => {p.number},\n    "email" => "{p.email}",\n    "username" => "{p.username}",\n    "phone" => "{p.phone}",\n    "auth" => ["password" => "{p.password}"],\n  ],', first="$users = [\n", last="\n];"), _ALL),
    "xml": (_lines("  <user>\n    <email>{p.email}</email>\n    <username>{p.username}</username>\n    <phone>{p.phone}</phone>\n    <password>{p.password}</password>\n  </user>", first='<?xml version="1.0"?>\n<users>\n', last="\n</users>"), _ALL),
    "xml-one-line": (_lines("<user><email>{p.email}</email><username>{p.username}</username><phone>{p.phone}</phone><password>{p.password}</password></user>", first="<users>", last="</users>", between=""), _ALL),
    "xml-attributes": (_lines('  <row Id="{p.number}" Email="{p.email}" UserName=\'{p.username}\' Phone="{p.phone}"\n Password="{p.password}"/>', first="<users>\n", last="\n</users>"), _ALL),
    "xml-fields": (_lines('\t<row>\n\t\t<field name="id">{p.number}</field>\n\t\t<field name="email">{p.email}</field>\n\t\t<field name="username">{p.username}</field>\n\t\t<field name="phone">{p.phone}</field>\n\t\t<field name="password">{p.password}</field>\n\t</row>', first='<?xml version="1.0"?>\n<!-- a <b> -->\n<mysqldump>\n<database name="shop">\n<table_data name="users">\n', last="\n</table_data></database></mysqldump>"), _ALL),
    "xml-cdata": (_lines("<u:user><u:email><![CDATA[{p.email}]]></u:email><u:username>{p.username}</u:username><u:phone>{p.phone}</u:phone><u:password><![CDATA[{p.password}]]></u:password></u:user>", first="<users>\n", last="\n</users>"), _ALL),
    "xml-entities": (lambda persons: "<users>\n" + "".join(f"<user><email>{p.email.replace('@', '&#64;')}</email><password>&lt;{p.password}&gt;</password></user>\n" for p in persons) + "</users>\n", _SECRET),
    "xml-nested": (_lines("<user><name>{p.name}</name><contact><email>{p.email}</email><phone>{p.phone}</phone></contact><password>{p.password}</password></user>", first="<users>\n", last="\n</users>"), {"phones": True, **_SECRET}),
    "html-table": (_lines("<tr><td>{p.number}</td><td>{p.email}</td></tr>", first="<table>", last="</table>"), {}),
    "html-entities": (lambda persons: "".join(f"<a href='x'>{p.email.replace('@', '&#64;')}</a>\n" for p in persons), {}),
    "percent": (lambda persons: "".join(f"https://a.example/?e={urllib.parse.quote(p.email)}&n=1\n" for p in persons), {}),
    "percent-combo": (lambda persons: "".join(f"{p.email.replace('@', '%40')}:{p.password}\n" for p in persons), _SECRET),
    "mime": (lambda persons: "".join(f"From: =?utf-8?Q?x?= <{p.email.replace('@', '=40')}>\n" for p in persons), {}),
    "full-width": (lambda persons: "".join(f"{p.email.replace('@', '＠')} {p.number}\n" for p in persons), {}),
    "url-path": (_lines("https://a.example/unsubscribe/{p.email}"), {}),
    "prose": (_lines("On day {p.number} we wrote to {p.email}, who did not answer."), {}),
    "brackets": (_lines("[{p.email}] ({p.number})"), {}),
    "adobe": (_lines("{p.number}-|--|-{p.email}-|-L8qbAD3jl3jSPm/keox4fA==-|-dog name|--"), {}),
    "log": (_lines("2019-01-01 10:00:00 INFO login user={p.email} ip=10.0.0.1"), {}),
    "hive": (_lines("{p.number}\x01{p.email}\x01{p.phone}"), {"phones": True}),
}  # fmt: skip

_ENCODED = ("csv-comma-minimal", "combo-colon", "json-array-pretty", "sql-mysql", "labels-lumma")
_ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-le-bare": lambda text: text.encode("utf-16-le"),
    "utf-16-be-bare": lambda text: text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "bom": lambda text: text.encode("utf-8-sig"),
    "latin-1": lambda text: ("é;ü\n" + text).encode("latin-1"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "old-mac": lambda text: text.replace("\n", "\r").encode(),
}
_PACKED = ("combo-colon", "json-array")


def _zipped(data: bytes, **options: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        archive.writestr("a/b.txt", data)
    return out.getvalue()


def _tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("b.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _seven_zipped(data: bytes) -> bytes:
    import py7zr

    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as archive:
        archive.writestr(data, "b.txt")
    return out.getvalue()


def _lz4(data: bytes) -> bytes:
    import lz4.frame

    return bytes(lz4.frame.compress(data))


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": _lz4,
    "zip": partial(_zipped, compression=zipfile.ZIP_DEFLATED),
    "zip-stored": _zipped,
    "zip-lzma": partial(_zipped, compression=zipfile.ZIP_LZMA),
    "tar": _tarred,
    "tar-gzip": lambda data: gzip.compress(_tarred(data)),
    "7z": _seven_zipped,
    "zip-in-zip": lambda data: _zipped(_zipped(data)),
}


def forms(persons: Sequence[Someone]) -> Iterator[Form]:
    """Every form of these people."""
    known = {name: (write(persons), facts) for name, (write, facts) in _TEXTS.items()}

    def form(name: str, content: bytes, facts: Facts) -> Form:
        return Form(name=name, content=content, **facts)

    for name, (text, facts) in known.items():
        yield form(name, text.encode(), facts)
    for name in _ENCODED:
        text, facts = known[name]
        for encoding, encode in _ENCODINGS.items():
            yield form(f"{name}-{encoding}", encode(text), facts)
    cyrillic, facts = known["labels-cyrillic"]
    yield form("labels-cyrillic-windows-1251", cyrillic.encode("windows-1251"), facts)
    yield form("labels-cyrillic-utf-16", cyrillic.encode("utf-16"), facts)
    for name in _PACKED:
        text, facts = known[name]
        for packing, pack in PACKINGS.items():
            yield form(f"{name}-{packing}", pack(text.encode()), facts)
    yield from _mixed(known, form)


def _mixed(known: dict[str, tuple[str, Facts]], form: Callable[[str, bytes, Facts], Form]) -> Iterator[Form]:
    """Two shapes in one file, half of the people each; and damage between the lines."""
    pairs = (("combo-colon", "sql-one-a-line"), ("json-lines", "combo-colon"), ("csv-comma-all", "csv-semicolon-all"),
             ("sql-mysql", "json-lines"), ("labels-lumma", "combo-colon"), ("combo-colon", "labels-redline"))  # fmt: skip
    for first, second in pairs:
        yield form(f"{first}-then-{second}", (known[first][0] + "\n" + known[second][0]).encode(), {})
    yield form("combo-colon-then-utf-16", known["combo-colon"][0].encode() + known["plain"][0].encode("utf-16-le"), {})
    for name in ("combo-colon", "json-lines", "sql-one-a-line", "csv-comma-minimal"):
        lines = known[name][0].split("\n")
        noise = ['{"broken": "x', "\x00\x01\x02", "=====", "'", '"', "INSERT INTO x VALUES (1,'", "a,b,c"]
        mixed = [
            piece for at, line in enumerate(lines) for piece in ([line, noise[at // 5 % 7]] if at % 5 == 4 else [line])
        ]
        yield form(f"{name}-damaged", "\n".join(mixed).encode(), {})
