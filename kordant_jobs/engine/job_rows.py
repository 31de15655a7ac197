"""Which jobs this process serves: the catalogue's, or those of the definitions that a bench or a test brings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from kordant_jobs.catalog import BY_NAME, JobRow
from kordant_jobs.settings import OUR_DEFINITIONS, load_settings


def job_rows() -> Mapping[str, JobRow]:
    """The rows by name. A KORDANT_DEFINITIONS_MODULE other than ours may bring its own, as `CATALOG`."""
    module = load_settings().definitions_module
    if module == OUR_DEFINITIONS:
        return BY_NAME
    own = getattr(importlib.import_module(module), "CATALOG", None)
    return BY_NAME if own is None else {row.name: row for row in own}
