"""The rows of an invented world as a sync would have written them: payees read from lines, own transfers paired.

Nothing of the truth goes in; a PIX says the document of the other party, as banks do.
"""

from uuid import UUID

import polars as pl

from kordant_jobs.domain.finance.merchants import merchant_of, plain_letters
from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.finance.transfers import DAYS, MOVES, Pair, decide
from kordant_jobs.lab.households.generator import World


def as_written(world: World) -> pl.DataFrame:
    """The rows seen, with `row`, `name` (of the payee), `orig_currency`, `is_own` and `is_candidate`."""
    rows = world.seen.with_row_index("row")
    lines = rows["description"].unique()
    names = dict(zip(lines, [merchant_of(line) or plain_letters(line) for line in lines], strict=True))
    owners = dict(world.entities.select("entity", "owner").iter_rows())
    rows = rows.with_columns(
        pl.col("description").replace_strict(names).alias("name"),
        pl.col("entity").replace_strict(owners).alias("owner"),
        pl.when(pl.col("orig_cents").is_not_null()).then(pl.lit("USD")).alias("orig_currency"),
    )
    own, candidates = _transfers(rows)
    return rows.with_columns(
        pl.col("row").is_in(list(own)).alias("is_own"), pl.col("row").is_in(list(candidates)).alias("is_candidate")
    )


def _transfers(rows: pl.DataFrame) -> tuple[set[int], set[int]]:
    """Rows that the sync's own rule takes for legs of transfers, and those that may be."""
    names_payee = pl.col("type").is_in([T.PIX.value, T.TED.value]) & pl.col("payee").ne("")
    moves = rows.filter(pl.col("type").is_in([one.value for one in MOVES])).select(
        "entity", "account", "row", "day", "cents", "type",
        pl.when(names_payee).then(pl.col("payee") == pl.col("owner")).otherwise(None).alias("is_holder"),
    )  # fmt: skip
    pairs = (
        moves.filter(pl.col("cents") < 0).with_columns(-pl.col("cents"))
        .join(moves.filter(pl.col("cents") > 0), on=["entity", "cents"], suffix="_in")
        .with_columns((pl.col("day_in") - pl.col("day")).dt.total_days().alias("days"))
        .filter((pl.col("account") != pl.col("account_in")) & pl.col("days").is_between(*DAYS))
    )  # fmt: skip
    decided = decide(
        [
            Pair(
                out_id=UUID(int=one["row"]), in_id=UUID(int=one["row_in"]), out_type=T(one["type"]),
                in_type=T(one["type_in"]), out_is_holder=one["is_holder"], in_is_holder=one["is_holder_in"],
                same_key=None, days=one["days"],
            )
            for one in pairs.iter_rows(named=True)
        ]
    )  # fmt: skip
    legs = {leg.int for pair, _ in decided.own for leg in (pair.out_id, pair.in_id)}
    return legs, {leg.int for leg in decided.candidates}
