"""Reading dumps in every form: megabytes a second of wall time and of a core's time, against ripgrep's pass for addresses over the same file.

Each form is made from a seed, once, in the state folder, and read in a process of its own: `… dumps FILE` prints JSON.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err
from kordant_jobs.errors import KordantError
from kordant_jobs.lab.figures import Figure
from kordant_jobs.settings import load_settings

ADDRESS = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"
MIN_MB_PER_S, MIN_RATIO, MAX_DAMAGED, MAX_PEAK_MB = 60, 0.5, 1.5, 400
_HOSTS = ("gmail.com", "mail.example.org", "yahoo.co.uk", "web.example.net")
_AT_ONCE = 10_000

Row = Callable[[int, str, str], str]
FORMS: dict[str, tuple[str, Row]] = {
    "combo": ("", lambda n, e, p: f"{e}:{p}"),
    "combo-damaged": ("", lambda n, e, p: f"{e}:{p}" if n % 100 else f"### {e} broken;line {n}"),
    "csv": ("id,email,name,phone,on,note\n", lambda n, e, p: f'{n},"{e}",Ann {n},+1202555{n % 9999:04},2012,"a, b"'),
    "csv-damaged": (
        "id,email,name,phone,on,note\n",
        lambda n, e, p: f'{n},"{e}",Ann {n},+1202555{n % 9999:04},2012,"a, b"' if n % 100 else f'{n},"broken,{e}',
    ),
    "delimited": ("", lambda n, e, p: f"{n}|{e}|{p}|2012-01-01|10.0.{n % 256}.{n % 99}"),
    "json-lines": (
        "",
        lambda n, e, p: json.dumps({"id": n, "email": e, "name": f"Ann {n}", "password": p, "tags": [1]}),
    ),
    "json-array": ("[\n", lambda n, e, p: json.dumps({"id": n, "email": e, "x": {"password": p}}, indent=1) + ","),
    "sql-rows": (
        "",
        lambda n, e, p: f"INSERT INTO `u` (`id`,`email`,`name`,`pass`) VALUES ({n},'{e}','Ann {n}','{p}');",
    ),
    "sql-extended": (
        "INSERT INTO `u` (`id`,`email`,`name`,`pass`) VALUES\n",
        lambda n, e, p: f"({n},'{e}','Ann','{p}'),",
    ),
    "sql-copy": ("COPY u (id, email, name, password) FROM stdin;\n", lambda n, e, p: f"{n}\t{e}\tAnn {n}\t{p}"),
    "site-login": ("", lambda n, e, p: f"https://shop{n % 99}.example/login:{e}:{p}"),
    "labels": ("", lambda n, e, p: f"URL: https://shop{n % 99}.example/\nUsername: {e}\nPassword: {p}\n"),
    "labels-one-line": ("", lambda n, e, p: f"Email: {e} - ScreenName: ann_{n} - Password: {p} - Followers: 3"),
    "xml": (
        "<users>\n",
        lambda n, e, p: f"  <user>\n    <id>{n}</id>\n    <email>{e}</email>\n    <password>{p}</password>\n  </user>",
    ),
    "xml-attributes": ("<users>\n", lambda n, e, p: f'  <row Id="{n}" Email="{e}" On="2012-01-01" Password="{p}"/>'),
    "php-arrays": (
        "<?php\nreturn array(\n",
        lambda n, e, p: f"  array('id' => {n}, 'email' => '{e}', 'name' => 'Ann', 'password' => '{p}'),",
    ),
    "php-serialised": (
        "",
        lambda n, e, p: f'a:2:{{s:5:"email";s:{len(e)}:"{e}";s:8:"password";s:{len(p)}:"{p}";}}',
    ),
    "phones": ("", lambda n, e, p: f"{n},{e},call me at (212) 555-{n % 9999:04}"),
    "dense": ("", lambda n, e, p: " ".join(f"{at}{e}" for at in range(12))),
    "prose": ("", lambda n, e, p: f"On day {n} we met {e} at the station, and then went home to sleep a lot."),
}


def make(folder: Path, megabytes: int) -> dict[str, Path]:
    """A file a form."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {}
    for form, (head, row) in FORMS.items():
        made[form] = folder / f"{form}-{megabytes}"
        if made[form].exists():
            continue
        draft, number = made[form].with_suffix(".part"), 0
        with draft.open("w") as file:
            file.write(head)
            while file.tell() < megabytes << 20:
                rows = []
                for at in range(number, number + _AT_ONCE):
                    email = f"user{at * 7919 % 10_000_019}.x@{_HOSTS[at % 4]}"
                    rows.append(row(at, email, f"pa{at}ss{'@' * (at % 40 == 0)}wrd"))
                file.write("\n".join(rows) + "\n")
                number += _AT_ONCE
        draft.rename(made[form])
    return made


def measure(megabytes: int) -> list[Figure]:
    """All figures, a row for each form.

    Raises:
        KordantError: ripgrep is missing, or a form could not be read.
    """
    if shutil.which("rg") is None:
        raise KordantError("ripgrep is not installed, and it is the peer: apt-get install ripgrep")
    with err.status("making dumps …") as status:
        files = make(load_settings().state_dir / "bench" / "dumps", megabytes)
        ours, theirs = dict[str, dict[str, float]](), dict[str, float]()
        for form, path in files.items():
            status.update(f"{form} …")
            ours[form], theirs[form] = _read(path), _ripgrep(path)
    figures = [figure for form, one in ours.items() for figure in _of_form(form, one, theirs[form])]
    damaged = max(ours[form]["mb_per_cpu_s"] / ours[f"{form}-damaged"]["mb_per_cpu_s"] for form in ("combo", "csv"))
    return [*figures, Figure(key="damaged_ratio", value=damaged, unit="times", goal=MAX_DAMAGED)]


def _of_form(form: str, ours: dict[str, float], theirs: float) -> list[Figure]:
    ratio, speed = ours["mb_per_cpu_s"] / theirs, ours["mb_per_cpu_s"]
    return [
        Figure(row=form, key="mb_per_s", value=ours["mb_per_s"], unit="MB/s", goal=None),
        Figure(row=form, key="mb_per_cpu_s", value=speed, unit="MB/s", goal=MIN_MB_PER_S, direction="min"),
        Figure(row=form, key="ripgrep", value=theirs, unit="MB/s", goal=None),
        Figure(row=form, key="ratio", value=ratio, unit="times", goal=MIN_RATIO, direction="min"),
        Figure(row=form, key="peak_mb", value=ours["peak_mb"], unit="MB", goal=MAX_PEAK_MB),
    ]


def _read(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, str(path)]
    ended = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise KordantError(f"{path.name} could not be read: {(ended.stderr.strip().splitlines() or ['?'])[-1]}")
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _ripgrep(path: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        ["rg", "-j1", "-o", "-N", "--no-filename", ADDRESS, str(path)], stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return path.stat().st_size / 1e6 / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def read(path: Path) -> dict[str, Any]:
    """Read one file with blind indexes, warmed up by its first megabyte."""
    from kordant_jobs.adapters.dumps import Blinder, DumpLimits, open_dump
    from kordant_jobs.lab.bench.darkwatch_data import KEY
    from kordant_jobs.lab.bench.darkwatch_parts import peak_mb

    def through(one: Path) -> int:
        with open_dump(one, limits=DumpLimits(max_bytes=1 << 40, max_ratio=200), phone_region="US") as dump:
            return sum(len(batch.line) for batch in dump.blinded(Blinder(KEY)))

    few = path.with_suffix(".few")
    with path.open("rb") as file:
        few.write_bytes(file.read(1 << 20))
    through(few)
    few.unlink()
    began, cpu_began = time.perf_counter(), time.process_time()
    records = through(path)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    megabytes = path.stat().st_size / 1e6
    return {
        "mb_per_s": megabytes / seconds,
        "mb_per_cpu_s": megabytes / cpu_seconds,
        "records": records,
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]))))  # noqa: T201 - for the process that started this one
