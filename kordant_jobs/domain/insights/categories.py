"""The category of a row from the bank's data: type, merchant code, known merchant (I11). Pure.

The order is user, entity's rule, provider, merchant code, known merchant. The first three are stored on the row
already. There is no model: a row that none of them classifies stays `other`.
"""

import tomllib
from importlib.resources import files

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
_RAW = tomllib.loads(files(__package__).joinpath("categories.toml").read_text("utf-8"))
MERCHANT_CODES: list[tuple[int, int, str]] = _RAW["codes"]
KNOWN_MERCHANTS = {name: category for category, names in _RAW["merchants"].items() for name in names}


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
