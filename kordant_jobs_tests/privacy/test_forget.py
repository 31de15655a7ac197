"""What was forgotten cannot be got back: not from rows, documents or mails, nor from the bytes of Postgres' files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.mail.maildir import MaildirTransport
from kordant_jobs.adapters.report_storage import LocalReportStorage
from kordant_jobs.ports import OutgoingMail
from kordant_jobs.postgres import database
from kordant_jobs.postgres.embedded import EmbeddedPostgres
from kordant_jobs.privacy.forget import ForgetSummary, forget
from kordant_jobs.store import migrate
from kordant_jobs.store.notifications.tables import notification_outbox
from kordant_jobs.store.people.keyring import Keyring, _derive
from kordant_jobs.store.people.tables import subscriber_keys
from kordant_jobs.store.reports.tables import reports
from kordant_jobs_tests.conftest import INDEX_ROOT, MASTER_KEY
from kordant_jobs_tests.jobs.people import Person, subscribe
from kordant_jobs_tests.leaks import dumped, files, forms_of, leaks

WRAPPED_BYTES = 60
"""A nonce, a key and a tag."""
LOG_PAGE = 8192


def log_bytes(segment: Path) -> bytes:
    """What is written in a segment of the log, without the headers of its pages, one of which may stand amid a key."""
    content = segment.read_bytes()
    return b"".join(
        content[start + (24 if start else 40) : start + LOG_PAGE] for start in range(0, len(content), LOG_PAGE)
    )


@dataclass
class World:
    """A server of its own with one subscriber, who has a report and a mail."""

    db: Engine
    keyring: Keyring
    postgres: EmbeddedPostgres
    data_dir: Path
    person: Person
    storage: LocalReportStorage
    maildir: Path
    mail_id: UUID

    def try_to_forget(self) -> ForgetSummary | None:
        return forget(
            self.person.subscriber_id,
            db=self.db,
            keyring=self.keyring,
            banks=Banks(),
            storage=self.storage,
            maildir=self.maildir,
        )

    def forget(self) -> ForgetSummary:
        found = self.try_to_forget()
        assert found is not None
        return found

    def key_bytes_found(self) -> int:
        """How often the subscriber's wrapped key still opens out of the server's files, as an attacker would look."""
        wrapping, owner, found = AESGCM(_derive(MASTER_KEY, "wrap")), self.person.subscriber_id.bytes, 0
        tables = [file.read_bytes() for file in self.data_dir.glob("base/*/*")]
        for content in [*tables, *(log_bytes(file) for file in self.data_dir.glob("pg_wal/0*"))]:
            at = -1
            while (at := content.find(owner, at + 1)) >= 0:
                for start in range(at + 16, at + 24):  # behind the id, past the length of the value
                    wrapped = content[start : start + WRAPPED_BYTES]
                    try:
                        wrapping.decrypt(wrapped[:12], wrapped[12:], owner)
                        found += 1
                    except (InvalidTag, ValueError):
                        continue
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedPostgres(tmp_path / "state") as postgres:
        db = database.create_engine(postgres.url())
        migrate.upgrade(db)
        keyring = Keyring(MASTER_KEY, index_root=INDEX_ROOT)
        storage, mail_id = LocalReportStorage(tmp_path / "reports"), uuid4()
        person = subscribe(db, keyring, "ann@example.com", "+12025550123")
        with db.begin() as connection:
            connection.execute(
                sa.insert(reports),
                {
                    "id": uuid4(), "subscription_id": person.subscription_id, "kind": "weekly", "figures": {},
                    "period_start_on": "2026-01-05", "period_end_on": "2026-01-12", "figures_sha256": b"", "pages": 1,
                    "content_sha256": b"", "storage_key": storage.put(b"%PDF-ann"),
                },
            )  # fmt: skip
            report_id = connection.execute(sa.select(reports.c.id)).scalar_one()
            connection.execute(
                sa.insert(notification_outbox),
                {
                    "id": mail_id, "report_id": report_id, "subscription_id": person.subscription_id,
                    "channel": "email", "category": "report", "severity": "low", "status": "sent",
                },
            )  # fmt: skip
        maildir = tmp_path / "maildir"
        mail = OutgoingMail(id=mail_id, recipient="ann@mail.example", content=b"Subject: x\r\n\r\nann")
        other = OutgoingMail(id=uuid4(), recipient="bob@mail.example", content=b"Subject: x\r\n\r\nbob")
        list(MaildirTransport(maildir).deliver([mail, other]))
        facts = postgres.status()
        assert facts.data_dir is not None
        yield World(
            db=db,
            keyring=keyring,
            postgres=postgres,
            data_dir=facts.data_dir,
            person=person,
            storage=storage,
            maildir=maildir,
            mail_id=mail_id,
        )
        db.dispose()


def test_the_key_is_in_no_file_of_the_server_once_forget_has_ended(world: World) -> None:
    with world.db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))
    assert world.key_bytes_found() >= 2, "this look would not even find a key that is there, in its table and its log"
    done = world.forget()
    assert (done.scrubbed.tables, done.scrubbed.log) == (True, True)
    assert world.key_bytes_found() == 0


def test_no_form_of_what_was_forgotten_is_in_a_dump_a_table_or_the_log(world: World) -> None:
    ids = {str(world.person.subscriber_id), str(world.person.subscription_id)}
    identifiers = {"ann@example.com", "+12025550123", "12025550123", "ann@mail.example", "Ann Example"}
    own = [world.keyring.blinding.indexes(kind, [one])[0] for kind, one in
           (("email", "ann@example.com"), ("phone", "+12025550123"))]  # fmt: skip
    assert leaks([("pg_dump", dumped(world.postgres, "postgres"))], forms_of(ids)), (
        "this look would find nothing that is there"
    )
    world.forget()
    places = [("pg_dump", dumped(world.postgres, "postgres")), *files(world.data_dir / "base"),
              *((file.name, log_bytes(file)) for file in world.data_dir.glob("pg_wal/0*"))]  # fmt: skip
    assert leaks(places, forms_of(identifiers)) == []
    assert leaks(places[:1], forms_of({str(world.person.subscription_id)})) == []  # its owner's id stays, with the day
    assert [index for index in own if index.hex().encode() in places[0][1]] == []  # in files: decision 0027


def test_a_deleted_row_alone_leaves_the_key_in_the_servers_files(world: World) -> None:
    """Why `scrub` is there."""
    with world.db.begin() as connection:
        connection.execute(sa.delete(subscriber_keys))
    with world.db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))
    assert world.key_bytes_found() > 0


def test_documents_and_mails_go_at_once_and_others_stay(world: World) -> None:
    done = world.forget()
    assert (done.erased.identifiers, done.mails, done.documents_left) == (2, 1, 0)
    assert [file.read_bytes() for file in world.maildir.glob("new/*")] == [b"Subject: x\n\nbob"]
    assert not list((world.maildir.parent / "reports").rglob("*.pdf"))


def test_a_second_time_there_is_no_one(world: World) -> None:
    world.forget()
    assert world.try_to_forget() is None
