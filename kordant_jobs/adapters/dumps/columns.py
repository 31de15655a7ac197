"""Finds the role of each column of a dump: by its name where there is one, else from a sample of its content.

User names are never guessed from content beside other columns: a column of passwords looks similar, and a password must
not be taken for an identifier.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from types import MappingProxyType

import phonenumbers
import polars as pl

from kordant_jobs.adapters.dumps.model import IDENTIFYING, Column, Role
from kordant_jobs.adapters.dumps.secrets import is_hashed
from kordant_jobs.adapters.dumps.sweep import GAPS
from kordant_jobs.domain.identifiers import IdentifierKind, normalise

MOSTLY = 0.5  # of the values of a column, to be taken for something
STRAY = 0.05  # more values than this that are no e-mail make a column of logins

_WORD = re.compile(r"[\W_]+")
_SYNONYMS = MappingProxyType(
    {
        Role.EMAIL: (
            "email mail emails emailaddress emailaddr emailid useremail usermail mailaddress mailaddr "
            "primaryemail "
            "contactemail customeremail memberemail accountemail loginemail correo correoelectronico correoelectrónico "
            "courriel indirizzomail adresemail 邮箱 电子邮件 电子邮箱 メールアドレス 이메일 "
            "adressemail eposta epost poczta pochta emailadresse indirizzoemail enderecodeemail correio почта"
        ),
        Role.PHONE: (
            "phone phones phonenumber phoneno phonenum mobile mobilephone mobilenumber mobileno cell "
            "cellphone tel "
            "telephone telephonenumber telefon telefone telefono teléfono telefoon handy msisdn celular "
            "movil móvil "
            "whatsapp gsm portable userphone contactphone homephone workphone телефон cellulare "
            "telefonnummer rufnummer numerodetelephone numerodetelefone numerodetelefono numerotelefono numertelefonu "
            "手机号 手机 电话 电话号码 電話番号 전화번호 sodienthoai nomorhp"
        ),
        Role.USERNAME: "nick nickname screenname handle twitter instagram displaylogin",
        Role.LOGIN: (
            "login logins user users username userlogin loginname account accountname acct memberlogin "
            "usr uname usrname "
            "usuario utilisateur benutzer benutzername utente identifiant loginid логин "
            "nomdutilisateur nombredeusuario nomedeusuario nomeutente nazwauzytkownika kullaniciadi kullanıcıadı "
            "gebruikersnaam 用户名 账号 ユーザー名 아이디 tendangnhap namapengguna"
        ),
        Role.PASSWORD: (
            "password passwords pass passwd pwd psw userpass userpassword userpwd plaintext plainpassword "
            "plain "
            "passphrase clave contrasena contraseña senha motdepasse mdp passwort kennwort haslo hasło "
            "wachtwoord "
            "parola sifre şifre cracked пароль 密码 パスワード 비밀번호 matkhau katasandi"
        ),
        Role.HASH: (
            "hash hashes passwordhash passhash pwdhash hashedpassword passwordhashed passwordmd5 md5 "
            "md5password sha1 "
            "sha256 sha512 ntlm bcrypt encryptedpassword passwordencrypted cryptedpassword passworddigest "
            "membersloginkey"
        ),
        Role.DOMAIN: "domain domains domainname emaildomain maildomain dominio domaine",
        Role.NATIONAL_ID: (
            "ssn ssnumber socialsecurity socialsecuritynumber socialsecurityno socsecnumber cpf cpfnumber numerocpf "
            "nrcpf cpfcnpj nationalid nationalidnumber taxid tin"
        ),
        Role.IBAN: "iban ibannumber ibancode ibanno accountiban bankiban bankaccount bankaccountnumber",
        Role.CARD: (
            "card cardnumber cardno cardnum creditcard creditcardnumber creditcardno debitcard debitcardnumber cc "
            "ccnumber ccno ccnum pan paymentcard cartao numerocartao numerodocartao kartennummer tarjeta"
        ),
        Role.NAME: (
            "name fullname realname completename nome nomecompleto nombre nombrecompleto nom nomcomplet customername "
            "cardholder cardholdername holdername ownername personname имя фио"
        ),
        Role.FIRST_NAME: "firstname fname givenname forename vorname prenom primeironome",
        Role.LAST_NAME: (
            "lastname lname surname familyname secondname nachname sobrenome apellido apellidos nomdefamille фамилия"
        ),
        Role.SITE: "url urls host hostname site website link loginurl originurl formurl сайт",
        Role.BORN: (
            "dob birthdate dateofbirth birthday birth born bdate datadenascimento datanascimento nascimento "
            "fechadenacimiento fechanacimiento geburtsdatum datedenaissance datenaissance"
        ),
    }
)
_ROLE_OF = MappingProxyType({name: role for role, names in _SYNONYMS.items() for name in names.split()})
_CYRILLIC = re.compile(r"[а-яА-Я]")
_AS_CP1252 = MappingProxyType(
    {
        _WORD.sub("", name.encode("cp1251").decode("cp1252", "replace")).lower(): role
        for name, role in _ROLE_OF.items()
        if _CYRILLIC.search(name)
    }
)
"""Names in Windows-1251 as they look when read as Windows-1252, which is the fallback for bytes that are not UTF-8."""
_SEVERAL = re.compile(r"(?<=[a-z])\d(?:value)?$")
"""The mark of one of several columns: 'phone2', 'E-mail 1 - Value' of exported address books."""
_PREFIXES = ("user", "member", "account", "customer", "client", "contact", "profile", "reg", "usr")
_NAME_MAX = 128
_WORLD = 0.7  # of a column's values, to be numbers of the world without their '+'
_GAPS = re.compile(GAPS)
_NATIONAL_ID = re.compile(r"\d{3} \d{2} \d{4}|\d{3}[. ]?\d{3}[. ]?\d{3} ?\d{2}", re.ASCII)
_CARD = re.compile(r"3[47]\d{2} ?\d{6} ?\d{5}|[2-6]\d{3}(?: ?\d{4}){3}", re.ASCII)
_TOKEN = re.compile(r"\S{4,128}")
_NO_PASSWORD = re.compile(r"\d{1,9}|[\d.:/\-]+(?:[T ][\d.:+Z]*)?|true|false|[MFmf]|https?://.*|[A-Z]{2}", re.ASCII)


_PROVED = (
    (Role.CARD, IdentifierKind.CARD, _CARD),  # of the usual lengths, since 15 digits may be a phone's own number
    (Role.IBAN, IdentifierKind.IBAN, re.compile(r"[A-Za-z]{2}\d{2}[A-Za-z0-9 ]{10,40}", re.ASCII)),
    (Role.NATIONAL_ID, IdentifierKind.NATIONAL_ID, _NATIONAL_ID),  # nine digits alone may be anything
)


def known_names() -> dict[str, Role]:
    """Every name with a role: letters and digits in lower case (outside ASCII also in other cases)."""
    known = dict(_ROLE_OF)
    for prefix in _PREFIXES:
        for name, role in _ROLE_OF.items():
            known.setdefault(prefix + name, role)
    for name in ("email", "mail", "phone", "mobile", "tel"):
        known |= dict.fromkeys((f"{name}{at}" for at in range(1, 5)), _ROLE_OF[name])
    for name, role in _ROLE_OF.items():
        if not name.isascii():
            known |= dict.fromkeys((name.upper(), name.title()), role)
    for name, role in list(known.items()):
        if _CYRILLIC.search(name):  # its bytes in Windows-1251, which are no UTF-8
            known[name.encode("cp1251").decode("utf-8", "surrogateescape")] = role
    return known


@lru_cache(maxsize=4_096)
def role_by_name(name: str) -> Role | None:
    """The role that a header names, in any case and spelling: 'E-Mail', 'user_email', '"mail"'.

    >>> role_by_name("User E-Mail"), role_by_name("password_hash"), role_by_name("city")
    (<Role.EMAIL: 'email'>, <Role.HASH: 'hash'>, None)
    """
    if len(name) > _NAME_MAX:
        return None
    word = _SEVERAL.sub("", _WORD.sub("", name).lower())
    folded = "".join(one for one in unicodedata.normalize("NFKD", word) if not unicodedata.combining(one))
    for one in (word, folded):
        bare = next((one.removeprefix(prefix) for prefix in _PREFIXES if one.startswith(prefix)), one)
        if role := _ROLE_OF.get(one) or _ROLE_OF.get(bare) or _AS_CP1252.get(one):
            return role
    return None


def named_columns(names: Sequence[str], rows: Sequence[Sequence[str]], region: str) -> tuple[Column, ...]:
    """The columns of a header. A name without a role is judged by content, but never as password or user name."""
    rows = _fewer(rows, len(names))

    def role(at: int, name: str) -> Role:
        return role_by_name(name) or role_by_content([row[at] for row in rows if at < len(row)], region)

    return tuple(Column(name=name.strip().strip("\"'`"), role=role(at, name)) for at, name in enumerate(names))


def unnamed_columns(rows: Sequence[Sequence[str]], count: int, region: str) -> tuple[Column, ...]:
    """Columns judged by content alone. The first column of single words after an identifier counts as the password,
    unless a hash stands there: such a word is its salt. `user:number:hash:hash` is what pwdump writes."""
    rows = _fewer(rows, count)
    columns = [[row[at] for row in rows if at < len(row)] for at in range(count)]
    roles = [role_by_content(column, region) for column in columns]
    first = next((at for at, role in enumerate(roles) if role in IDENTIFYING), None)
    if roles[2:4] == [Role.HASH, Role.HASH] and roles[0] is Role.OTHER and all(map(str.isdigit, columns[1])):
        roles[0] = Role.LOGIN
    elif first is not None and Role.HASH not in roles[first:]:
        order = [*range(first + 1, count), *range(first if Role.HASH not in roles else 0)]
        words = (at for at in order if roles[at] is Role.OTHER and _could_be_passwords(columns[at]))
        at = next((at for at in words if not _echoes(columns[at], columns[first])), None)
        if at is not None:
            roles[at] = Role.PASSWORD
    return tuple(Column(name="", role=role) for role in roles)


_CELLS_JUDGED, _ROWS_JUDGED = 40_000, 20


def _fewer(rows: Sequence[Sequence[str]], columns: int) -> Sequence[Sequence[str]]:
    """The first rows, with as many as are needed to judge: each takes one to ten microseconds."""
    return rows[: max(_ROWS_JUDGED, _CELLS_JUDGED // max(1, columns))]


def role_by_content(values: Sequence[str], region: str) -> Role:
    """The role from the content: e-mails (or logins, when other values are among them), numbers with valid check digits
    (cards, IBANs, formatted national ids), phone numbers, hashes; else OTHER. Names, dates and domains are never
    guessed."""
    held = [value.strip().strip("\"'<>-") for value in values]
    held = [value for value in held if value and value.upper() != "NULL"]
    if not held:
        return Role.OTHER
    emails = sum(is_email(value) for value in held) if reaches(MOSTLY, held, lambda value: "@" in value) else 0
    if emails >= MOSTLY * len(held):
        return Role.EMAIL if len(held) - emails <= STRAY * len(held) else Role.LOGIN
    for role, kind, form in _PROVED:
        if reaches(MOSTLY, held, partial(_is_proved, kind=kind, form=form)):
            return role
    if _are_phones(held, region):
        return Role.PHONE
    return Role.HASH if reaches(MOSTLY, held, is_hashed) else Role.OTHER


def _is_proved(value: str, kind: IdentifierKind, form: re.Pattern[str]) -> bool:
    plain = _GAPS.sub(" ", value)
    return bool(form.fullmatch(plain)) and normalise(kind, plain) is not None


def is_personal_number(value: str, region: str) -> bool:
    """True for a card, an IBAN or a national id with valid check digits, or a phone number.

    >>> is_personal_number("DE89 3704 0044 0532 0130 00", "US"), is_personal_number("hunter22", "US")
    (True, False)
    """
    if not any(one.isdigit() for one in value):
        return False
    return is_phone(value, region) or any(_is_proved(value, kind=kind, form=form) for _, kind, form in _PROVED)


_TIMES = re.compile(r"1\d{9}(?:\d{3})?")
_WITHOUT_PLUS = re.compile(r"[1-9]\d{9,14}")


def _are_phones(held: Sequence[str], region: str) -> bool:
    """True when most values are phone numbers of the region or international ones, with or without '+'. Unix times are
    not."""
    if sum(bool(_TIMES.fullmatch(value)) for value in held) > MOSTLY * len(held):
        return False
    return reaches(MOSTLY, held, lambda value: is_phone(value, region)) or are_of_the_world(held)


def reaches(share: float, values: Sequence[str], test: Callable[[str], bool]) -> bool:
    """True when `test` holds for at least `share` of the values. It stops as soon as the result is certain.

    >>> reaches(0.5, ["a", "b", "1", "2"], str.isdigit), reaches(0.6, ["a", "b", "1", "2"], str.isdigit)
    (True, False)
    """
    needed = math.ceil(share * len(values))
    hits = misses = 0
    for value in values:
        if hits >= needed or misses > len(values) - needed:
            break
        if test(value):
            hits += 1
        else:
            misses += 1
    return hits >= needed


def are_of_the_world(values: Sequence[str]) -> bool:
    """True when most values are phone numbers once a '+' is put before them. Unix times are not."""
    times = sum(bool(_TIMES.fullmatch(value)) for value in values)
    return times <= MOSTLY * len(values) and reaches(_WORLD, values, _is_of_the_world)


def _is_of_the_world(value: str) -> bool:
    return bool(_WITHOUT_PLUS.fullmatch(value)) and is_phone(f"+{value}", "ZZ")


def is_email(value: str) -> bool:
    """True when it is an e-mail address."""
    return "@" in value and "//" not in value and normalise(IdentifierKind.EMAIL, value) is not None


_DATE = re.compile(r"\s*(?:19|20)\d\d([-./ ])(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)", re.ASCII)
"""A day: '2019-01-01 10' would be a number in New Jersey."""


def is_phone(value: str, region: str) -> bool:
    """True for a certain phone number: allotted, too long for an order number, and no day."""
    if _DATE.match(value):
        return False
    if not 9 <= len(value) <= 24 or normalise(IdentifierKind.PHONE, value, phone_region=region) is None:
        return False
    return phonenumbers.is_valid_number(phonenumbers.parse(value, region))


def _could_be_passwords(values: Sequence[str]) -> bool:
    held = [value for value in values if value.strip()]
    good = sum(bool(_TOKEN.fullmatch(value)) and not _NO_PASSWORD.fullmatch(value) for value in held)
    return bool(held) and good >= 0.7 * len(held)


def _echoes(values: Sequence[str], addresses: Sequence[str]) -> bool:
    """True when most values equal the part before the '@' of the address beside them: user names."""
    pairs = list(zip(values, addresses, strict=False))
    same = sum(address.lower().lstrip("\"'<").startswith(f"{value.lower()}@") for value, address in pairs)
    return same >= MOSTLY * len(pairs)


_LABELS = re.compile(
    r"(?i)^(?:https?|ftp|android|e-?mail|url|host|login|user|username|pass|password|name|from|to|cc|bcc|subject|sender|date"
    r"|received|reply-to|return-path|message-id|content-type|begin|end|version|prodid|attendee|organizer|summary|uid"
    r"|dtstart|dtend|dtstamp|location|description|fn|n|org|tel|adr)$"
)
_CODE = re.compile(r"""[{}()\[\]<>"|;]|^[a-z]:\d+:|://|^\.[\w-]+(?:\.[\w-]+)+$""")


def betrays_itself(logins: pl.Series) -> bool:
    """True when the values cannot be user names: few distinct ones, names of schemes and labels, code."""
    if logins.is_empty():
        return False
    sample = logins.head(2_000)
    distinct = sample.unique().to_list()
    bad = sum(bool(_LABELS.match(one) or _CODE.search(one)) for one in distinct)
    few = len(sample) >= 3 and len(distinct) * 25 < max(len(sample), 26)
    return few or bad * 2 >= len(distinct)
