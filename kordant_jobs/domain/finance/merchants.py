"""Finds the merchant of a transaction in its description: channel words, acquirers, dates and numbers are removed.
Pure."""

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

from anyascii import anyascii
from rapidfuzz import fuzz

from kordant_jobs.domain.finance.states import TransactionType

TABLES = files(__package__).joinpath("tables")
_CHANNEL = frozenset(TABLES.joinpath("channels.txt").read_text("utf-8").split())
"""Words at the start of a description that tell how money moved, not to whom."""
_ACQUIRERS = re.compile(
    r"^(?:PAG|MP|MERC(?:ADO)?PAGO|EBN|EBANX|DL|EC|IFD|HTM|SUMUP|STONE|TON|CIELO|PICPAY|PP|PAYPAL|ZP|ZOOP|IUGU|PAGARME|"
    r"PAGSEGURO|PG|ASAAS|VINDI|STRIPE|SHPP|INFINITEPAY|CLOUDWALK)\s*\*\s*"
)
_MARKS = re.compile(
    r"(?:\bPARC(?:ELA)?\.?\s*)?(?<!\d)\d{1,2}\s*/\s*\d{1,2}(?:/\d{2,4})?\b|(?<!\d)\d{2}[.-]\d{2}(?:[.-]\d{2,4})?\b|"
    r"\b[A-Z]*\d[\dX.*-]*\d[A-Z\d]*\b|\d{2,}"
)
_GLUED = re.compile(r"([A-Z])(\d{2}/\d{2})")
_SIGNS = re.compile(r"[^A-Z0-9&* ]+")
_PLACES = (
    "SAO PAULO|RIO DE JANEIRO|BELO HORIZON(?:TE)?|PORTO ALEGRE|CURITIBA|RECIFE|SALVADOR|FORTALEZA|BRASILIA|MANAUS|"
    "BELEM|GOIANIA|CAMPINAS|OSASCO|GUARULHOS|SANTO ANDRE|BARUERI|SANTOS|NITEROI|FLORIANOPOLIS|VITORIA|NATAL|"
    "MACEIO|JOINVILLE|SAO BERNARDO|UBERLANDIA|RIBEIRAO PRETO|SOROCABA|LONDRINA|CUIABA|CAMPO GRANDE|"
    "JOAO PESSOA|ARACAJU|TERESINA|SAO LUIS"
)
_TAIL = re.compile(rf"(?:\s+|-)*(?:\b(?:{_PLACES})\b|\bBRA?\b|\bBRASIL\b)\s*$")
_FORMS = re.compile(r"\b(?:S\.?/?A|LTDA|EIRELI|EPP|MEI|CIA|COM|WWW|HTTPS?|PAGAMENTOS|SERVICOS DIGITAIS)\b\.?|\.COM\b")

KNOWN = frozenset(TABLES.joinpath("firms.txt").read_text("utf-8").splitlines())
"""Firms whose names are stored in clear. A firm whose first word is also a person's name (CLARO, RAIA, TIM) is not
listed by that word alone. Any other name may be a person's, and is stored as a keyed hash."""
_KNOWN_WORDS = max(len(name.split()) for name in KNOWN)
_MOVES = frozenset({TransactionType.PIX, TransactionType.TED, TransactionType.DOC, TransactionType.INTERNAL_TRANSFER})
_MOVED = re.compile(r"\b(?:PIX|TED|DOC|TEF|TBI|TRANSF\w*)\b")


def plain_letters(text: str) -> str:
    """A text in upper case without accents, with signs as blanks."""
    if text.isascii():
        return _SIGNS.sub(" ", text.upper())
    letters = unicodedata.normalize("NFKD", text.upper())
    return _SIGNS.sub(" ", "".join(sign for sign in letters if not unicodedata.combining(sign)))


@lru_cache(maxsize=1 << 16)
def merchant_of(description: str, counterparty: str = "") -> str:
    """The part of a description that is the same for all of a merchant's descriptions; empty when there is none.

    >>> merchant_of("PAG*Padaria Sol 03/11 SAO PAULO BR"), merchant_of("PIX ENVIADO 12/03 Maria de Souza 99812")
    ('PADARIA SOL', 'MARIA DE SOUZA')
    >>> merchant_of("DEB AUT ENEL SP 123456"), merchant_of("RSHOP-LOJA BARU-03/05"), merchant_of("Pagamento 12/03")
    ('ENEL SP', 'LOJA BARU', '')
    """
    text = _GLUED.sub(r"\1 \2", anyascii(counterparty or description).upper())
    words = _MARKS.sub(" ", text).replace("-", " ").split()
    while words and all(part in _CHANNEL for part in re.findall(r"[A-Z]+", words[0])):
        del words[0]
    text = _FORMS.sub(" ", _ACQUIRERS.sub("", " ".join(words)))
    before = None
    while before != text:
        before, text = text, _TAIL.sub("", text).strip(" -.*/:,")
    return " ".join(re.findall(r"[A-Z0-9&+']+", text))[:60]


def split_known_firm(merchant: str) -> tuple[str, str]:
    """The well-known firm at the start of a name, and the rest of the name, which may be a person's.

    >>> split_known_firm("UBER TRIP HELP"), split_known_firm("NETFLIX MARIA SILVA"), split_known_firm("RAIA LIMA")
    (('UBER TRIP', 'HELP'), ('NETFLIX', 'MARIA SILVA'), ('', 'RAIA LIMA'))
    """
    words = merchant.split()
    for length in range(min(_KNOWN_WORDS, len(words)), 0, -1):
        if (name := " ".join(words[:length])) in KNOWN:
            return name, " ".join(words[length:])
    return "", merchant


def goes_to_a_person(kind: TransactionType, description: str) -> bool:
    """True when the row moves money between people, so that no part of its name may be stored in clear.

    >>> goes_to_a_person(TransactionType.OTHER, "Pix enviado Shell"), goes_to_a_person(TransactionType.CARD, "UBER")
    (True, False)
    """
    return kind in _MOVES or _MOVED.search(description[:60].upper()) is not None


def likeness(one: str, other: str) -> float:
    """The likeness of two descriptions, from 0 to 1."""
    left, right = merchant_of(one), merchant_of(other)
    if not left and not right:
        return fuzz.ratio(plain_letters(one), plain_letters(other)) / 100
    return max(fuzz.ratio(left, right), fuzz.token_sort_ratio(left, right)) / 100
