"""Commands for the corpus: kordant-jobs corpus status | ingest | lookup."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import Progress as Bar

from kordant_jobs.cli.arguments import read_line
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.domain.identifiers import IdentifierKind, normalise
from kordant_jobs.engine import Progress
from kordant_jobs.errors import DumpUnreadable, SettingsError
from kordant_jobs.settings import load_settings
from kordant_jobs.store.darkwatch import dumps

corpus_app = typer.Typer(help="The corpus: ingested dumps, kept by blind index.", no_args_is_help=True)


@corpus_app.command("status")
def corpus_status(as_json: AsJson = False) -> None:
    """Show the size of the corpus, and of unfinished drafts."""
    from kordant_jobs.adapters.corpus import open_corpus

    settings = load_settings()
    facts = {"place": str(settings.corpus_url or settings.corpus), **asdict(open_corpus(settings).size())}
    if as_json:
        print_json(facts)
        return
    print_facts({name: f"{value:,}" if isinstance(value, int) else value for name, value in facts.items()})
    if facts["drafts"]:
        err.print("what was begun goes on with the next scan, or with `kordant-jobs corpus ingest`")


@corpus_app.command("ingest")
def corpus_ingest(as_json: AsJson = False) -> None:
    """Ingest every dump that waits in the drop place now, without a scan. It may be stopped at any time and continues
    later."""
    from kordant_jobs.adapters.corpus import open_corpus
    from kordant_jobs.adapters.drop_folder import open_dump_place
    from kordant_jobs.adapters.dumps import DumpLimits
    from kordant_jobs.jobs.darkwatch_scan.drops import DropBox, now_of, register_dropped
    from kordant_jobs.jobs.darkwatch_scan.ingestion import Ingestion

    class Shown(Progress):
        """Progress on the terminal, not in the database."""

        def advance(self, by: int, message: str) -> None:
            bar.advance(task, by)

    results = []
    with open_session() as session:
        settings = session.settings
        limits = DumpLimits(max_bytes=settings.dump_max_bytes, max_ratio=settings.dump_max_ratio)
        box = DropBox(
            place=open_dump_place(settings),
            keep_files=settings.drop_keep,
            limits=limits,
            phone_region=settings.phone_region,
        )
        register_dropped(session.db, box, session.keyring)
        with session.db.connect() as connection:
            waiting = dumps.known_before(connection, now_of(connection), (DumpStatus.REGISTERED,))
        with Bar(console=err, transient=True) as bar:
            task = bar.add_task("ingesting", total=sum(dump.file_size for dump in waiting))
            ingestion = Ingestion(
                db=session.db,
                keyring=session.keyring,
                box=box,
                corpus=open_corpus(settings),
                progress=Shown(session.db, "cli"),
            )
            for dump in waiting:
                result = {"dump": str(dump.id), "lines": 0, "records": 0, "bad_lines": 0, "problem": None}
                try:
                    what = ingestion.ingest(dump)
                    if what is not None:
                        bad = sum(what.bad_lines.values())
                        result |= {"lines": what.lines, "records": what.records, "bad_lines": bad}
                except DumpUnreadable as error:
                    result["problem"] = str(error)
                results.append(result)
    if as_json:
        print_json(results)
    elif results:
        print_table(["dump", "lines", "records", "bad", "problem"], [tuple(result.values()) for result in results])
    else:
        out.print("nothing waits")
    if any(result["problem"] for result in results):
        raise typer.Exit(1)


@corpus_app.command("lookup")
def corpus_lookup(
    kind: Annotated[str, typer.Argument(help="email, phone, username or another kind that is watched.")],
    as_json: AsJson = False,
) -> None:
    """Find the dumps that contain an identifier, and the line. It is typed at a prompt, or read from standard input, so
    that it is in no shell's history; it is never printed."""
    import polars as pl

    from kordant_jobs.adapters.corpus import Items, open_corpus

    if kind not in set(IdentifierKind):
        raise SettingsError(f"{kind} is no kind of identifier; choose one of {', '.join(IdentifierKind)}.")
    raw = read_line(kind, hidden=True)
    with open_session() as session:
        canonical = normalise(IdentifierKind(kind), raw, phone_region=session.settings.phone_region)
        if canonical is None:
            raise SettingsError(f"that is no {kind}. Nothing was looked up.")
        items = Items.of(
            pl.DataFrame({"item_id": ["it"], "blind_index": [session.keyring.blind_index(kind, canonical)]})
        )
        corpus = open_corpus(session.settings)
        rows = [
            {"dump": str(dump_id), **{name: row[name] for name in ("line", "occurrences", "secret")}}
            for dump_id in corpus.dumps()
            for row in corpus.find(dump_id, items).to_dicts()
        ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(["dump", "first line", "lines", "secret"], [tuple(row.values()) for row in rows])
    else:
        out.print("it stands in no dump of the corpus")
