"""Who a transaction was with, from its description: channel words, acquirers, dates and numbers fall away. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

from rapidfuzz import fuzz

CHANNELS = re.compile(
    r"^(?:(?:PIX|TED|DOC|TEF|TRANSF(?:ERENCIA)?|PGTO|PAGTO|PAG(?:AMENTO)?|COMPRA|DEB(?:ITO)?|CRED(?:ITO)?|AUT(?:OMATICO)?|"
    r"ENVIAD[OA]|RECEBID[OA]|BOLETO|CARTAO|ELETRON(?:ICO)?|QR|CODE|DINAMICO|ESTATICO|PARA|DE|EM|NO|A|O|C|REM|DES|VISA|"
    r"MASTER(?:CARD)?|ELO|ONLINE|INTERNET|CONTA|TIT|TITULO|COBRANCA|INT|APP|MOBILE|CEL)\b[\s:.-]*)+"
)
ACQUIRERS = re.compile(
    r"^(?:PAG(?:SEGURO)?|MP|MERCPAGO|MERCADOPAGO|EBN|DL|PP|PAYPAL|IFD|STONE|CIELO|SUMUP|EC|ZP|PG) ?\* ?"
)
DATES = re.compile(r"\b\d{1,2}[/.-]\d{1,2}(?:[/.-]\d{2,4})?\b")
NUMBERS = re.compile(r"\S*\d{2,}\S*")
SIGNS = re.compile(r"[^A-Z0-9&* ]+")
TAILS = re.compile(r"\s+(?:BR|BRA|BRASIL|SAO PAULO|RIO DE JANEIRO|CURITIBA|BELO HORIZONTE|SP|RJ|MG|PR|RS|SC|BA|DF)$")

KNOWN = frozenset(files(__package__).joinpath("tables/firms.txt").read_text("utf-8").split())
"""Firms whose names are shown in clear. Every other name may be a person's, and is kept as a keyed hash."""


def plain(text: str) -> str:
    """Upper case without accents, signs as blanks."""
    if text.isascii():
        return SIGNS.sub(" ", text.upper())
    letters = unicodedata.normalize("NFKD", text.upper())
    return SIGNS.sub(" ", "".join(sign for sign in letters if not unicodedata.combining(sign)))


@lru_cache(maxsize=1 << 16)
def merchant_of(description: str, counterparty: str = "") -> str:
    """What stays the same over a merchant's descriptions; empty when nothing does.

    >>> merchant_of("PAG*Padaria Sol 03/11 SAO PAULO BR"), merchant_of("PIX ENVIADO 12/03 Maria de Souza 99812")
    ('PADARIA SOL', 'MARIA DE SOUZA')
    """
    text = DATES.sub(" ", (counterparty or description).upper())
    text = " ".join(plain(text).split())
    text = ACQUIRERS.sub("", text)
    text = CHANNELS.sub("", text)
    text = ACQUIRERS.sub("", text)
    text = " ".join(NUMBERS.sub(" ", text).replace("*", " ").split())
    before = None
    while before != text:
        before, text = text, TAILS.sub("", text)
    return text[:60]


def is_known_firm(merchant: str) -> bool:
    """Whether the name is one of a firm that everybody knows."""
    return bool(KNOWN.intersection(merchant.split()[:2]))


def likeness(one: str, other: str) -> float:
    """How alike two descriptions are, from 0 to 1."""
    left, right = merchant_of(one), merchant_of(other)
    if not left and not right:
        return fuzz.ratio(plain(one), plain(other)) / 100
    return max(fuzz.ratio(left, right), fuzz.token_sort_ratio(left, right)) / 100
