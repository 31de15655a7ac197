"""The category of a row from the bank's data: type, merchant code, known merchant (I11). Pure.

The order is user, entity's rule, provider, merchant code, known merchant. The first three are stored on the row
already. There is no model: a row that none of them classifies stays `other`.
"""

import polars as pl

from kordant_jobs.domain.finance.states import TransactionType as T

TYPES = {
    T.PAYROLL.value: "income.salary",
    T.SALARY_PORTABILITY.value: "income.salary",
    T.PACKAGE_FEE.value: "fees",
    T.SINGLE_FEE.value: "fees",
    T.ANNUAL_FEE.value: "fees",
    T.TAX.value: "taxes",
    T.OVERDRAFT_INTEREST.value: "interest",
    T.INTEREST.value: "interest",
    T.WITHDRAWAL.value: "cash",
    T.YIELD.value: "income.yield",
    T.REDEMPTION.value: "transfers.own",
    T.RESERVED_BALANCE.value: "transfers.own",
    T.CREDIT_OPERATION.value: "loans",
    T.COLLECTION.value: "utilities",
}
FEE_TYPES = tuple(
    one.value for one in (T.PACKAGE_FEE, T.SINGLE_FEE, T.ANNUAL_FEE, T.OVERDRAFT_INTEREST, T.INTEREST, T.TAX)
)
"""The types of charges that banks make for themselves, and of the taxes on them."""
MERCHANT_CODES = (
    (742, 763, "home"), (1500, 1799, "home"), (3000, 3999, "travel"), (4111, 4131, "transport"), (4411, 4582, "travel"),
    (4722, 4722, "travel"), (4784, 4789, "transport"), (4812, 4816, "telecom"), (4899, 4899, "subscriptions"),
    (4900, 4900, "utilities"), (5200, 5271, "home"), (5300, 5399, "shopping"), (5411, 5499, "groceries"),
    (5511, 5533, "transport"), (5541, 5542, "fuel"), (5551, 5599, "transport"), (5611, 5699, "shopping"),
    (5712, 5735, "home"), (5811, 5814, "restaurants"), (5815, 5818, "subscriptions"), (5912, 5912, "health"),
    (5921, 5921, "groceries"), (5931, 5999, "shopping"), (6010, 6012, "cash"), (6300, 6399, "insurance"),
    (7011, 7012, "travel"), (7210, 7299, "home"), (7512, 7549, "transport"), (7832, 7999, "leisure"),
    (8011, 8099, "health"), (8211, 8299, "education"), (9211, 9399, "taxes"),
)  # fmt: skip
"""Ranges of merchant category codes (ISO 18245), ends included."""
KNOWN_MERCHANTS = {
    **dict.fromkeys(
        (
            "NETFLIX", "SPOTIFY", "GLOBOPLAY", "DISNEY PLUS", "HBO MAX", "DEEZER", "YOUTUBE PREMIUM", "AMAZON PRIME",
            "PARAMOUNT", "CRUNCHYROLL", "APPLE BILL", "ADOBE", "CANVA", "OPENAI CHATGPT", "DROPBOX", "UOL",
        ),
        "subscriptions",
    ),
    **dict.fromkeys(("VIVO", "CLARO", "TIM", "TIM CELULAR", "OI", "OI FIBRA", "NEXTEL", "ALGAR"), "telecom"),
    **dict.fromkeys(("ENEL", "ENEL SP", "CPFL PAULISTA", "LIGHT", "CEMIG", "COELBA", "SABESP", "COPASA", "CEDAE",
                     "SANEPAR", "EMBASA", "COMGAS"), "utilities"),
    **dict.fromkeys(("UBER", "UBER TRIP", "99 TECNOLOGIA", "99APP"), "transport"),
    **dict.fromkeys(("IFOOD", "RAPPI", "UBER EATS"), "restaurants"),
    **dict.fromkeys(("SMARTFIT", "BLUEFIT", "WELLHUB", "GYMPASS"), "fitness"),
    **dict.fromkeys(("MERCADOLIVRE", "AMAZON", "AMAZON BR", "SHOPEE", "MAGALU"), "shopping"),
}  # fmt: skip
"""The category of merchants whose name decides it, as `merchant_name` writes them. Names of persons are not among them.
"""


def category_expression() -> pl.Expr:
    """The category of rows with `category` (as stored on the row, null: none), `type`, `mcc`, `cents` and `payee`: a
    known merchant's name (perhaps followed by `~` and a keyed hash of the rest) or any other key."""
    codes = pl.lit(None, dtype=pl.Utf8)
    for low, high, name in MERCHANT_CODES:
        codes = pl.when(pl.col("mcc").is_between(low, high)).then(pl.lit(name)).otherwise(codes)
    firm = pl.col("payee").cast(pl.Utf8).str.split(" ~").list.first()
    known = firm.replace_strict(KNOWN_MERCHANTS, default=None, return_dtype=pl.Utf8)
    typed = pl.col("type").replace_strict(TYPES, default=None, return_dtype=pl.Utf8)
    rest = pl.when(pl.col("cents") > 0).then(pl.lit("income.other")).otherwise(pl.lit("other"))
    return pl.coalesce("category", codes, known, typed, rest)
