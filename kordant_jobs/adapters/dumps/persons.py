"""Combines a name and a birth date from separate columns into the form that `domain.identifiers` reads as a person."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from kordant_jobs.adapters.dumps.model import Role, identifies

_PARTS = frozenset((Role.NAME, Role.FIRST_NAME, Role.LAST_NAME, Role.BORN))
_MONTH_FIRST = frozenset(("US",))
_ISO = r"^\s*((?:18|19|20)[0-9]{2})[-/.]?([0-9]{2})[-/.]?([0-9]{2})(?:[T ].*)?$"
_OTHER = r"^\s*([0-9]{1,2})([-/.])([0-9]{1,2})[-/.]((?:18|19|20)[0-9]{2})(?:[T ].*)?$"


def persons(values: pl.DataFrame, roles: Mapping[str, Role], region: str) -> pl.Series | None:
    """A text such as `John Doe 1980-01-31`, or null, for each row; None when the columns for it are missing."""
    by_role = {role: name for name, role in reversed(list(roles.items())) if role in _PARTS}  # the first of each
    if not identifies(by_role):
        return None
    name = _name(by_role)
    born = _day(pl.col(by_role[Role.BORN]), month_first=region in _MONTH_FIRST)
    return values.select(person=name + pl.lit(" ") + born).to_series()


def _name(by_role: Mapping[Role, str]) -> pl.Expr:
    """The whole name, from first and last name where there are both. A 'name' beside a last name is the first name,
    unless it ends with the last name."""
    first = pl.col(by_role[Role.FIRST_NAME]) if Role.FIRST_NAME in by_role else None
    whole = pl.col(by_role[Role.NAME]) if Role.NAME in by_role else None
    last = pl.col(by_role[Role.LAST_NAME]) if Role.LAST_NAME in by_role else None
    if first is not None and last is not None:
        return first + pl.lit(" ") + last
    name = whole if whole is not None else first
    assert name is not None  # noqa: S101 - by `identifies`
    if last is None:
        return name
    whole_already = name.str.to_lowercase().str.ends_with(last.str.to_lowercase())
    return pl.when(whole_already).then(name).otherwise(name + pl.lit(" ") + last)


def _day(text: pl.Expr, *, month_first: bool) -> pl.Expr:
    """The day in ISO 8601. Where day and month are ambiguous, points mean day first; otherwise the region decides."""
    iso, other = text.str.extract_groups(_ISO).struct, text.str.extract_groups(_OTHER).struct
    one, two = other[0].cast(pl.Int32), other[2].cast(pl.Int32)
    by_region = pl.lit(month_first) & (other[1] != ".")
    month = pl.when(two > 12).then(one).when(one > 12).then(two).when(by_region).then(one).otherwise(two)
    written = pl.concat_str(other[3], _padded(month), _padded(one + two - month), separator="-")
    return pl.coalesce(pl.concat_str(iso[0], iso[1], iso[2], separator="-"), written)


def _padded(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String).str.zfill(2)
