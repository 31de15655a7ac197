"""`kordant-jobs new job NAME`: the files of a job that runs and is tested, to be filled in."""

import keyword
import re
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.cli.output import out
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.documents import CHECKOUT

_NAME = re.compile(r"[a-z][a-z0-9]*_[a-z0-9_]*[a-z0-9]")

FILES = {
    "kordant_jobs/catalog/$name.py": '''"""$name in the catalogue: what a request carries, and its limits."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from kordant_jobs.engine import JobRow, MergeRule, Payload


class $Payload(Payload):
    """TODO: what a request of it asks for."""

    job: ClassVar[str] = "$name"
    op: ClassVar[str] = "$verb"
    merging: ClassVar[Mapping[str, MergeRule]] = {"limit": max}

    limit: int = Field(1_000, ge=1, description="TODO: at most so many.")


ROW = JobRow(
    name="$name",
    alias="$alias",
    purpose="TODO: what it does, in the README's words",
    started_by="by hand",
    payload=$Payload,
    timeout_s=600,
    sla_s=600,
    cpu_s=300,
    memory_mb=1024,
    concurrency=1,
    batch_size=100,
)
''',
    "kordant_jobs/jobs/$name/__init__.py": '"""TODO: $name in one line."""\n',
    "kordant_jobs/jobs/$name/rules.py": '''"""The decisions of $name. Values in, values out; the time is an argument."""


def is_due(number: int, *, limit: int) -> bool:
    """TODO: the rule.

    >>> is_due(1, limit=2), is_due(2, limit=2)
    (True, False)
    """
    return number < limit
''',
    "kordant_jobs/jobs/$name/service.py": '''"""Load, decide, save."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.jobs.$name.rules import is_due

JOB = "$name"


@dataclass(frozen=True, kw_only=True)
class Done:
    """The figures of a run."""

    checked: int = 0


def $verb(limit: int, *, db: Engine) -> Done:
    """TODO: the work; safe to repeat."""
    with db.begin() as connection:
        numbers = connection.execute(sa.text("SELECT generate_series(0, 9)")).scalars()
        return Done(checked=sum(is_due(number, limit=limit) for number in numbers))
''',
    "kordant_jobs/jobs/$name/job.py": '''"""$name in Dagster: one op. For work in chunks: `sharded_job`."""

from dataclasses import asdict

from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.$name import $Payload
from kordant_jobs.engine.job_shapes import Summary, one_op_job
from kordant_jobs.jobs.$name import service


def $verb(payload: $Payload, db: Engine) -> Summary:
    """TODO: the op, as Dagster's UI shows it."""
    return Summary(asdict(service.$verb(payload.limit, db=db)))


JOBS = one_op_job(BY_NAME[service.JOB], service="$area", run=$verb)
''',
    "kordant_jobs_tests/jobs/test_$name.py": '''"""$name: its service, and its job in Dagster."""

from sqlalchemy import Engine

from kordant_jobs.catalog.$name import $Payload
from kordant_jobs.jobs.$name import service
from kordant_jobs.jobs.$name.job import JOBS


def test_it_checks_what_is_due(db: Engine) -> None:
    assert service.$verb(3, db=db).checked == 3


def test_it_runs_in_dagster(db: Engine) -> None:
    config = $Payload.run_config([$Payload(limit=2)])
    assert JOBS.plain.execute_in_process(run_config=config, resources={"db": db}).success
''',
}
"""The files of a job, by path."""
_TEST = "kordant_jobs_tests/jobs/test_{name}.py"
NEXT = f"Fill in what is marked TODO, then: python3 -m kordant_jobs test --only tests {_TEST}"


def words_of(name: str) -> dict[str, str]:
    """The words that the files of a job of this name have.

    Raises:
        KordantError: it is not a name for a job, or taken.

    >>> words_of("toy_count")
    {'name': 'toy_count', 'Payload': 'ToyCount', 'alias': 'toy.count', 'area': 'toy', 'verb': 'count'}
    """
    area, _, verb = name.rpartition("_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(verb):
        raise KordantError(f"{name!r} is no name for a job: small letters and '_', a noun and a verb, as `toy_count`.")
    if name in BY_NAME:
        raise KordantError(f"there is a job {name} already.")
    made = "".join(part.title() for part in name.split("_"))
    return {"name": name, "Payload": made, "alias": name.replace("_", "."), "area": area, "verb": verb}


def write_job(name: str, checkout: Path) -> list[Path]:
    """Write a job's files below a checkout. Returns their paths. Nothing is overwritten.

    Raises:
        KordantError: it is not a name for a job, taken, or a file is there already.
    """
    words = words_of(name)
    made = {
        checkout / Template(path).substitute(words): Template(text).substitute(words) for path, text in FILES.items()
    }
    for path in made:
        if path.exists():
            raise KordantError(f"{path.relative_to(checkout)} is there already.")
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(made)


new_app = typer.Typer(help="Begin something new: the files of a job, to be filled in.", no_args_is_help=True)


@new_app.callback()
def _group() -> None:
    """Begin something new."""


@new_app.command("job")
def new_job(
    name: Annotated[str, typer.Argument(help="A noun and a verb in small letters, as `toy_count`.")],
    table: Annotated[str, typer.Option(help="It has a table: write a migration of this name, too.")] = "",
) -> None:
    """Write the files of a job that runs and is tested; what is left to do is marked TODO."""
    made = write_job(name, CHECKOUT)
    for path in made:
        out.print(f"  {path.relative_to(CHECKOUT)}")
    commands = [[sys.executable, "-m", "kordant_jobs.lab.documents"]]
    if table:
        commands.append([sys.executable, "-m", "kordant_jobs", "db", "migration", table])
    for command in commands:
        subprocess.run(command, cwd=CHECKOUT, check=True)
    out.print(NEXT.format(name=name))
