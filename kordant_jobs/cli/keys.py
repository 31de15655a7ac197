"""Commands for the master key: kordant-jobs keys show | verify | rotate."""

import secrets
import time

import typer

from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.people.keyring import KEY_BYTES
from kordant_jobs.store.people.master_key import read_key_file, write_key_file
from kordant_jobs.store.people.scrub import scrub

keys_app = typer.Typer(no_args_is_help=True, help="The master key: which one is in use, and its rotation.")


@keys_app.command()
def show(as_json: AsJson = False) -> None:
    """Show the id of the master key in use, and the number of subscribers still under another one."""
    from kordant_jobs.privacy.rotation import count_outdated_keys

    with open_session() as session, session.db.connect() as connection:
        facts = {
            "master key": session.keyring.master_key_id,
            "kept in": "the environment" if session.settings.key_is_given else str(session.settings.key_file),
            "subscribers under another key": count_outdated_keys(connection, session.keyring),
        }
    print_json(facts) if as_json else print_facts(facts)


@keys_app.command()
def verify(as_json: AsJson = False) -> None:
    """Open every encrypted value at its place, and compute every blind index of a watched identifier again. This finds
    rows that were changed or swapped in the database without the key: an item with another one's index is never found
    in a dump. Nothing is changed, and no value is printed. Exit code 1: something is wrong; the rows are listed."""
    from kordant_jobs.privacy.verification import verify as verify_all

    with open_session() as session, err.status("verifying") as status:
        done = verify_all(
            session.db, session.keyring, each=lambda now: status.update(f"verifying: {now.values:,} values")
        )
    facts = {
        "values": done.values,
        "indexes": done.indexes,
        "not verifiable (kept as a mask)": done.masked,
        "faults": len(done.faults),
    }
    rows = [(one.column, str(one.row_id), one.why) for one in done.faults]
    if as_json:
        print_json({**facts, "rows": [dict(zip(("column", "row", "why"), row, strict=True)) for row in rows]})
    else:
        print_facts(facts)
        if rows:
            print_table(["column", "row", "why"], rows)
    if rows:
        raise typer.Exit(EXIT_FAILED)


@keys_app.command()
def rotate(as_json: AsJson = False) -> None:
    """Encrypt everything under a new master key. Stop `up` first; after a kill, call it again to continue. Every
    subscriber gets a new data key, and their data is encrypted again. With the key file, a new key is created, and the
    old one is deleted at the end. With KORDANT_MASTER_KEY or a command, give the new key, a blank and the old one;
    afterwards only the new one."""
    from kordant_jobs.cli.stack import running
    from kordant_jobs.privacy import rotation

    settings = load_settings()
    if running(settings.state_dir):
        raise SettingsError("`up` is running with the old key. Stop it, rotate, and start it again.")
    with open_session(settings):
        pass  # the key that is there is proved before a new one is made
    _add_new_key(settings)
    with open_session(settings) as session:
        keyring = session.keyring
        with session.db.connect() as connection:
            left = rotation.count_outdated_keys(connection, keyring)
        began = said_at = time.monotonic()

        def show_progress(done: rotation.RotationSummary) -> None:
            nonlocal said_at
            if time.monotonic() - said_at > 2:
                said_at = time.monotonic()
                err.print(f"{done.subscribers + done.entities:,} of {left:,} keys, {done.values:,} values")

        done = rotation.rotate(session.db, keyring, each=show_progress)
        seconds = time.monotonic() - began
        scrubbed = scrub(session.db)
        if not settings.key_is_given:
            write_key_file(settings.key_file, keyring_keys(settings)[:1])
    facts = {
        "master key": keyring.master_key_id,
        "subscribers": done.subscribers,
        "entities": done.entities,
        "values": done.values,
        "seconds": round(seconds, 2),
        "old bytes": scrubbed.words,
    }
    print_json(facts) if as_json else print_facts(facts)
    if settings.key_is_given:
        out.print("Now give the new key alone.")


def keyring_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys in the key file."""
    return read_key_file(settings.key_file)


def _add_new_key(settings: Settings) -> None:
    """Write a new key before the old one to the key file, unless an interrupted rotation has done so."""
    if settings.key_is_given:
        return
    keys = keyring_keys(settings)
    if len(keys) == 1:
        write_key_file(settings.key_file, (secrets.token_bytes(KEY_BYTES), *keys))
