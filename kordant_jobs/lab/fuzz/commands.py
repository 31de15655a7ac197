"""`kordant-jobs fuzz`: a coverage-guided fuzzer (atheris, on libFuzzer) on what reads strangers' files."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.output import err, print_facts, print_json
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings

fuzz_app = typer.Typer(help="Damaged input, made for some time: does anything break?", no_args_is_help=True)

MEMORY_MB = 2_048
"""Of the whole process, the fuzzer's own included."""


@fuzz_app.callback()
def _fuzz() -> None:
    """Fuzz what reads strangers' files."""


@fuzz_app.command("dumps")
def fuzz_dumps(
    seconds: Annotated[int, typer.Option(min=1, help="For how long.")] = 60,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Breach dumps: no error but 'unreadable', bounded memory, found = planted, and both ways of reading agree.

    Exit code 1 when something broke; the input that did is kept in the state folder.
    """
    kept = load_settings().state_dir / "fuzz"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder, err.status(f"fuzzing for {seconds} s …"):
        command = [sys.executable, "-m", "kordant_jobs.lab.fuzz.dumps", folder, f"-seed={seed}", "-print_final_stats=1"]
        limits = [
            f"-max_total_time={seconds}",
            f"-rss_limit_mb={MEMORY_MB}",
            "-timeout=60",
            f"-artifact_prefix={kept}/",
        ]
        ended = subprocess.run([*command, *limits], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    facts = _facts(ended.stderr)
    facts["broken"] = ended.returncode != 0
    if ended.returncode:
        log = Path(kept / "last.log")
        log.write_text(ended.stderr[-20_000:])
        facts["log"] = str(log)
    print_json(facts) if as_json else print_facts(facts)
    raise SystemExit(1 if ended.returncode else 0)


@fuzz_app.command("scans")
def fuzz_scans(
    seconds: Annotated[int, typer.Option(min=1, help="For how long.")] = 600,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Whole dumps through the whole scan, on a database of its own: no exception, no one in them is clean.

    Exit code 1 when something broke; the inputs that did are kept in the state folder.
    """
    kept = load_settings().state_dir / "fuzz" / "scans"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    (kept / "found.jsonl").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder, err.status(f"fuzzing for {seconds} s …"):
        command = [sys.executable, "-m", "kordant_jobs.lab.fuzz.scans_guided", folder, str(kept), f"-seed={seed}"]
        limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=60", "-max_len=65536"]
        ended = subprocess.run(
            [*command, *limits, "-print_final_stats=1", f"-artifact_prefix={kept}/"],
            cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = (kept / "found.jsonl").read_text().splitlines() if (kept / "found.jsonl").exists() else []
    facts = {**_facts(ended.stderr), "broken": len(found), "ended_early": ended.returncode != 0}
    if ended.returncode:
        (kept / "last.log").write_text(ended.stderr[-20_000:])
    print_json(facts) if as_json else print_facts(facts)
    for one in found[:3]:
        err.print(one, markup=False)
    raise SystemExit(1 if found or ended.returncode else 0)


@fuzz_app.command("damage")
def fuzz_damage(
    line_mb: Annotated[int, typer.Option(min=1, help="The size of the giant line.")] = 80,
    times: Annotated[int, typer.Option(min=1, help="So often each damage is done to each form.")] = 1,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Every form of a dump, damaged in every way: no person in what counts as read is missed.

    Exit code 1 when a person was missed, or a reader failed.
    """
    from kordant_jobs.lab.fuzz.damage import matrix

    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder, err.status("reading damaged dumps …"):
        found = matrix(Path(folder), seed=seed, line_bytes=line_mb << 20, times=times)
    facts = {**dict(sorted(found.outcomes.items())), "broken": len(found.broken)}
    print_json(facts) if as_json else print_facts(facts)
    for one in found.broken[:20]:
        err.print(one, markup=False)
    raise SystemExit(1 if found.broken else 0)


@fuzz_app.command("outside")
def fuzz_outside(
    what: Annotated[str, typer.Argument(help="bounces, requests, catalogues or answers.")],
    count: Annotated[int, typer.Option(min=1, help="So many inputs.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Damaged input from outside: each may be refused, none may break anything. On a database of its own.

    Exit code 1 when something broke; the first of it is shown.
    """
    from kordant_jobs.lab.fuzz.outside import KINDS, fuzzed

    if what not in KINDS:
        raise SettingsError(f"{what}: choose one of {', '.join(KINDS)}.")
    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder:
        found, seconds = fuzzed(what, count, seed, folder=Path(folder))
    facts = {"inputs": count, "seconds": round(seconds, 1), **found.outcomes, "broken": len(found.broken)}
    print_json(facts) if as_json else print_facts(facts)
    for one in found.broken[:3]:
        err.print(one)
    raise SystemExit(1 if found.broken else 0)


@fuzz_app.command("agents")
def fuzz_agents(
    count: Annotated[int, typer.Option(min=1, help="How many calls.")] = 100_000,
    seconds: Annotated[float | None, typer.Option(min=1, help="At most so long; none: until all are done.")] = None,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Calls of agents and a subscriber over HTTP and MCP, with an observer of every table. On a database of its own.

    Exit code 1 when one got away with what it may not; the first are shown.
    """
    from kordant_jobs.lab.fuzz.agents import fuzz_agents as fuzz

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder, err.status("asking …"):
        found = fuzz(count, seed, folder=Path(folder), seconds=seconds)
    facts = {"calls": found.calls, "seed": seed, "seconds": round(time.monotonic() - began, 1),
             "answers": dict(sorted(found.answers.items())), "rows_changed": dict(sorted(found.changes.items())),
             "violations": len(found.violations)}  # fmt: skip
    print_json(facts) if as_json else print_facts(facts)
    _end(found.violations)


@fuzz_app.command("api")
def fuzz_api(
    examples: Annotated[int, typer.Option(min=1, help="Of each operation and role.")] = 50,
    seed: Annotated[int, typer.Option(help="Where the dice begin.")] = 1,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="admin, operator, service, agent or subscriber; none: each.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Every operation of the OpenAPI file by schemathesis, as every role. On a database of its own.

    Exit code 1 for a 5xx or an answer that the file does not name; the first are shown.
    """
    from kordant_jobs.lab.fuzz.api import ask_all
    from kordant_jobs.lab.fuzz.callers import world

    roles = ("admin", "operator", "service", "agent", "subscriber")
    if unknown := set(role or ()) - set(roles):
        raise SettingsError(f"{min(unknown)}: choose one of {', '.join(roles)}.")
    began, calls, failures = time.monotonic(), {}, []
    with tempfile.TemporaryDirectory(prefix="kordant-fuzz-") as folder, world(Path(folder)) as (_, app, callers):
        for one in role or roles:
            with err.status(f"asking as {one} …"):
                asked = ask_all(app, callers[one].token, examples=examples, dice=seed)
            calls[one] = asked.calls
            failures += [f"{one}: {text}" for text in asked.failures]
    facts = {"calls": calls, "examples": examples, "seed": seed, "seconds": round(time.monotonic() - began, 1),
             "failures": len(failures)}  # fmt: skip
    print_json(facts) if as_json else print_facts(facts)
    _end(failures)


def _end(wrong: Sequence[str]) -> None:
    for one in wrong[:5]:
        err.print(one, markup=False)
    raise SystemExit(1 if wrong else 0)


def _facts(log: str) -> dict[str, object]:
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", log))
    features = re.findall(r"cov: (\d+) ft: (\d+)", log)
    return {
        "inputs": int(stats.get("number_of_executed_units", 0)),
        "inputs_that_taught": int(stats.get("new_units_added", 0)),
        "branches_covered": int(features[-1][0]) if features else 0,
        "peak_mb": int(stats.get("peak_rss_mb", 0)),
    }
