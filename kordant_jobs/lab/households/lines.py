"""The name of the other party in a Brazilian statement line. Pure.

Lines are read when they are written; afterwards only keys made of these names are kept.
"""

from __future__ import annotations

import re

from anyascii import anyascii

_CHANNEL = frozenset(
    ["PIX", "ENVIADO", "RECEBIDO", "ENVIO", "ENVIADA", "RECEBIDA", "RECEBIMENTO", "TRANSF", "TRANSFERENCIA", "PELO", "PARA", "POR", "DE", "DO", "DA", "QR", "QRS", "QRCODE", "DINAMICO", "ESTATICO", "PAGAMENTO", "PAGTO", "PGTO", "PAG", "PGT", "PAGT", "PAGO", "PAGA", "BOLETO", "TITULO", "TIT", "COBRANCA", "BANCO", "DEB", "DEBITO", "DEBT", "AUT", "AUTOM", "AUTOMATICO", "AUTOR", "CONTA", "COMPRA", "CARTAO", "CREDITO", "CRED", "CR", "VISA", "MASTER", "MASTERCARD", "ELO", "MAESTRO", "TED", "DOC", "TEF", "TBI", "INT", "INTERNET", "RSHOP", "REDE", "SHOP", "ESTORNO", "DEVOLUCAO", "SALARIO", "FOLHA", "PROVENTOS", "REMUNERACAO", "LIQ", "EM", "NO", "NA", "E", "A", "O"]
)  # fmt: skip
_ACQUIRERS = re.compile(
    r"^(?:PAG|MP|MERC(?:ADO)?PAGO|EBN|EBANX|DL|EC|IFD|HTM|SUMUP|STONE|TON|CIELO|PICPAY|PP|PAYPAL|ZP|ZOOP|IUGU|PAGARME|"
    r"PAGSEGURO|PG|ASAAS|VINDI|STRIPE|SHPP|INFINITEPAY|CLOUDWALK)\s*\*\s*"
)
_MARKS = re.compile(
    r"(?:\bPARC(?:ELA)?\.?\s*)?(?<!\d)\d{1,2}\s*/\s*\d{1,2}(?:/\d{2,4})?\b|(?<!\d)\d{2}[.-]\d{2}(?:[.-]\d{2,4})?\b|"
    r"\b[A-Z]*\d[\dX.*-]*\d[A-Z\d]*\b|\d{2,}"
)
_GLUED = re.compile(r"([A-Z])(\d{2}/\d{2})")
_PLACES = (
    "SAO PAULO|RIO DE JANEIRO|BELO HORIZON(?:TE)?|PORTO ALEGRE|CURITIBA|RECIFE|SALVADOR|FORTALEZA|BRASILIA|MANAUS|BELEM|"
    "GOIANIA|CAMPINAS|OSASCO|GUARULHOS|SANTO ANDRE|BARUERI|SANTOS|NITEROI|FLORIANOPOLIS|VITORIA|NATAL|MACEIO|JOINVILLE|"
    "SAO BERNARDO|UBERLANDIA|RIBEIRAO PRETO|SOROCABA|LONDRINA|CUIABA|CAMPO GRANDE|JOAO PESSOA|ARACAJU|TERESINA|SAO LUIS"
)
_TAIL = re.compile(rf"(?:\s+|-)*(?:\b(?:{_PLACES})\b|\bBRA?\b|\bBRASIL\b)\s*$")
_FORMS = re.compile(r"\b(?:S\.?/?A|LTDA|EIRELI|EPP|MEI|CIA|COM|WWW|HTTPS?|PAGAMENTOS|SERVICOS DIGITAIS)\b\.?|\.COM\b")


def merchant_name(line: str) -> str:
    """The other party of a statement line, in capital letters without accents, channel, dates, numbers and place.

    >>> merchant_name("PIX ENVIADO JOÃO DA SILVA 03/05"), merchant_name("PAG*JoseDoces SAO PAULO BR")
    ('JOAO DA SILVA', 'JOSEDOCES')
    >>> merchant_name("DEB AUT ENEL SP 123456"), merchant_name("Pagamento da fatura")
    ('ENEL SP', 'FATURA')
    """
    text = _GLUED.sub(r"\1 \2", anyascii(line).upper().strip())
    text = _MARKS.sub(" ", text)
    words = _without_channel(text)
    text = _ACQUIRERS.sub("", words)
    text = _FORMS.sub(" ", text)
    before = None
    while before != text:
        before, text = text, _TAIL.sub("", text).strip(" -.*/:,")
    text = " ".join(re.findall(r"[A-Z0-9&+']+", text))
    return text or " ".join(re.findall(r"[A-Z]+", anyascii(line).upper())) or "?"


def _without_channel(text: str) -> str:
    words = text.replace("-", " ").split()
    while words and all(part in _CHANNEL for part in re.findall(r"[A-Z]+", words[0])):
        del words[0]
    return " ".join(words)
