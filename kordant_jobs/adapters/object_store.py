"""Object stores by URL (fsspec): opened and listed in one way, with one text for their errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kordant_jobs.errors import SettingsError, TransientError


def open_store(url: str, setting: str, **options: Any) -> tuple[Any, str]:
    """The store at the URL of a setting, and the path in it. No connection is made.

    Raises:
        SettingsError: the store is unknown, or its library is missing.
    """
    import fsspec

    try:
        files, root = fsspec.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise SettingsError(
            f"{setting} names a store that cannot be used ({type(error).__name__}). Take s3://bucket/folder and "
            "install the extra: pip install 'kordant-jobs[s3]'."
        ) from None
    return files, root.rstrip("/")


def changed_at(facts: Mapping[str, Any]) -> datetime | None:
    """The time of an object's last change, from its facts in a listing; None when the store does not tell it."""
    moment = facts.get("LastModified") or facts.get("created") or facts.get("mtime")
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC)
    return moment if isinstance(moment, datetime) else None


def unreachable(what: str, setting: str, error: Exception, *, then: str) -> TransientError:
    """The error of a store that did not do `what`. Of its own exception only the type is reported, since its text may
    name accounts and objects."""
    return TransientError(
        f"{what} ({type(error).__name__}). See that the store of {setting} is there and takes our credentials{then}"
    )
