"""Breach dumps: files of stolen identifiers in whatever shape, read as canonical identifiers.

    open_dump → archives, packed, unpack (bytes) → text (blocks of UTF-8), folds → window
              → sweep (every address and number, whatever the shape)
              → structure (segments, and in each rows and cells: detect, columns say what is what)
              → understand, bulk, phones, persons, secrets (who, and was a password there) → reading
              → blind (the same as blind indexes)
    ledger    what was read how, and what was not understood

No value but canonical identifiers leaves this package: no password, no hash, no other column.
"""

from kordant_jobs.adapters.dumps.archives import Compression, content_sha256
from kordant_jobs.adapters.dumps.blind import Blinder
from kordant_jobs.adapters.dumps.column_map import ColumnMap
from kordant_jobs.adapters.dumps.ledger import Ledger, Segment, Skipped
from kordant_jobs.adapters.dumps.model import (
    BadLine,
    BlindBatch,
    Column,
    DumpBatch,
    DumpLimits,
    DumpShape,
    Role,
    SecretKind,
)
from kordant_jobs.adapters.dumps.reader import Dump, open_dump
from kordant_jobs.adapters.dumps.reader_options import ReaderOptions

__all__ = [
    "BadLine",
    "BlindBatch",
    "Blinder",
    "Column",
    "ColumnMap",
    "Compression",
    "Dump",
    "DumpBatch",
    "DumpLimits",
    "DumpShape",
    "Ledger",
    "ReaderOptions",
    "Role",
    "SecretKind",
    "Segment",
    "Skipped",
    "content_sha256",
    "open_dump",
]
