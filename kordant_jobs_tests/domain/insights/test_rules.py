"""Rules of insights on rows that are written out: what is a stream, a rise, a duplicate, unusual, and what is not."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from kordant_jobs.domain.insights.assess import ROUND_PIX_TWICE, assess
from kordant_jobs.domain.insights.books import ACCOUNTS_SCHEMA, ROWS_SCHEMA, Books, read
from kordant_jobs.domain.insights.findings import cash_flow, duplicates, price_rises, unusual
from kordant_jobs.domain.insights.forecast import LEVELS, backtest, corrections, project, rewind
from kordant_jobs.domain.insights.insight import Kind
from kordant_jobs.domain.insights.kernels.table import FIXED_STEP
from kordant_jobs.domain.insights.streams import CADENCES, Found, find_streams
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.lab.households.days import nth_bank_day
from kordant_jobs.wording import wording
from kordant_jobs.wording.insights import sentence

EPOCH = date(1970, 1, 1)
MONTHS = [date(2025 + (n // 12), n % 12 + 1, 10) for n in range(12)]


def frame(rows: list[tuple[date, int]], **fixed: Any) -> pl.DataFrame:
    """Rows of one payee: day and cents."""
    columns: dict[str, Any] = {
        "entity": 0, "account": "a", "payee": "NETFLIX", "type": "card", "category": "other", "orig_cents": None,
        "orig_currency": None, "is_refund": False, **fixed,
    }  # fmt: skip
    made = pl.DataFrame({"day": [(day - EPOCH).days for day, _ in rows], "cents": [cents for _, cents in rows]})
    return made.with_columns(
        pl.col("day").cast(pl.Int32),
        *(
            pl.lit(value, dtype=ROWS_SCHEMA[name] if name.startswith("orig_") else None).alias(name)
            for name, value in columns.items()
        ),
    ).with_row_index("row")


def books_of(rows: pl.DataFrame, *, balance: int, today: date) -> Books:
    """Books of one entity with an account `a`, of which the bank said the balance today, and a card `card`."""
    codes = {"a": 0, "card": 1}
    if "cash_day" not in rows.columns:
        rows = rows.with_columns(pl.lit(None).alias("cash_day"))
    return Books(
        rows=rows.select(
            "entity", pl.col("account").replace_strict(codes), pl.col("row").cast(pl.String).alias("id"), "day",
            "cents", "orig_cents", "orig_currency", "payee", "type", pl.lit(None).alias("mcc"),
            pl.lit(None).alias("category"), pl.lit("posted").alias("state"),
            *(pl.lit(None).alias(name) for name in ("no", "of", "plan")),
            *(pl.lit(False).alias(name) for name in ("is_own", "is_candidate", "is_refund", "is_iof")), "cash_day",
        ).cast(ROWS_SCHEMA),
        accounts=pl.DataFrame(
            [
                (0, 0, "a", "checking", balance, (today - EPOCH).days, None, None),
                (0, 1, "c", "card", *[None] * 4),
            ],
            schema=ACCOUNTS_SCHEMA, orient="row",
        ),
    )  # fmt: skip


def numbered(*frames: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([one.drop("row") for one in frames]).with_row_index("row")


def cadences(found: Found) -> list[str]:
    return sorted(CADENCES[one] for one in found.table["cadence"])


def every(days: int, times: int) -> list[date]:
    return [date(2025, 1, 3) + timedelta(days=days * n) for n in range(times)]


@pytest.mark.parametrize(
    ("days", "cadence"),
    [
        (every(7, 20), "weekly"),
        (every(14, 14), "fortnightly"),
        (every(28, 12), "days28"),
        (MONTHS, "monthly"),
        (MONTHS[::2], "bimonthly"),
        ([date(2025, 1, 31), date(2025, 2, 28), date(2025, 3, 31), date(2025, 4, 30), date(2025, 5, 31)], "monthly"),
        ([nth_bank_day(2025, month, 5) for month in range(1, 10)], "monthly"),
    ],
)
def test_a_fixed_charge_has_its_cadence(days: list[date], cadence: str) -> None:
    found = find_streams(frame([(day, -3990) for day in days]))
    assert cadences(found) == [cadence]
    assert found.table["rows"].to_list() == [len(days)]


def test_charges_of_all_amounts_on_any_days_are_no_stream() -> None:
    spread = [(date(2025, 1, 1) + timedelta(days=n * n % 360), -1000 - 977 * (n * 7 % 13)) for n in range(40)]
    assert not len(find_streams(frame(spread)).table)


def test_a_subscription_is_found_among_purchases_of_one_shop() -> None:
    bought = [(date(2025, 1, 1) + timedelta(days=11 * n + n % 3), -(2500 + 1733 * (n * 5 % 17))) for n in range(30)]
    found = find_streams(frame([*bought, *((day, -1490) for day in MONTHS)], type="purchase"))
    assert cadences(found) == ["monthly"]
    assert found.table["amount"].to_list() == [1490]
    assert (found.stream_of[:30] == -1).all()


def test_weekly_groceries_are_no_subscription() -> None:
    amounts = [18_250, 9_900, 23_410, 14_020, 31_870, 12_640, 20_300, 8_700, 27_150, 16_060, 11_480, 24_990]
    assert not len(
        find_streams(frame(list(zip(every(7, 12), [-one for one in amounts], strict=True)), type="purchase")).table
    )


def test_a_stream_goes_on_under_another_name() -> None:
    rows = numbered(
        frame([(day, -3990) for day in MONTHS[:7]]),
        frame([(day, -3990) for day in MONTHS[7:]], payee="NFLX ENTRETENIMENTO"),
    )
    found = find_streams(rows)
    assert found.table["rows"].to_list() == [12]


def test_streams_of_one_entity_do_not_depend_on_others_beside_it() -> None:
    alone = find_streams(frame([(day, -3990) for day in MONTHS]))
    beside = find_streams(
        numbered(frame([(day, -3990) for day in MONTHS], entity=1), frame([(day, -750) for day in every(7, 30)]))
    )
    assert alone.table.drop("stream", "entity").equals(
        beside.table.filter(pl.col("entity") == 1).drop("stream", "entity")
    )


def rises_of(amounts: list[int], **fixed: Any) -> pl.DataFrame:
    rows = frame(list(zip(MONTHS, [-one for one in amounts], strict=False)), **fixed).with_columns(
        pl.lit(0).alias("stream")
    )
    return price_rises(rows)


def test_a_price_rise_names_the_last_old_and_the_first_new_charge() -> None:
    (rise,) = rises_of([3990, 3990, 3990, 4490, 4490]).to_dicts()
    assert (rise["old_cents"], rise["new_cents"], rise["last_old"], rise["first_new"]) == (3990, 4490, 2, 3)


@pytest.mark.parametrize(
    ("amounts", "why"),
    [
        ([3990, 3990, 3990, 4050, 4050], "under 3 %"),
        ([990, 990, 990, 1035, 1035], "under 0.50"),
        ([4490, 4490, 3990, 3990], "a fall"),
        ([3990, 4490, 4490], "one old charge"),
        ([11200, 9800, 13100, 12500, 14900, 15800], "priced by use"),
        ([3990, 3990, 7990, 3990, 3990], "one odd charge between"),
    ],
)
def test_no_price_rise(amounts: list[int], why: str) -> None:
    assert not len(rises_of(amounts)), why


def test_a_rise_of_the_dollar_is_no_price_rise() -> None:
    rows = frame([(day, -5000 - 300 * n) for n, day in enumerate(MONTHS)], orig_cents=-1000, orig_currency="USD")
    assert not len(price_rises(rows.with_columns(pl.lit(0).alias("stream"))))


def test_a_change_of_the_currency_is_no_price_rise() -> None:
    rows = numbered(
        frame([(day, -5500) for day in MONTHS[:6]], orig_cents=-1000, orig_currency="USD"),
        frame([(day, -5500) for day in MONTHS[6:]]),
    )
    assert not len(price_rises(rows.with_columns(pl.lit(0).alias("stream"))))


def in_dollars(cents: list[int], rate: int = 5) -> pl.DataFrame:
    """Monthly charges in dollars, at a rate that moves a little."""
    rows = frame([(day, -one * rate - 7 * n) for n, (day, one) in enumerate(zip(MONTHS, cents, strict=False))])
    charged = pl.Series("orig_cents", [-one for one in cents])
    return rows.with_columns(charged, pl.lit("USD").alias("orig_currency"))


def test_a_subscription_in_dollars_is_shown_in_reais_and_its_rise_in_dollars() -> None:
    rows = in_dollars([1100] * 6 + [1300] * 4)
    said = assess(books_of(rows, balance=100_000, today=MONTHS[9]), today=MONTHS[9])
    facts = {one["kind"]: json.loads(one["facts"]) for one in said.iter_rows(named=True)}
    assert facts["recurring"]["amount"] == "65.46", "of the last six, two at 55 and four at 65 reais"
    assert facts["recurring"]["billed_in"] == "USD"
    rise = facts["price_rise"]
    assert (rise["old"], rise["new"], rise["currency"], rise["a_year"]) == ("11.00", "13.00", "USD", "24.00")
    words = sentence(wording(Locale.EN), Kind.PRICE_RISE, rise)
    assert "$11.00 to $13.00" in words
    assert "$24.00 more a year" in words
    assert "R$" not in words


def test_a_forecast_counts_on_a_subscription_in_dollars_at_its_price_in_reais() -> None:
    varied = [1100, 1400, 1250, 1150, 1450, 1300, 1200, 1400, 1150, 1300]
    rows = in_dollars(varied).with_columns(pl.lit("boleto").alias("type"))
    today = MONTHS[9]
    found = read(books_of(rows, balance=100_000, today=today), today=today)
    (stream,) = found.streams.to_dicts()
    assert stream["step"] > FIXED_STEP, "the median is what is expected, not the last charge"
    made = project(found.rows, found.streams, found.accounts, now=found.now)
    assert stream["amount"] == 6549.0
    assert round(float(made.mean[0, 31] - made.mean[0, 30])) == -6549


def test_a_stream_keeps_its_key_when_another_of_the_payee_ends() -> None:
    first = [(day, -2_000) for day in MONTHS[:6]]
    second = [(day + timedelta(days=12), -9_000) for day in MONTHS[2:]]
    rows = frame(sorted(first + second))
    keys = []
    for today in (MONTHS[6], MONTHS[11]):
        found = read(books_of(rows, balance=100_000, today=today), today=today)
        keys.append(dict(found.streams.select("amount", "key").iter_rows()))
    assert list(keys[1]) == [9_000.0]
    assert keys[0][9_000.0] == keys[1][9_000.0] != keys[0][2_000.0]


DAY = date(2025, 6, 10)
TODAY = (date(2025, 7, 1) - EPOCH).days


def doubled(rows: pl.DataFrame, as_of: int = TODAY) -> list[int]:
    return duplicates(rows.with_columns(pl.lit(-1, dtype=pl.Int32).alias("stream_of")), as_of=as_of)["row"].to_list()


def test_the_same_charge_twice_in_a_day_is_possibly_a_duplicate() -> None:
    assert doubled(frame([(DAY, -8743), (DAY, -8743)])) == [1]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (frame([(DAY, -1250), (DAY, -1250)]), "under 20.00"),
        (frame([(DAY, -8743), (DAY + timedelta(days=2), -8743)]), "two days apart"),
        (frame([(DAY, -8743), (DAY, -8743), (DAY + timedelta(days=4), 8743)]), "reversed"),
        (frame([(DAY, -10_000), (DAY, -10_000)], type="withdrawal"), "cash"),
        (
            numbered(
                frame([(DAY, -5_000), (DAY, -5_000)], type="pix"), frame([(DAY, -5_000)], type="pix", payee="ANA SOUZA")
            ),
            "a round PIX that others get, too",
        ),
        (frame([(DAY, -5_130), (DAY, -5_130)], type="package_fee"), "a fee"),
        (frame([(DAY - timedelta(days=30 * n), -2500) for n in range(5)] + [(DAY, -2500)]), "the price of that place"),
    ],
)
def test_no_duplicate(rows: pl.DataFrame, why: str) -> None:
    assert doubled(rows) == [], why


def test_a_round_pix_that_no_one_else_gets_and_a_fee_beside_its_stream_are_possibly_duplicates() -> None:
    pix = frame([(DAY, -113_000), (DAY, -113_000)], type="pix")
    assert doubled(pix) == [1]
    later = DAY + timedelta(days=9)
    said = assess(books_of(pix, balance=0, today=later), today=later).filter(pl.col("kind") == Kind.DUPLICATE.value)
    assert said["confidence"].to_list() == [ROUND_PIX_TWICE]
    fees = frame([(date(2025, month, 10), -5_130) for month in range(1, 7)] + [(DAY, -5_130)], type="package_fee")
    in_stream = fees.with_columns(pl.when(pl.col("row") < 6).then(0).otherwise(-1).cast(pl.Int32).alias("stream_of"))
    assert duplicates(in_stream, as_of=TODAY)["row"].to_list() == [6]


def test_a_duplicate_is_reported_after_three_days_only() -> None:
    rows = frame([(DAY, -8743), (DAY, -8743)])
    assert doubled(rows, as_of=(DAY - EPOCH).days + 2) == []
    assert doubled(rows, as_of=(DAY - EPOCH).days + 3) == [1]


def test_an_amount_far_beyond_a_payees_others_is_unusual() -> None:
    usual = [(date(2025, 1, 1) + timedelta(days=5 * n), -(4000 + 350 * (n * 3 % 7))) for n in range(20)]
    rows = frame([*usual, (DAY, -60_000)]).with_columns(pl.lit(-1).alias("stream_of"))
    assert unusual(rows)["row"].to_list() == [20]
    assert not len(unusual(rows.filter(pl.col("row") >= 14))), "too few to judge by"


def test_cash_flow_nets_refunds_in_their_category() -> None:
    rows = numbered(
        frame([(DAY, -10_000), (DAY, 500_000)], category="shopping"),
        frame([(DAY, 4_000)], category="shopping", is_refund=True),
    )
    (month,) = cash_flow(rows).to_dicts()
    assert (month["month"], month["inflow"], month["outflow"], month["net"], month["count"]) == (
        date(2025, 6, 1), 500_000, 6_000, 494_000, 3,
    )  # fmt: skip


def test_a_thirteenth_salary_is_no_second_one_and_moves_no_payday() -> None:
    paid = [(nth_bank_day(2025, month, 5), 500_000) for month in range(3, 12)]
    paid += [(date(2025, 11, 28), 250_000)]
    found = find_streams(frame(paid, type="payroll"))
    (salary,) = found.table.to_dicts()
    assert (salary["rows"], salary["last"]) == (9, (date(2025, 11, 7) - EPOCH).days)
    assert found.stream_of[-1] == -1


def test_a_forecast_counts_on_pay_rent_and_the_card_bill_on_their_days() -> None:
    today = date(2025, 11, 3)
    days = [date(2025, month, 10) for month in range(3, 11)]
    rows = numbered(
        frame([(day, 600_000) for day in days], type="payroll", payee="EMPRESA"),
        frame([(day, -200_000) for day in days], type="boleto", payee="IMOBILIARIA"),
        frame([(date(2025, 10, 20), -50_000)], account="card", type="purchase", payee="LOJA"),
    ).with_columns(pl.when(pl.col("account") == "card").then((date(2025, 11, 5) - EPOCH).days).alias("cash_day"))
    found = read(books_of(rows, balance=100_000, today=today), today=today)
    made = project(found.rows, found.streams, found.accounts, now=found.now)
    assert made.entities["unknown"].to_list() == [None]
    balances = [round(float(made.mean[0, day])) for day in (0, 1, 2, 6, 7)]
    assert balances == [100_000, 100_000, 50_000, 50_000, 450_000], "the bill on the 5th, pay and rent on the 10th"


def test_a_card_that_was_used_and_has_no_bill_makes_the_forecast_unknown_and_not_the_runway() -> None:
    today = date(2025, 11, 3)
    spent = [(date(2025, month, 10), -200_000) for month in range(3, 11)]
    rows = numbered(
        frame(spent, type="boleto", payee="IMOBILIARIA"),
        frame([(date(2025, 10, 20), -50_000)], account="card", type="purchase", payee="LOJA"),
    )
    said = assess(books_of(rows, balance=500_000, today=today), today=today, corrections={})
    unknown = dict(said.filter(pl.col("kind").is_in(["forecast", "runway"])).select("key", "unknown").iter_rows())
    assert unknown == {"30": "no_bills", "90": "no_bills", "runway": None}


def test_intervals_of_a_class_hold_as_often_as_past_errors_say() -> None:
    past = pl.DataFrame({"class": "salaried", "score": [float(one) for one in range(-100, 101)]})
    known = corrections({30: past})["salaried", 30]
    assert known[LEVELS.index(0.5)] == 0.0
    inside = past.filter(pl.col("score").is_between(known[1], known[5]))
    assert 0.8 <= len(inside) / len(past) <= 0.83
    assert corrections({30: past.head(10)}) == {}, "too few"


def test_a_pix_is_unusual_only_beside_the_other_pix_of_its_sender() -> None:
    to_ann = [(date(2025, 1, 1) + timedelta(days=9 * n), -(4000 + 350 * (n * 3 % 7))) for n in range(12)]
    others = [(date(2025, 1, 3) + timedelta(days=7 * n), -(9_000 + 9_000 * (n * 3 % 7))) for n in range(20)]
    ann = frame([*to_ann, (DAY, -25_000)], type="pix", payee="ANN")
    rows = numbered(ann, frame(others, type="pix", payee="BOB")).with_columns(pl.lit(-1).alias("stream_of"))
    assert unusual(rows.filter(pl.col("payee") == "ANN"))["row"].to_list() == [12]
    assert unusual(rows)["row"].to_list() == []


def test_past_forecasts_are_judged_by_the_balances_of_three_days() -> None:
    today = date(2025, 10, 15)
    days = [date(2025, month, 10) for month in range(1, 11)]
    rows = numbered(
        frame([(day, 600_000) for day in days], type="payroll", payee="EMPRESA"),
        frame([(day, -200_000) for day in days], type="boleto", payee="IMOBILIARIA"),
    )
    found = backtest(books_of(rows, balance=5_000_000, today=today), today=today)
    assert all(abs(score) < 0.5 for score in found[30]["score"]), "pay and rent are where they were expected"
    assert {horizon: len(one) for horizon, one in found.items()} == {30: 3, 90: 3}


def test_books_are_rewound_to_what_was_known_then() -> None:
    rows = frame([(DAY, -100), (DAY + timedelta(days=9), -40)])
    books = Books(
        rows=rows.with_columns(pl.lit("posted").alias("state"), (pl.col("day") + 30).alias("cash_day")),
        accounts=pl.DataFrame({"account": ["a"], "balance": [1_000], "balance_day": [(DAY - EPOCH).days + 9]}),
    )
    before = rewind(books, DAY)
    assert before.rows["cents"].to_list() == [-100]
    assert before.rows["cash_day"].to_list() == [None]
    assert before.accounts.select("balance", "balance_day").row(0) == (1_040, (DAY - EPOCH).days)


def test_a_card_without_a_limit_has_no_share_and_says_why() -> None:
    rows = frame([(day, -3990) for day in MONTHS])
    said = assess(books_of(rows, balance=0, today=MONTHS[-1]), today=MONTHS[-1])
    (card,) = said.filter(pl.col("kind") == Kind.CARD_USE.value).iter_rows(named=True)
    assert (card["unknown"], json.loads(card["facts"])["share"]) == ("no_limit", None)


def test_a_fee_that_comes_back_does_not_make_the_fees_less() -> None:
    day = date(2025, 6, 10)
    said = assess(books_of(frame([(day, -1000), (day, 1000)], type="package_fee"), balance=0, today=day), today=day)
    (fees,) = said.filter(pl.col("kind") == Kind.FEES.value).iter_rows(named=True)
    assert json.loads(fees["facts"])["paid"] == "10.00"
