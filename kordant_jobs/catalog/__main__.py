"""`python -m kordant_jobs.catalog` writes the table of jobs into the README."""

from __future__ import annotations

import re
from pathlib import Path

from kordant_jobs.catalog import markdown_table

README = Path(__file__).resolve().parents[2] / "README.md"

if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    table = re.compile(r"^\| job \|.*?\n(?=\n)", re.MULTILINE | re.DOTALL)
    README.write_text(table.sub(lambda _: markdown_table(), text, count=1), encoding="utf-8")
