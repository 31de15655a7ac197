"""Ids as people type them: complete, or the first characters where these are unique."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.errors import SettingsError

SHOWN = 5
_PREFIX = re.compile(r"[0-9a-f]{4,32}")


def as_uuid(text: str) -> UUID:
    """A complete id.

    Raises:
        SettingsError: the text is not an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no id; they look like 0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e.") from None


def id_of(connection: Connection, column: sa.Column[Any], text: str, what: str, hint: str = "") -> UUID:
    """The typed id of a row with its id in `column`. A complete id is not checked against the table.

    Raises:
        SettingsError: the text is not an id, or no id or several ids begin with it.
    """
    try:
        return UUID(text)
    except ValueError:
        digits = text.strip().lower().replace("-", "")
    where = f" {hint} lists them." if hint else ""
    if not _PREFIX.fullmatch(digits):
        raise SettingsError(
            f"{text!r} is no {what} id; they look like 0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e, and the first characters "
            f"are enough.{where}"
        )
    between = column.between(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
    query = sa.select(column).where(between).order_by(column.desc()).limit(SHOWN + 1)
    found: list[UUID] = list(connection.execute(query).scalars())
    if not found:
        raise SettingsError(f"there is no {what} whose id begins with {text}.{where}")
    if len(found) > 1:
        several = ", ".join(map(str, found[:SHOWN])) + (", …" if len(found) > SHOWN else "")
        raise SettingsError(f"several {what} ids begin with {text}: {several}")
    return found[0]
