"""kordant-jobs receipt list | verify | key."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kordant_jobs import outside_json
from kordant_jobs.cli.arguments import FIND, Subscription, id_of
from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.reports import receipts
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.reports.receipts import of_subscription

receipt_app = typer.Typer(
    help="Receipts: signed proof of what was checked for whom, to be verified by anybody.", no_args_is_help=True
)


@receipt_app.command("list")
def list_receipts(
    subscription: Subscription,
    to: Annotated[Path | None, typer.Option("--to", help="Write the signed lines there, the first first.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the receipts of a subscription, each with the one before it; --to writes them for `verify`."""
    with open_session() as session, session.db.connect() as connection:
        own = id_of(connection, subscriptions.c.id, subscription, "subscription", FIND)
        lines = of_subscription(connection, own)
        keys = _keys_of(session.keyring)
    if to is not None:
        to.write_text("".join(f"{line}\n" for line in lines))
    try:
        found = receipts.verify_chain(lines, keys)
    except receipts.ReceiptRefused as refusal:
        err.print(f"what is kept does not hold: {refusal}")
        raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        print_json([{**_shown(line, one), "receipt": line} for line, one in zip(lines, found, strict=True)])
        return
    print_table(
        ["number", "from", "to, not covered", "verdict", "identifiers", "sources", "fingerprint"],
        [
            (one.number, one.since, one.until, one.verdict, one.items, len(one.sources), receipts.fingerprint(line))
            for line, one in zip(lines, found, strict=True)
        ],
    )


@receipt_app.command()
def verify(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files with a signed receipt a line; - is what is piped in.", show_default=False),
    ],
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Public keys (a JWK set); unset: this system's own.")
    ] = None,
    subscription: Annotated[
        str | None, typer.Option("--subscription", help="Refuse receipts of any other, by its whole id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify receipts: that each was signed with one of the keys and is unchanged, and that none is missing between the
    first and the last. With --keys it needs no database and no network. Exit code 1: refused, with the reason."""
    lines = [line for file in files for line in _read(file).splitlines() if line.strip()]
    public = _given_keys(keys) if keys else _own_keys()
    try:
        if not lines:
            raise receipts.ReceiptRefused("there is no receipt in it")
        found = receipts.verify_chain(lines, public)
        for one in found:
            if subscription and str(one.sub) != subscription.lower():
                raise receipts.ReceiptRefused(f"it is of subscription {one.sub}, not of {subscription}")
    except receipts.ReceiptRefused as refusal:
        if as_json:
            print_json({"holds": False, "why": str(refusal)})
        else:
            err.print(f"refused: {refusal}")
        raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        print_json({"holds": True, "receipts": [_shown(line, one) for line, one in zip(lines, found, strict=True)]})
        return
    for line, one in zip(lines, found, strict=True):
        out.print(
            f"holds: receipt {one.number} of subscription {one.sub}, {one.since} to {one.until} (not covered): "
            f"{one.verdict}; {one.items} identifiers; signed {one.issued_at:%Y-%m-%d %H:%M %Z}",
        )
        for source in one.sources:
            because = f" ({source.reason})" if source.reason else ""
            out.print(f"  {source.source}: {source.verdict}{because}, asked on {source.days} days")
        out.print(f"  fingerprint {receipts.in_groups(receipts.fingerprint(line))}")


@receipt_app.command()
def key() -> None:
    """Print the public key as a JWK set, for publication: with it anyone can verify receipts without us."""
    with open_session() as session:
        print_json(receipts.key_set([session.keyring.receipt_key.public_key()]))


def _shown(line: str, one: receipts.Receipt) -> dict[str, object]:
    return {**one.model_dump(mode="json"), "fingerprint": receipts.fingerprint(line)}


def _keys_of(keyring: Keyring) -> receipts.PublicKeys:
    public = keyring.receipt_key.public_key()
    return {receipts.key_id(public): public}


def _own_keys() -> receipts.PublicKeys:
    with open_session() as session:
        return _keys_of(session.keyring)


def _given_keys(path: Path) -> receipts.PublicKeys:
    try:
        document = outside_json.loads(_read(path))
    except ValueError:
        raise SettingsError(f"{path} holds no JSON. `kordant-jobs receipt key` prints a set of keys.") from None
    try:
        return receipts.public_keys_of(document)
    except receipts.ReceiptRefused as refusal:
        raise SettingsError(f"{path}: {refusal}.") from None


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
