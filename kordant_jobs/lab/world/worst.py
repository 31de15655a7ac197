"""Texts that readers of dumps find hardest: each repeats what made some reader slow, or might. Sizes are bytes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType


def _repeated(unit: str, *, first: str = "", last: str = "") -> Callable[[int], bytes]:
    data = unit.encode()
    return lambda size: first.encode() + data * (size // len(data)) + last.encode()


def _distinct(row: Callable[[int], str], *, first: str = "", last: str = "") -> Callable[[int], bytes]:
    width = len(row(1_000))
    return lambda size: (first + "".join(map(row, range(size // width))) + last).encode()


def _numbered(template: str) -> Callable[[int], bytes]:
    return _distinct(lambda at: template.replace("#", str(at)))


def _wide(size: int) -> bytes:
    return b"email," + b"c," * (size // 4) + b"\na@b.cd" + b",1" * (size // 4) + b"\n"


_QUARTER = "email,x\na@b.cd,1\nid;mail\n1;a@b.cd\n"

WORST: Mapping[str, Callable[[int], bytes]] = MappingProxyType(
    {
        "open braces": _repeated('{"a":'),
        "open brackets": _repeated("["),
        "JSON string without an end": _repeated("a", first='{"email":"'),
        "JSON backslashes": _repeated("\\", first='{"a":"', last='"}'),
        "JSON keys": _distinct(lambda at: f'"k{at}":1,', first="{", last='"z":1}'),
        "JSON lines, broken": _repeated('{"email":"a@b.cd\n'),
        "SQL string without an end": _repeated("a", first="INSERT INTO u VALUES (1,'"),
        "INSERTs without an end": _repeated("INSERT INTO u VALUES (1,'x\n"),
        "SQL brackets": _repeated("(", first="INSERT INTO u VALUES "),
        "CREATEs without an end": _repeated("CREATE TABLE u (id int,\nINSERT INTO u VALUES (1);\n"),
        "CREATEs": _repeated("CREATE TABLE a ("),
        "SQL tables": _numbered("INSERT INTO t# (a#,email) VALUES (1,'a#@b.cd');\n"),
        "SQL tables without columns": _numbered("INSERT INTO t# VALUES (1,'a#@b.cd');\n"),
        "two SQL tables": _repeated("INSERT INTO a VALUES (1,'a@b.cd');\nINSERT INTO b VALUES ('a@b.cd',1);\n"),
        "SQL comments": _repeated("/*x*/", first="INSERT INTO u VALUES "),
        "SQL words": _repeated("OR x ", first="INSERT "),
        "COPY without an end": _repeated("1\ta@b.cd\n", first="COPY u (id,email) FROM stdin;\n"),
        "COPYs without an end": _repeated("COPY u (email) FROM stdin;\n", last="a@b.cd\n"),
        "COPYs with a row": _repeated("COPY u (id,email) FROM stdin;\n1\ta@b.cd\n"),
        "CSV quote without an end": _repeated("a@b.cd,x\n", first='email,x\n"'),
        "CSV quotes": _repeated('"', first="email,x\n"),
        "CSV columns": _wide,
        "CSV wide rows": _repeated("a@b.cd" + ",1" * 2_000 + "\n", first="email," + "c," * 2_000 + "\n"),
        "CSV headers alternating": _repeated(_QUARTER),
        "labels alternating": _repeated("Login: a\nPassword: b\n\na@b.cd:x\nq|w|e\n"),
        "labels in one line": _repeated("Email: a@b.cd Pass: x "),
        "'@' alone": _repeated("@", first="a@b.cd:x\n"),
        "a@a@": _repeated("a@", first="a@b.cd:x\n"),
        "dots": _repeated("a.", first="a@b.cd:x\nx@"),
        "%40 alone": _repeated("%40", first="a@b.cd:x\n"),
        "a%40": _repeated("a%40b.c", first="a@b.cd:x\n"),
        "a%40b.example": _distinct(lambda at: f"a{at}%40b.example "),
        "a%40b%2ecd": _distinct(lambda at: f"a{at}%40b%2ecd "),
        "a&#64;b.example": _distinct(lambda at: f"a{at}&#64;b.example "),
        "a\\u0040b.example": _distinct(lambda at: f"a{at}\\u0040b.example "),
        "full-width signs": _repeated("a＠b.example "),
        "international addresses": _repeated("jörg@bücher.example:x\n"),
        "letters and signs": _repeated("ö@", first="a@b.cd:x\n"),
        "digits": _repeated("+1", first="a@b.cd:x\n"),
        "phone numbers": _distinct(lambda at: f"+1202555{at % 10_000:04} "),
        "IBANs": _repeated("GB82WEST12345698765432 "),
        "NULs": _repeated("\0", first="a@b.cd:x\n" * 10),
        "carriage returns": _repeated("\r", first="a@b.cd:x\r"),
        "lines of old Macs": _repeated("a@b.cd:x\r"),
        "blank lines": _repeated("\n", first="a@b.cd:x\n"),
        "XML": _repeated("<a><b email='x@y.example'>"),
        "XML end tags": _repeated("</b>", first="<users><email>" + "<a>" * 40),
        "XML comments without an end": _repeated("<!-- ", first="<users><email>a@b.cd</email>"),
        "XML data without an end": _repeated("<![CDATA[", first="<users><email>a@b.cd</email>"),
        "XML declarations without an end": _repeated("<?", first="<users><email>a@b.cd</email>"),
        "XML tags without an end": _repeated("<a b='", first="<users><email>a@b.cd</email>"),
        "XML attributes": _repeated(" email='a@b.cd'", first="<users><email>a@b.cd</email><a"),
        "XML elements": _repeated("<u><email>a@b.cd</email></u>", first="<users>"),
        "PHP arrays that are open": _repeated("a:1:{"),
        "PHP strings without an end": _repeated('s:9999999:"', first='a:1:{s:5:"email";'),
        "PHP quotes": _repeated("'", first="$a = ['email' => 'a@b.cd',"),
        "PHP escapes": _repeated("\\", first="$a = ['email' => '"),
        "folded lines": _repeated("\n x", first="dn: uid=a,dc=b\nmail: a@b.cd"),
        "soft breaks": _repeated("=\n", first="Content-Transfer-Encoding: quoted-printable\n\na@b.cd"),
        "groups of digits": _repeated("4111 1111 "),
        "PHP": _repeated('a:1:{s:5:"email";s:6:"a@b.cd";}'),
        "colons": _repeated("a:", first="https://"),
        "sites and logins": _repeated("https://a.example:8080/x?c=1:a@b.cd:x:y\n"),
        "two shapes": _repeated('{"email":"a@b.cd"}\na@b.cd:x\n'),
        "four shapes": _repeated(
            '{"email":"a@b.cd"}\nINSERT INTO u VALUES (1,\'a@b.cd\');\na@b.cd:x\nLogin: a\nq;a@b.cd;x\n'
        ),
    }
)
"""By name: from a size to the text."""
