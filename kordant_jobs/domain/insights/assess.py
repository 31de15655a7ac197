"""All insights of many entities from their rows, balances and bills, as one frame. Pure: `today` is an argument.

The frame has `entity`, `kind`, `key` (the same every night), `facts` (JSON; money and days as text), `material` (the
values whose change makes the insight news again: amounts in coarse steps), `evidence` (ids of transactions),
`confidence`, `unknown` (the reason why there is no answer, or null) and `day` (the day that it is about, days since
1970, or null).
"""

from datetime import date

import numpy as np
import polars as pl

from kordant_jobs.domain.finance.states import AccountKind
from kordant_jobs.domain.insights.books import HOME_CURRENCY, Books, read
from kordant_jobs.domain.insights.calendar import month_of
from kordant_jobs.domain.insights.categories import FEE_TYPES
from kordant_jobs.domain.insights.findings import cash_flow, duplicates, price_rises, unusual
from kordant_jobs.domain.insights.forecast import HORIZONS, Corrections, Paths, below_zero, project, quantiles
from kordant_jobs.domain.insights.insight import BELOW_ZERO_ALERTED, Kind, Unknown
from kordant_jobs.domain.insights.kernels import anchors as days
from kordant_jobs.domain.insights.kernels import table as kernel

EVIDENCE_MOST = 60
INSIGHT_SCHEMA = pl.Schema({
    "entity": pl.Int32(), "kind": pl.String(), "key": pl.String(), "facts": pl.String(), "material": pl.String(),
    "evidence": pl.List(pl.String()), "confidence": pl.Float64(), "unknown": pl.String(), "day": pl.Int32(),
})  # fmt: skip


def money(column: str | pl.Expr) -> pl.Expr:
    """Cents as a decimal text.

    >>> pl.DataFrame({"a": [-1203, 5]}).select(money("a")).to_series().to_list()
    ['-12.03', '0.05']
    """
    cents = (pl.col(column) if isinstance(column, str) else column).cast(pl.Int64)
    sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    whole, rest = cents.abs() // 100, (cents.abs() % 100).cast(pl.String).str.zfill(2)
    return pl.concat_str(sign, whole.cast(pl.String), pl.lit("."), rest)


def day_text(column: str) -> pl.Expr:
    """A day as ISO text."""
    return pl.from_epoch(pl.col(column), time_unit="d").dt.to_string("%Y-%m-%d")


def coarse(column: str | pl.Expr) -> pl.Expr:
    """An amount in steps of 25 %, so that small changes are no news."""
    cents = (pl.col(column) if isinstance(column, str) else column).cast(pl.Float64)
    step = (cents.abs().clip(1.0).log() / np.log(1.25)).round()
    signed: pl.Expr = cents.sign() * step
    return signed.cast(pl.Int64).cast(pl.String)


def assess(books: Books, *, today: date, corrections: Corrections | None = None) -> pl.DataFrame:
    """Every insight that holds today. Without `corrections` there are no forecasts."""
    found = read(books, today=today)
    now, posted, streams = found.now, found.posted, found.streams
    single = posted.filter(pl.col("stream_of").is_not_null())
    parts = [
        _cash_flow(posted, now=now),
        _recurring(streams, single),
        _price_rises(streams, single),
        _duplicates(single, now=now),
        _unusual(single),
        _fees(posted),
        _card_use(books.accounts),
    ]
    if corrections is not None:
        made = project(found.rows, streams, books.accounts, now=now)
        last = streams.sort("stream").group_by("entity").agg(pl.col("last_id").head(EVIDENCE_MOST).alias("evidence"))
        parts += [*(_forecast(made, corrections, last, horizon, now=now) for horizon in HORIZONS)]
        parts.append(_runway(made, posted, now=now))
    return pl.concat([one.select(INSIGHT_SCHEMA.keys()).cast(INSIGHT_SCHEMA) for one in parts]).sort(
        "entity", "kind", "key"
    )


def _columns(
    kind: Kind,
    key: str | pl.Expr,
    facts: pl.Expr,
    *,
    material: str | pl.Expr = "",
    evidence: pl.Expr | None = None,
    confidence: float | pl.Expr = 1.0,
    unknown: pl.Expr | None = None,
    day: pl.Expr | None = None,
) -> dict[str, pl.Expr]:
    """The columns of an insight of one kind; a plain text or number is the same in each row."""
    given = {"key": key, "material": material, "confidence": confidence}
    literal = {name: one if isinstance(one, pl.Expr) else pl.lit(one) for name, one in given.items()}
    return {
        "entity": pl.col("entity"),
        "kind": pl.lit(kind.value),
        "facts": facts.struct.json_encode(),
        "evidence": pl.lit([], dtype=pl.List(pl.String)) if evidence is None else evidence,
        "unknown": pl.lit(None, dtype=pl.String) if unknown is None else unknown,
        "day": pl.lit(None, dtype=pl.Int32) if day is None else day,
        **literal,
    }


def _evidence(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    return rows.sort("day", "row").group_by(by).agg(pl.col("id").tail(EVIDENCE_MOST).alias("evidence"))


def _recurring(streams: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    evidence = _evidence(
        rows.filter(pl.col("stream_of") >= 0).with_columns(pl.col("stream_of").cast(pl.UInt32).alias("stream")),
        "stream",
    )
    amount = pl.col("amount").round().cast(pl.Int64)
    monthly = (pl.col("amount") * days.MONTH_DAYS / pl.col("period")).round().cast(pl.Int64)
    is_salary = (pl.col("class") == kernel.PAYROLL) | (pl.col("category") == "income.salary")
    facts = pl.struct(
        "sort", "status", pl.col("cadence_name").alias("cadence"), money(amount).alias("amount"), "billed_in",
        pl.col("spread").round(3), money(monthly).alias("a_month"), day_text("next").alias("next_on"),
        day_text("last").alias("last_on"), day_text("first").alias("first_on"), pl.col("rows").alias("times"),
        "category", (pl.col("is_in") & is_salary).alias("is_salary"),
    )  # fmt: skip
    material = pl.concat_str("status", "cadence", coarse("amount"), separator="|")
    about = {"evidence": pl.col("evidence"), "confidence": pl.col("confidence"), "day": pl.col("last")}
    kind = pl.when("is_in").then(pl.lit(Kind.INCOME.value)).otherwise(pl.lit(Kind.RECURRING.value))
    columns = _columns(Kind.RECURRING, pl.col("key"), facts, material=material, **about)
    return streams.join(evidence, on="stream").select(**{**columns, "kind": kind})


RISE_CONFIRMED, RISE_ONCE = 0.98, 0.93
"""The share of correct price rises on the invented accounts for tuning, with two charges at the new price and with one.
"""


def _price_rises(streams: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    of_streams = rows.filter(pl.col("stream_of") >= 0).with_columns(pl.col("stream_of").cast(pl.UInt32).alias("stream"))
    rises = price_rises(of_streams)
    rises = rises.filter(pl.col("day") == pl.col("day").max().over("stream"))
    ids = rows.select("row", "id")
    per_year = 365.25 / pl.col("period")
    facts = pl.struct(
        money("old_cents").alias("old"), money("new_cents").alias("new"), pl.col("currency").fill_null(HOME_CURRENCY),
        day_text("day").alias("since"), pl.col("cadence_name").alias("cadence"), "category",
        pl.col("key").alias("stream"),
        money(((pl.col("new_cents") - pl.col("old_cents")) * per_year).round()).alias("a_year"),
        pl.col("new_rows").alias("charges"),
    )  # fmt: skip
    confidence = pl.when(pl.col("new_rows") >= 2).then(RISE_CONFIRMED).otherwise(RISE_ONCE)
    about = {"evidence": pl.concat_list("old_id", "new_id"), "confidence": confidence, "day": pl.col("day")}
    return (
        rises.join(streams.select("stream", "entity", "key", "cadence_name", "period", "category"), on="stream")
        .join(ids.rename({"row": "last_old", "id": "old_id"}), on="last_old")
        .join(ids.rename({"row": "first_new", "id": "new_id"}), on="first_new")
        .select(**_columns(Kind.PRICE_RISE, pl.col("new_id"), facts, **about))
    )


DUPLICATE_IN_STREAM, DUPLICATE, ROUND_PIX_TWICE = 0.95, 0.91, 0.78
UNUSUAL_FAR, UNUSUAL_NEAR, FAR = 0.93, 0.7, 6.0
"""The same shares for unusual charges; `FAR` is the z above which a charge counts as far off."""


def _duplicates(rows: pl.DataFrame, *, now: int) -> pl.DataFrame:
    ids = rows.select("row", "id")
    return (
        duplicates(rows, as_of=now)
        .join(ids, on="row").join(ids.rename({"row": "twin", "id": "twin_id"}), on="twin")
        .join(rows.select("row", "category"), on="row")
        .select(**_columns(
            Kind.DUPLICATE, pl.col("id"),
            pl.struct(money(-pl.col("cents")).alias("amount"), day_text("day").alias("on"), "type", "category"),
            evidence=pl.concat_list("twin_id", "id"), day=pl.col("day"),
            confidence=pl.when("in_stream").then(DUPLICATE_IN_STREAM)
            .when("is_round_pix").then(ROUND_PIX_TWICE).otherwise(DUPLICATE),
        ))
    )  # fmt: skip


def _unusual(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        unusual(rows.filter(~pl.col("is_refund")))
        .join(rows.select("row", "id", "category"), on="row")
        .select(**_columns(
            Kind.UNUSUAL, pl.col("id"),
            pl.struct(
                money(-pl.col("cents")).alias("amount"), money("usual_cents").alias("usual"),
                day_text("day").alias("on"), (-pl.col("cents") / pl.col("usual_cents")).round(1).alias("times"),
                pl.col("payee_rows").alias("of"), "category",
            ),
            evidence=pl.concat_list("id"), day=pl.col("day"),
            confidence=pl.when(pl.col("z") >= FAR).then(UNUSUAL_FAR).otherwise(UNUSUAL_NEAR),
        ))
    )  # fmt: skip


def _cash_flow(rows: pl.DataFrame, *, now: int) -> pl.DataFrame:
    """One row for each month. The current month has only what was booked so far. Sums are exact, so the confidence is
    1."""
    this_month = pl.from_epoch(pl.lit(now), time_unit="d").dt.truncate("1mo")
    by = cash_flow(rows)
    paid = cash_flow(rows, day="cash_day").group_by("entity", "month").agg(pl.col("outflow").sum().alias("card_bills"))
    unsure = (
        rows.filter("is_candidate")
        .group_by("entity", month_of("day").alias("month"))
        .agg(pl.col("cents").abs().sum().alias("unsure"))
    )
    return (
        by.group_by("entity", "month")
        .agg(
            pl.col("inflow", "outflow", "net").sum(), pl.col("count").sum(),
            pl.struct(
                pl.col("category"), money("inflow").alias("in"), money("outflow").alias("out"), pl.col("count"),
            ).sort_by("category").alias("categories"),
        )
        .join(paid, on=["entity", "month"], how="left").join(unsure, on=["entity", "month"], how="left")
        .with_columns(pl.col("card_bills", "unsure").fill_null(0), (pl.col("month") == this_month).alias("is_partial"))
        .select(**_columns(
            Kind.CASH_FLOW, pl.col("month").dt.to_string("%Y-%m"),
            pl.struct(
                pl.col("month").dt.to_string("%Y-%m").alias("month"), money("inflow").alias("in"),
                money("outflow").alias("out"), money("net").alias("net"), "count", "is_partial",
                money("card_bills").alias("card_bills"), money("unsure").alias("unsure"), "categories",
            ),
            material=pl.when("is_partial").then(pl.lit("partial")).otherwise(
                pl.concat_str(coarse("inflow"), coarse("outflow"), separator="|")
            ),
        ))
    )  # fmt: skip


def _fees(rows: pl.DataFrame) -> pl.DataFrame:
    """Fees, interest and their taxes, by month (I9)."""
    month = month_of("day").alias("month")
    return (
        rows.filter(pl.col("type").is_in(FEE_TYPES) & (pl.col("cents") < 0))
        .sort("day", "row").group_by("entity", month, "type", maintain_order=True)
        .agg((-pl.col("cents").sum()).alias("paid"), pl.col("id"))
        .group_by("entity", "month")
        .agg(
            pl.col("paid").sum(), pl.struct(pl.col("type"), money("paid").alias("paid")).sort_by("type").alias("types"),
            pl.col("id").list.explode(keep_nulls=False, empty_as_null=False).head(EVIDENCE_MOST).alias("evidence"),
        )
        .select(**_columns(
            Kind.FEES, pl.col("month").dt.to_string("%Y-%m"),
            pl.struct(pl.col("month").dt.to_string("%Y-%m").alias("month"), money("paid").alias("paid"), "types"),
            material=coarse("paid"), evidence=pl.col("evidence"),
        ))
    )  # fmt: skip


USE_STEPS = (0.3, 0.5, 0.8, 1.0)
"""Shares of a card's limit that make an insight news when they are reached."""


def _card_use(accounts: pl.DataFrame) -> pl.DataFrame:
    """The used share of each card's limit (I10). No provider reports that cards share a limit."""
    cards = accounts.filter(pl.col("kind") == AccountKind.CARD.value)
    share = pl.col("used") / pl.col("limit")
    reached = pl.sum_horizontal([(share >= step).cast(pl.Int64) for step in USE_STEPS])
    is_known = pl.col("limit").is_not_null() & (pl.col("limit") > 0) & pl.col("used").is_not_null()
    return cards.with_columns(is_known.alias("is_known")).select(**_columns(
        Kind.CARD_USE, pl.col("account_id"),
        pl.struct(
            money(pl.col("limit").fill_null(0)).alias("limit"), money(pl.col("used").fill_null(0)).alias("used"),
            pl.when("is_known").then(share.round(3)).otherwise(None).alias("share"),
        ),
        material=reached.cast(pl.String).fill_null("unknown"),
        unknown=pl.when("is_known").then(None).otherwise(pl.lit(Unknown.NO_LIMIT.value)),
    ))  # fmt: skip


def _forecast(made: Paths, corrections: Corrections, last: pl.DataFrame, horizon: int, *, now: int) -> pl.DataFrame:
    """The expected balance of liquid accounts some days ahead, its intervals, its lowest day (I7)."""
    said = quantiles(made, corrections, horizon)
    path = made.mean[:, 1 : horizon + 1]
    lowest = path.argmin(axis=1)
    names = ("low_95", "low_80", "low_50", "middle", "high_50", "high_80", "high_95")
    has_none = np.isnan(said[:, 0])
    table = made.entities.join(last, on="entity", how="left", maintain_order="left").with_columns(
        *(pl.Series(name, said[:, place].round()).fill_nan(None) for place, name in enumerate(names)),
        pl.Series("lowest", path.min(axis=1).round()),
        pl.Series("lowest_day", lowest + now + 1, dtype=pl.Int32),
        pl.Series("below_zero", below_zero(made, corrections, horizon).round(3)),
        pl.when(pl.Series(has_none)).then(pl.coalesce("unknown", pl.lit(Unknown.SHORT_HISTORY.value)))
        .otherwise("unknown").alias("unknown"),
    )  # fmt: skip
    is_news = pl.col("unknown").is_null() & (pl.col("below_zero") >= BELOW_ZERO_ALERTED)
    facts = pl.struct(
        pl.lit(horizon).alias("days"), money("balance").alias("balance"),
        *(money(name).alias(name) for name in names), money("lowest").alias("lowest"),
        day_text("lowest_day").alias("lowest_on"), "below_zero", "class",
    )  # fmt: skip
    about = {"evidence": pl.col("evidence").fill_null([]), "unknown": pl.col("unknown")}
    material = pl.when(is_news).then(pl.lit("below zero")).otherwise(pl.lit(""))
    whole = table.select(**_columns(Kind.FORECAST, f"{horizon}", facts, material=material, confidence=0.8, **about))
    if horizon != HORIZONS[0]:
        return whole
    about |= {"confidence": pl.col("below_zero"), "day": pl.col("lowest_day")}
    return pl.concat([whole, table.filter(is_news).select(**_columns(Kind.FORECAST, "below zero", facts, **about))])


RUNWAY_MONTHS = 3


def _runway(made: Paths, rows: pl.DataFrame, *, now: int) -> pl.DataFrame:
    """The months that the money lasts at the median net flow of the last three full months, for entities without wages
    (I8)."""
    this_month = np.datetime64(now, "D").astype("datetime64[M]")
    begins = [
        int((this_month - back).astype("datetime64[D]").astype(np.int64)) for back in range(RUNWAY_MONTHS, -1, -1)
    ]
    first = rows.group_by("entity").agg(pl.col("day").min().alias("first"))
    net = (
        rows.filter(pl.col("day").is_between(begins[0], begins[-1] - 1))
        .group_by("entity", month_of("day").alias("month"))
        .agg(pl.col("cents").sum())
        .group_by("entity")
        .agg(pl.col("cents").median().alias("net"), pl.col("cents").min().alias("worst"), pl.len().alias("months_seen"))
    )  # fmt: skip
    table = (
        made.entities.filter(pl.col("class") != "salaried")
        .join(net, on="entity", how="left").join(first, on="entity", how="left")
        .with_columns(
            pl.when(pl.col("unknown") != Unknown.NO_BILLS.value).then("unknown")
            .when((pl.col("months_seen") == RUNWAY_MONTHS) & (pl.col("first") <= begins[0] + 7)).then(None)
            .otherwise(pl.lit(Unknown.SHORT_HISTORY.value)).alias("unknown"),
            pl.when(pl.col("net") < 0).then((-pl.col("balance") / pl.col("net")).clip(0.0).round(1)).alias("months"),
            pl.when(pl.col("worst") < 0).then((-pl.col("balance") / pl.col("worst")).clip(0.0).round(1))
            .alias("at_worst"),
        )
    )  # fmt: skip
    facts = pl.struct("months", "at_worst", money("net").alias("net"), money("balance").alias("balance"))
    material = pl.col("months").clip(0, 24).round(0).cast(pl.String).fill_null("")
    columns = _columns(Kind.RUNWAY, "runway", facts, material=material, confidence=0.8, unknown=pl.col("unknown"))
    return table.select(**columns)
