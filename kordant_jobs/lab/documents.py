"""`python -m kordant_jobs.lab.documents` writes what documents take from the code: the README's table of jobs, and
`docs/configure.md`."""

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from kordant_jobs.catalog import markdown_table
from kordant_jobs.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
README, CONFIGURE = CHECKOUT / "README.md", CHECKOUT / "docs" / "configure.md"
_TABLE = re.compile(r"^\| job \|.*?\n(?=\n)", re.MULTILINE | re.DOTALL)
_HEAD = """# Every setting

All are read from the environment, once, as a process starts; `kordant-jobs settings` shows those in force, secrets \
hidden, and `up` says which cannot work. This page is made from the code.

| setting | without it | what it says |
| --- | --- | --- |
"""


def settings_table() -> str:
    """A row a setting, in the order of the code."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", PydanticUndefined) else f"`{field.default}`"
        said = (field.description or "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `KORDANT_{name.upper()}` | {default} | {said} |\n")
    return "".join(rows)


def documents() -> dict[Path, str]:
    """The documents with their expected content."""
    return {
        README: _TABLE.sub(lambda _: markdown_table(), README.read_text("utf-8"), count=1),
        CONFIGURE: _HEAD + settings_table(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
