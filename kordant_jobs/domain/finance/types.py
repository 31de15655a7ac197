"""Maps the sources' types of money movements to ours. Pure. A type that is new at a source becomes `other`, and its
word is stored.

Sources: OFB accounts 2.4.2 and 2.5.0, credit cards 2.3.1 (EnumTransactionTypes, EnumCreditCardTransactionType).
"""

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.finance.values import text_of

ACCOUNT_TYPES = {
    "PIX": T.PIX,
    "TED": T.TED,
    "DOC": T.DOC,
    "TRANSFERENCIA_MESMA_INSTITUICAO": T.INTERNAL_TRANSFER,
    "BOLETO": T.BOLETO,
    "CONVENIO_ARRECADACAO": T.COLLECTION,
    "PACOTE_TARIFA_SERVICOS": T.PACKAGE_FEE,
    "TARIFA_SERVICOS_AVULSOS": T.SINGLE_FEE,
    "FOLHA_PAGAMENTO": T.PAYROLL,
    "PORTABILIDADE_SALARIO": T.SALARY_PORTABILITY,
    "DEPOSITO": T.DEPOSIT,
    "SAQUE": T.WITHDRAWAL,
    "CARTAO": T.CARD,
    "ENCARGOS_JUROS_CHEQUE_ESPECIAL": T.OVERDRAFT_INTEREST,
    "RENDIMENTO_APLIC_FINANCEIRA": T.YIELD,
    "RESGATE_APLIC_FINANCEIRA": T.REDEMPTION,
    "OPERACAO_CREDITO": T.CREDIT_OPERATION,
    "TRANSFERENCIA_SALDO_RESERVADO": T.RESERVED_BALANCE,
    "OUTROS": T.OTHER,
}
CARD_TYPES = {
    "PAGAMENTO": T.PURCHASE,
    "TARIFA": T.SINGLE_FEE,
    "OPERACOES_CREDITO_CONTRATADAS_CARTAO": T.CREDIT_OPERATION,
    "ESTORNO": T.REVERSAL,
    "CASHBACK": T.REVERSAL,
    "PAGAMENTO_FATURA": T.BILL_PAYMENT,
    "OUTROS": T.OTHER,
}

VAGUE = frozenset({T.OTHER, T.PURCHASE, T.SINGLE_FEE, T.CREDIT_OPERATION})
FINAL_AT_ONCE = frozenset({T.TED, T.PIX, T.INTERNAL_TRANSFER, T.SINGLE_FEE, T.PAYROLL})
"""OFB accounts 2.4.2: a row of these types keeps its id from the same day, of all other types from the next day on."""


def refined(kind: T, description: str) -> T:
    """A more exact type from the description: an IOF line is a tax, whatever its source calls it.

    >>> refined(T.PURCHASE, "IOF COMPRA INTERNACIONAL").value, refined(T.PIX, "PIX IOF BAR").value
    ('tax', 'pix')
    """
    return T.TAX if kind in VAGUE and description[:30].upper().split()[:1] == ["IOF"] else kind


def type_of(word: object, table: dict[str, T]) -> tuple[T, str | None]:
    """Our type for a source's word, and the word itself where we have no type for it.

    >>> type_of("PIX_AUTOMATICO", ACCOUNT_TYPES)
    (<TransactionType.OTHER: 'other'>, 'PIX_AUTOMATICO')
    """
    text = text_of(word, 60)
    known = table.get(text)
    return (known, None) if known is not None else (T.OTHER, text or None)
