"""Charges unlike the others of their payee and category (I6), possible duplicates (I5), price rises of fixed streams
(I4), and the cash flow (I1). Pure.
"""

import polars as pl

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.insights.calendar import month_of
from kordant_jobs.domain.insights.categories import FEE_TYPES

PAYEE_ROWS, CATEGORY_ROWS, RECENT = 8, 15, 60
Z_PAYEE, Z_CATEGORY, Z_ALONE, FLOOR = 3.5, 2.0, 4.0, 0.12
"""The least robust z over log amounts, in units of 1.4826 MAD, which is at least `FLOOR`. A charge must pass the limits
of its payee and of its category; `Z_ALONE` is the payee's limit where the category is unknown or has too few rows. On
invented accounts both at 4 finds half of what these find."""
NEVER = (T.WITHDRAWAL.value,)
"""Types that are never judged: cash is withdrawn in a few sizes, so there is no spread to compare with."""
UNUSUAL_CENTS_MIN = 15_000
MONTH_MOST = 3


def unusual(rows: pl.DataFrame) -> pl.DataFrame:
    """Unusual charges: `entity`, `row`, `day`, `cents`, `z` (among the payee's), `usual_cents` (the payee's median),
    `payee_rows`; of each month the `MONTH_MOST` farthest off.

    `rows` has `entity`, `payee`, `category`, `type`, `day`, `row`, `cents`, `stream_of`, without own transfers,
    instalments, refunds. Amounts are compared with all others of the payee (the last 60) and of the category; a PIX
    without a category with the entity's other such PIX.
    """
    is_plain_pix = (pl.col("category") == "other") & (pl.col("type") == T.PIX.value)
    out = rows.filter((pl.col("cents") < 0) & (pl.col("stream_of") < 0) & ~pl.col("type").is_in(NEVER)).with_columns(
        (-pl.col("cents")).cast(pl.Float64).log().alias("log"),
        pl.when(is_plain_pix).then("type").otherwise("category").alias("category"),
    )
    counted = out.group_by("entity", "payee").len("rows")
    large = out.filter(pl.col("cents") <= -UNUSUAL_CENTS_MIN).join(
        counted.filter(pl.col("rows") >= PAYEE_ROWS).drop("rows"), on=["entity", "payee"], how="semi"
    )
    of_payee = out.join(large.select("entity", "payee").unique(), on=["entity", "payee"], how="semi")
    of_category = out.join(large.select("entity", "category").unique(), on=["entity", "category"], how="semi")
    is_recent = pl.col("day").rank("ordinal", descending=True).over("entity", "payee") <= RECENT
    payee = _spread(of_payee.filter(is_recent), ["entity", "payee"], "payee")
    category = _spread(of_category.filter(pl.col("category") != "other"), ["entity", "category"], "category")
    return (
        large.join(payee.filter(pl.col("payee_rows") >= PAYEE_ROWS), on=["entity", "payee"])
        .join(category.filter(pl.col("category_rows") >= CATEGORY_ROWS), on=["entity", "category"], how="left")
        .with_columns(
            ((pl.col("log") - pl.col("payee_middle")) / pl.col("payee_spread")).alias("payee_z"),
            ((pl.col("log") - pl.col("category_middle")) / pl.col("category_spread")).alias("category_z"),
        )
        .filter(
            ((pl.col("payee_z") >= Z_PAYEE) & (pl.col("category_z") >= Z_CATEGORY))
            | ((pl.col("payee_z") >= Z_ALONE) & pl.col("category_z").is_null())
        )
        .filter(pl.col("payee_z").rank("ordinal", descending=True).over("entity", month_of("day")) <= MONTH_MOST)
        .select(
            "entity", "row", "day", "cents", pl.col("payee_z").alias("z"), "payee_rows",
            pl.col("payee_middle").exp().round().cast(pl.Int64).alias("usual_cents"),
        )
        .sort("entity", "day", "row")
    )  # fmt: skip


def _spread(rows: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    middle = rows.group_by(keys).agg(pl.col("log").median().alias(f"{name}_middle"), pl.len().alias(f"{name}_rows"))
    spread = (
        rows.join(middle, on=keys)
        .group_by(keys)
        .agg((pl.col("log") - pl.col(f"{name}_middle")).abs().median().alias(f"{name}_spread"))
        .with_columns((1.4826 * pl.col(f"{name}_spread")).clip(FLOOR).alias(f"{name}_spread"))
    )
    return middle.join(spread, on=keys)


DUPLICATE_CENTS_MIN = 2_000
APART_DAYS = 1
REVERSED_DAYS = 15
WAIT_DAYS = 3
"""Days before a duplicate is reported, since banks reverse their own within them."""
USUAL_TIMES, USUAL_SHARE = 4, 0.08
"""An amount that a payee charged so many times, or in such a share of its charges, is a usual price."""
ROUND_PIX = 1_000
"""Cents. A PIX of a multiple of this amount, when the entity sends it to others too, is repeated on purpose nearly as
often as by mistake."""


def duplicates(rows: pl.DataFrame, *, as_of: int) -> pl.DataFrame:
    """Possible duplicates: `row`, `twin` (the charge before it), `entity`, `day`, `cents`, `type`, `in_stream` (whether
    one of both belongs to a stream), `is_round_pix`.

    `rows` has `entity`, `account`, `payee`, `day` (days since 1970), `row`, `cents`, `type`, `stream_of` (-1: none),
    without own transfers, instalments and IOF lines. `as_of` is today in the same count. Banks charge fees whenever
    there is cause, so a fee counts only when it repeats one of a stream.
    """
    keys = ["entity", "account", "payee", "cents"]
    backs = (
        rows.filter(pl.col("cents") > 0)
        .select("entity", "account", "payee", (-pl.col("cents")).alias("cents"), pl.col("day").alias("back_day"))
        .unique()
    )
    is_pix = pl.col("type") == T.PIX.value
    out = rows.filter((pl.col("cents") <= -DUPLICATE_CENTS_MIN) & (pl.col("type") != T.WITHDRAWAL.value))
    ordered = out.select(*keys, "day", "row", "type", "stream_of").sort(*keys, "day", "row")
    is_same = pl.all_horizontal(*(pl.col(key) == pl.col(key).shift() for key in keys))
    pairs = ordered.with_columns(
        pl.when(is_same).then(pl.col("day") - pl.col("day").shift()).alias("apart"),
        pl.col("row").shift().alias("twin"),
        pl.col("stream_of").shift().alias("twin_stream"),
    ).filter(pl.col("apart") <= APART_DAYS)
    touched = pairs.select(keys).unique()
    times = ordered.join(touched, on=keys, how="semi").group_by(keys).agg(pl.len().alias("times"))
    payees = ordered.join(touched, on=keys[:3], how="semi").group_by(keys[:3]).agg(pl.len().alias("payee_rows"))
    is_round_pix = is_pix & (pl.col("cents") % ROUND_PIX == 0)
    sent = (
        ordered.filter(is_round_pix).group_by("entity", "cents").agg((pl.col("payee").n_unique() > 1).alias("is_usual"))
    )
    near = (
        pairs.join(times, on=keys).join(payees, on=keys[:3]).with_columns(pl.len().over(keys).alias("pairs"))
        .join(sent, on=["entity", "cents"], how="left")
        .with_columns(is_round_pix.alias("is_round_pix"))
    )  # fmt: skip
    is_usual_pix = pl.col("is_round_pix") & pl.col("is_usual").fill_null(False)
    in_stream = (pl.col("stream_of") >= 0) != (pl.col("twin_stream") >= 0)
    unlike_price = (pl.col("times") < USUAL_TIMES) | (pl.col("times") < USUAL_SHARE * pl.col("payee_rows"))
    both_streams = (pl.col("stream_of") >= 0) & (pl.col("twin_stream") >= 0)
    said = near.filter(
        (pl.col("pairs") == 1)
        & (in_stream | (unlike_price & ~both_streams & ~is_usual_pix & ~pl.col("type").is_in(FEE_TYPES)))
        & (pl.col("day") <= as_of - WAIT_DAYS)
    )
    reversed_ = (
        said.select("row", *keys, "day").join(backs, on=keys)
        .filter(pl.col("back_day").is_between(pl.col("day") - APART_DAYS, pl.col("day") + REVERSED_DAYS))
    )  # fmt: skip
    return (
        said.join(reversed_, on="row", how="anti")
        .select("entity", "row", "twin", "day", "cents", "type", in_stream.alias("in_stream"), "is_round_pix")
        .sort("entity", "day", "row")
    )


SAME_LEVEL = 0.02
"""Consecutive charges that differ by at most this share are on one level."""
RISE_MIN, RISE_MIN_CENTS = 0.03, 50
STABLE_ROWS = 2
LEVEL_SHARE = 0.7
"""The share of a stream's charges that must lie in levels of two or more. Other streams are priced by use."""


def price_rises(rows: pl.DataFrame) -> pl.DataFrame:
    """The last rise of each outgoing stream: `stream`, `old_cents`, `new_cents`, `last_old` and `first_new` (rows'
    `row`), `new_rows`, `day` of the first charge at the new price, and the `currency` of both prices, null: the
    account's.

    `rows` are those of streams, with `stream`, `row`, `day`, `cents`, `orig_cents`, `orig_currency` (a stream billed in
    another currency is compared in that). A new level counts from +3 % and +0.50, after two or more stable charges in
    the same currency. Two charges confirm it; one is enough while it is the last.
    """
    much = pl.coalesce("orig_cents", "cents").abs()
    levels = (
        rows.filter(pl.col("cents") < 0)
        .select("stream", "row", "day", "orig_currency", much.alias("much"))
        .sort("stream", "day", "row")
        .with_columns(
            (
                (pl.col("stream") != pl.col("stream").shift())
                | pl.col("orig_currency").ne_missing(pl.col("orig_currency").shift())
                | ((pl.col("much") / pl.col("much").shift() - 1).abs() > SAME_LEVEL)
            )
            .fill_null(True).cum_sum().alias("level")
        )
        .group_by("level", maintain_order=True)
        .agg(
            pl.col("stream", "orig_currency").first(), pl.len().alias("n"),
            pl.col("much").last(), pl.col("much").first().alias("opening"),
            pl.col("row").first().alias("first_new"), pl.col("row").last(), pl.col("day").first(),
        )
    )  # fmt: skip
    whole = pl.col("n").sum().over("stream")
    return (
        levels.with_columns(
            (pl.col("n").filter(pl.col("n") >= STABLE_ROWS).sum().over("stream") / whole).alias("share"),
            (pl.col("level") == pl.col("level").max().over("stream")).alias("is_last"),
        )
        .filter((pl.col("n") >= STABLE_ROWS) | pl.col("is_last"))
        .with_columns(
            pl.col("much", "n", "row", "orig_currency").shift().over("stream").name.prefix("before_"),
        )
        .filter(
            (pl.col("before_n") >= STABLE_ROWS)
            & pl.col("orig_currency").eq_missing(pl.col("before_orig_currency"))
            & (pl.col("opening") >= (1 + RISE_MIN) * pl.col("before_much"))
            & (pl.col("opening") - pl.col("before_much") >= RISE_MIN_CENTS)
            & (pl.col("share") >= LEVEL_SHARE)
        )
        .select(
            "stream", "day", "first_new", pl.col("orig_currency").alias("currency"),
            pl.col("before_much").alias("old_cents"), pl.col("opening").alias("new_cents"),
            pl.col("before_row").alias("last_old"), pl.col("n").alias("new_rows"),
        )
    )  # fmt: skip


def cash_flow(rows: pl.DataFrame, *, day: str = "day") -> pl.DataFrame:
    """The cash flow by `entity`, `month` (its first day) and `category`: `inflow`, `outflow` (positive), `net` in
    cents, `count`. A refund lowers the outflow of its category.

    `rows` has `entity`, `day`, `cents`, `category` and `is_refund`, without own transfers. `day` names the column that
    counts: the day of purchase, or `cash_day`, the day on which a card's bill takes the money.
    """
    is_in = (pl.col("cents") > 0) & ~pl.col("is_refund")
    return (
        rows.filter(pl.col(day).is_not_null())
        .group_by("entity", month_of(day).alias("month"), "category")
        .agg(
            pl.col("cents").filter(is_in).sum().alias("inflow"),
            (-pl.col("cents").filter(~is_in).sum()).alias("outflow"),
            pl.col("cents").sum().alias("net"),
            pl.len().alias("count"),
        )
        .sort("entity", "month", "category")
    )
