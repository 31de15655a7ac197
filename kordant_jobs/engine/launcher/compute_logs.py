"""A step's stdout and stderr for Dagster's UI, captured without starting a process.

Dagster's own local manager runs two `tail` and two Python processes a step, only to repeat the output on the
worker's own stdout. Files, places and reading are Dagster's; only the repeating is left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from kordant_jobs.engine.dagster_private import (
    CapturedLogContext,
    ComputeIOType,
    ConfigurableClassData,
    LocalComputeLogManager,
    dagster_home,
)

EXTENSIONS = {ComputeIOType.STDOUT: "out", ComputeIOType.STDERR: "err"}


class QuietComputeLogManager(LocalComputeLogManager):
    """Dagster's LocalComputeLogManager, without the processes that repeat the output elsewhere."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No config: the files go where Dagster's own manager puts them by default."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QuietComputeLogManager:
        """Dagster's hook: make one from dagster.yaml."""
        return cls(str(dagster_home() / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Send both streams of this process to the step's files, what C code writes included."""
        out = Path(self.get_captured_local_path(log_key, EXTENSIONS[ComputeIOType.STDOUT]))
        err = Path(self.get_captured_local_path(log_key, EXTENSIONS[ComputeIOType.STDERR]))
        out.parent.mkdir(parents=True, exist_ok=True)
        with _sent_to(out, sys.stdout, 1), _sent_to(err, sys.stderr, 2):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]  # Dagster's has no types


@contextmanager
def _sent_to(path: Path, stream: TextIO, descriptor: int) -> Iterator[None]:
    stream.flush()
    before = os.dup(descriptor)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(target, descriptor)
        os.close(target)
        yield
    finally:
        stream.flush()
        os.dup2(before, descriptor)
        os.close(before)
