"""Parses JSON from outside: any fault in it is a ValueError."""

import json
from typing import Any


def loads(text: str | bytes, **options: Any) -> Any:
    """The value of a JSON text; `options` are those of `json.loads`.

    Raises:
        ValueError: it is not JSON, is in no encoding of JSON, or is nested deeper than Python reads.

    >>> loads(b'{"a": 1}')
    {'a': 1}
    >>> loads("[" * 100_000)
    Traceback (most recent call last):
    ValueError: nested too deep
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deep") from None
