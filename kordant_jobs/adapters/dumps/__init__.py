"""Breach dumps: files of stolen identifiers in whatever shape, read as canonical identifiers.

    open_dump → archives, unpack (bytes) → text (numbered lines) → detect, columns (what is what)
              → delimited | json_lines | sql (values) → bulk, secrets, records (who, and was a password there)
              → blind (the same as blind indexes)

No value but canonical identifiers leaves this package: no password, no hash, no other column.
"""

from kordant_jobs.adapters.dumps.archives import Compression, content_sha256
from kordant_jobs.adapters.dumps.blind import Blinder
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

__all__ = [
    "BadLine",
    "BlindBatch",
    "Blinder",
    "Column",
    "Compression",
    "Dump",
    "DumpBatch",
    "DumpLimits",
    "DumpShape",
    "Role",
    "SecretKind",
    "content_sha256",
    "open_dump",
]
