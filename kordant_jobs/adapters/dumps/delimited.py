"""Lines with delimiters: combo lists, plain lists, columns with or without a header."""

from __future__ import annotations

import re

import polars as pl

from kordant_jobs.adapters.dumps.model import SECRET, BadLine, Layout, Role

ANY_DELIMITER = r"[:;,|\t ]"
# An address behind another delimited field ('https://site:a@b.c:pw'), or in quotes or angle brackets.
_WRAPPED = (
    r"""^(?:[^#\-/].*?[:;,|\t])??["'<\s]*([^\s:;,|"'<>@]+@[^\s:;,|"'<>@]+)"""
    r"""(?:["'>\s]*$|["'>\s]*[:;,|\t ](.*)$)"""
)


def combo(layout: Layout, lines: pl.DataFrame) -> pl.DataFrame:
    """`line`, `text`, `id`, `secret`: what stands before the first delimiter, and all that follows it."""
    text = pl.col("text")
    by_email = layout.columns[0].role is Role.EMAIL
    at = text.str.find(ANY_DELIMITER) if by_email else text.str.find(layout.delimiter, literal=True)
    raw = text.cast(pl.Binary)
    split = lines.with_columns(at=at)
    if split["at"].null_count():
        split = split.with_columns(pl.col("at").fill_null(text.str.len_bytes()))
    return split.with_columns(
        id=raw.bin.slice(0, pl.col("at")).cast(pl.String, strict=False),
        secret=raw.bin.slice(pl.col("at") + 1).cast(pl.String, strict=False),
    ).drop("at")


def unwrapped(lines: pl.DataFrame) -> pl.DataFrame:
    """`combo` for lines that do not start with a plain address but may hold one."""
    groups = pl.col("groups").struct
    found = lines.select("line", "text", groups=pl.col("text").str.extract_groups(_WRAPPED))
    return found.select("line", "text", id=groups[0], secret=groups[1])


def plain(lines: pl.DataFrame) -> pl.DataFrame:
    """`line`, `text`, `id`: the whole line, without quotes around it."""
    return lines.with_columns(id=pl.col("text").str.strip_chars(" \t\r\"'<>,;"))


def columns(layout: Layout, lines: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """`line`, `text` and the columns '0', '1', … that have a role; lines with other than that many are
    bad."""
    if layout.header:
        lines = lines.filter(pl.col("text").str.strip_chars() != layout.header)
    count = len(layout.columns)
    wanted = [index for index, column in enumerate(layout.columns) if column.role is not Role.OTHER]
    quoted = lines.select(pl.col("text").str.contains('"', literal=True)).to_series()
    parts = []
    if not quoted.all():
        parts.append(_unquoted_lines(lines.filter(~quoted), layout, count, wanted))
    if quoted.any():
        parts.append(_quoted_lines(lines.filter(quoted), layout.delimiter, count, wanted))
    if not parts:
        parts.append(lines.with_columns(pl.lit("").alias(str(index)) for index in wanted))
    kept = pl.concat(parts)
    dropped = lines.join(kept, on="line", how="anti")
    wrong = dropped.select(pl.col("text").str.contains(r"\S").sum()).item()  # a blank line is not bad
    return kept, {BadLine.WRONG_COLUMNS.value: wrong} if wrong else {}


def _unquoted_lines(lines: pl.DataFrame, layout: Layout, count: int, wanted: list[int]) -> pl.DataFrame:
    text, parts = pl.col("text"), pl.col("parts")
    if layout.columns[-1].role in SECRET:  # a password may hold the delimiter
        split = lines.with_columns(parts=text.str.splitn(layout.delimiter, count))
        whole = parts.struct[count - 1].is_not_null()
    else:
        split = lines.with_columns(parts=text.str.split_exact(layout.delimiter, count))
        whole = parts.struct[count - 1].is_not_null() & parts.struct[count].is_null()
    kept = split.filter(whole)
    return kept.select("line", "text", *(parts.struct[index].alias(str(index)) for index in wanted))


def _quoted_lines(lines: pl.DataFrame, delimiter: str, count: int, wanted: list[int]) -> pl.DataFrame:
    """By RFC 4180: a field in double quotes holds anything, a quote in it is doubled."""
    mark = re.escape(delimiter)
    field = rf'{mark}(?:"(?:[^"]|"")*"[ \t\r]*|[^{mark}"][^{mark}]*|)'
    parts = pl.col("parts")
    split = lines.with_columns(parts=(pl.lit(delimiter) + pl.col("text")).str.extract_all(field))
    consumed = parts.list.join("").str.len_bytes() == pl.col("text").str.len_bytes() + len(delimiter)
    kept = split.filter((parts.list.len() == count) & consumed)
    return kept.select("line", "text", *(_unquoted(parts.list.get(index)).alias(str(index)) for index in wanted))


def _unquoted(field: pl.Expr) -> pl.Expr:
    bare = field.str.slice(1)
    inner = bare.str.strip_chars_end(" \t\r").str.strip_prefix('"').str.strip_suffix('"')
    return pl.when(bare.str.starts_with('"')).then(inner.str.replace_all('""', '"', literal=True)).otherwise(bare)
