"""Commands for the audit log: kordant-jobs audit verify | list | export | anchor."""

from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs.cli.output import EXIT_FAILED, AsJson, out, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.store.audit import log

audit_app = typer.Typer(help="The audit log: who did what, and proof that it was not changed.", no_args_is_help=True)

AnchorFile = Annotated[
    Path | None,
    typer.Option(
        "--anchor", help="A file of anchors; unset: KORDANT_AUDIT_ANCHOR, or the state folder's.", exists=True
    ),
]


@audit_app.command()
def verify(anchor: AnchorFile = None, as_json: AsJson = False) -> None:
    """Verify every row's hash and signature, and the log against the anchors that `up` keeps in a file; exit code 1
    shows the first faulty row and its fault. Anchors show what the rows cannot: rows cut off at the end, or a log
    rewritten with the master key."""
    with open_session() as session, session.db.connect() as connection:
        file = anchor or session.settings.anchors
        anchors = log.read_anchors(file, session.keyring) if file.exists() else None
        verdict = log.check(connection, session.keyring, anchors)
    if as_json:
        print_json({"holds": verdict.holds, "checked": verdict.checked, "head": verdict.head.hash.hex(),
                    "first_broken": verdict.seq, "kind": verdict.kind, "anchors": len(anchors or {})})  # fmt: skip
    elif verdict.holds:
        out.print(f"{verdict.checked:,} rows hold; head {verdict.head.hash.hex()[:16]}, {len(anchors or {})} anchors")
    else:
        out.print(f"[bold red]row {verdict.seq} is wrong: {verdict.kind}[/]; {verdict.checked:,} rows before it hold")
    if not verdict.holds:
        raise typer.Exit(EXIT_FAILED)


@audit_app.command("list")
def list_entries(
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this principal did.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only what was done to this, by id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List entries, the newest first."""
    with open_session() as session, session.db.connect() as connection:
        found = log.entries(connection, actor=actor, target=target, limit=limit)
    if as_json:
        print_json([{"seq": seq, **entry} for seq, entry in found])
        return
    print_table(
        ["row", "at", "who", "by", "did", "to", "outcome", "rule"],
        [
            (seq, one["at"][:19], one["actor"], one["source"], one["action"], one["target"]["id"], one["outcome"],
             one.get("rule"))
            for seq, one in found
        ],
    )  # fmt: skip


@audit_app.command()
def export(to: Annotated[Path, typer.Argument(help="The file to write, JSON lines.")]) -> None:
    """Write every row with its hashes to a file, so that another program can verify the chain."""
    import json

    count = 0
    with open_session() as session, session.db.connect() as connection, to.open("w", encoding="utf-8") as file:
        for row in log.stored_rows(connection):
            file.write(json.dumps({"seq": row.seq, "entry": row.entry, "mac": row.mac and row.mac.hex(),
                                   "prev_hash": row.prev_hash.hex(), "hash": row.hash.hex()}) + "\n")  # fmt: skip
            count += 1
    out.print(f"{count:,} rows in {to}")


@audit_app.command()
def anchor(
    to: Annotated[Path, typer.Option("--to", help="The file to append to, on another machine's storage.")],
) -> None:
    """Append the log's signed head to a file outside the database; `verify --anchor` compares with it."""
    with open_session() as session, session.db.connect() as connection:
        made = log.write_anchor(connection, session.keyring, to)
    out.print("nothing new since the last anchor" if made is None else f"row {made.seq} anchored in {to}")
