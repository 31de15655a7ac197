"""Makes records of the values of a block's columns: which identifiers were found, and the kind of password beside
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from kordant_jobs.adapters.dumps.bulk import canonical_rows
from kordant_jobs.adapters.dumps.model import IDENTIFYING, KIND, RECORDS, SECRET, BadLine, Role
from kordant_jobs.adapters.dumps.persons import persons
from kordant_jobs.adapters.dumps.secrets import as_secret_kind, secret_codes
from kordant_jobs.domain.identifiers import IdentifierKind

_KIND_OF = {
    Role.EMAIL: IdentifierKind.EMAIL,
    Role.PHONE: IdentifierKind.PHONE,
    Role.USERNAME: IdentifierKind.USERNAME,
    Role.DOMAIN: IdentifierKind.DOMAIN,
    Role.NATIONAL_ID: IdentifierKind.NATIONAL_ID,
    Role.IBAN: IdentifierKind.IBAN,
    Role.CARD: IdentifierKind.CARD,
}
_PHONE_LOGIN = r"^[\s]*(?:\+[0-9 ().-]{7,24}|[0-9 ().-]{10,24})$"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x{9f}\x{fffd}]"


def records_of(
    values: pl.DataFrame, roles: Mapping[str, Role], *, phone_region: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records of one block, and the `line` and `text` of rows without a person. `values` has `line`, `text` and a
    String column for each key of `roles`."""
    found = [
        rows.select("row", "identifier", kind=pl.lit(kind, KIND))
        for name, role in roles.items()
        if role in IDENTIFYING
        for kind, rows in _identified(role, values[name], phone_region)
    ]
    named = persons(values, roles, phone_region)
    if named is not None:
        rows = canonical_rows(IdentifierKind.PERSON, named, phone_region=phone_region)
        found.append(rows.select("row", "identifier", kind=pl.lit(IdentifierKind.PERSON, KIND)))
    if not found:
        return pl.DataFrame(schema=RECORDS), values.select("line", "text")
    records = pl.concat(found)
    several = len(found) > 1
    if several:
        records = records.unique(["row", "kind", "identifier"], maintain_order=True)
    seen = records["row"].n_unique() if several else records.height
    missing = values.clear() if seen == values.height else _missing(values, records)
    return (
        records.select(
            values["line"].gather(records["row"]),
            "kind",
            "identifier",
            as_secret_kind(pl.lit(_secret(values, roles).gather(records["row"]))).alias("secret"),
        ),
        missing.select("line", "text"),
    )


def _identified(role: Role, values: pl.Series, region: str) -> list[tuple[IdentifierKind, pl.DataFrame]]:
    if role is not Role.LOGIN:
        kind = _KIND_OF[role]
        return [(kind, canonical_rows(kind, values, phone_region=region))]
    emails = canonical_rows(IdentifierKind.EMAIL, values, phone_region=region)
    found = [(IdentifierKind.EMAIL, emails)]
    left = _others(values, emails)
    numbers = left.filter(pl.col("raw").str.contains(_PHONE_LOGIN))
    phones = _at(numbers, canonical_rows(IdentifierKind.PHONE, numbers["raw"], phone_region=region))
    found.append((IdentifierKind.PHONE, phones))
    left = left.join(phones, on="row", how="anti", maintain_order="left")
    names = canonical_rows(IdentifierKind.USERNAME, left["raw"], phone_region=region)
    return [*found, (IdentifierKind.USERNAME, _at(left, names))]


def _others(values: pl.Series, taken: pl.DataFrame) -> pl.DataFrame:
    frame = pl.DataFrame({"row": pl.int_range(len(values), dtype=pl.UInt32, eager=True), "raw": values})
    return frame.join(taken, on="row", how="anti", maintain_order="left").drop_nulls("raw")


def _at(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, numbered within `frame`, with the row numbers of the frame that `frame` was taken from."""
    return rows.with_columns(frame["row"].gather(rows["row"]))


def _secret(values: pl.DataFrame, roles: Mapping[str, Role]) -> pl.Series:
    codes = [secret_codes(values[name], role) for name, role in roles.items() if role in SECRET]
    if not codes:
        return pl.zeros(values.height, pl.UInt8, eager=True)
    return codes[0] if len(codes) == 1 else pl.select(pl.max_horizontal(codes)).to_series()


def _missing(values: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    rows = values.with_row_index("row")
    return rows.join(records, on="row", how="anti", maintain_order="left")


def reasons(missing: pl.DataFrame) -> dict[str, int]:
    """The number of lines without a person, by reason; blank lines are not counted."""
    texts = missing["text"]
    texts = texts.filter(texts.str.contains(r"\S"))
    undecodable = int(texts.str.contains(_CONTROL).sum())
    counts = {BadLine.UNDECODABLE.value: undecodable, BadLine.NO_IDENTIFIER.value: len(texts) - undecodable}
    return {reason: count for reason, count in counts.items() if count}


def merged(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sums of counts by reason."""
    total: dict[str, int] = {}
    for part in counts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return {reason: count for reason, count in total.items() if count}
