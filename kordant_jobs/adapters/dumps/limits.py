"""Counts the bytes of a dump that are read and unpacked, and checks them against the limits."""

from dataclasses import dataclass

from kordant_jobs.adapters.dumps.model import DumpLimits
from kordant_jobs.errors import DumpUnreadable

RATIO_FROM_BYTES = 64 << 20  # below this much text a high ratio is harmless


class LimitExceeded(DumpUnreadable):
    """The dump exceeds a limit."""


@dataclass(kw_only=True)
class Meter:
    """The bytes read and unpacked so far, checked against the limits."""

    limits: DumpLimits
    packed_total: int
    packed: int = 0
    unpacked: int = 0

    def count(self, amount: int) -> None:
        """Add unpacked bytes. Raises DumpUnreadable over a limit."""
        self.unpacked += amount
        if self.unpacked > self.limits.max_bytes:
            raise LimitExceeded(
                f"The dump unpacks to more than {self.limits.max_bytes} bytes. Split it, or raise "
                f"KORDANT_DUMP_MAX_BYTES."
            )
        if self.unpacked > RATIO_FROM_BYTES and self.unpacked > self.limits.max_ratio * max(1, self.packed_total):
            raise LimitExceeded(
                f"The dump unpacks to more than {self.limits.max_ratio} times its size, as zip bombs do. "
                "If it is genuine, unpack it by hand or raise KORDANT_DUMP_MAX_RATIO."
            )
