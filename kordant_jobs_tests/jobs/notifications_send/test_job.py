"""The job in Dagster: it runs with plain resources and says in figures what it did."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.messengers import Messengers, open_messengers, open_signer
from kordant_jobs.definitions import defs
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.jobs.notifications_send.job import JOBS
from kordant_jobs.ports import Delivery, DeliveryOutcome, MailTransport, OutgoingMail
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs_tests.jobs.people import subscribe
from kordant_jobs_tests.jobs.seed import add_alert, add_breach


def run(
    db: Engine, keyring: Keyring, settings: Settings, mail: MailTransport, limit: int = 100
) -> dg.ExecuteInProcessResult:
    """One run of the job."""
    return JOBS.plain.execute_in_process(
        run_config={"ops": {"send": {"config": {"limit": limit}}}},
        resources={
            "db": db,
            "keyring": keyring,
            "settings": settings,
            "mail": mail,
            "messengers": Messengers(),
        },
    )


def test_the_job_sends_what_is_due_and_tells_figures_only(
    db: Engine, keyring: Keyring, settings: Settings, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db))
    result = run(db, keyring, settings, MaildirTransport(tmp_path / "mails"))
    assert result.output_for_node("send")["sent"] == 1
    assert len(list((tmp_path / "mails" / "new").iterdir())) == 1
    told = str([event.event_specific_data for event in result.all_events])
    assert "jane" not in told
    assert "mail.example" not in told


class Refusing:
    """A server that refuses every mail."""

    def deliver(self, mails: Iterable[OutgoingMail]) -> Generator[Delivery, None, None]:
        for mail in mails:
            yield Delivery(mail_id=mail.id, outcome=DeliveryOutcome.REFUSED, code="smtp 554")


def due(db: Engine, keyring: Keyring, people: int) -> None:
    breach = add_breach(db)
    for number in range(people):
        person = subscribe(db, keyring, f"jane{number}@watched.example", contact=f"jane{number}@mail.example")
        (item_id,) = person.items.values()
        add_alert(db, person.subscription_id, item_id, breach)


def test_a_run_sends_at_most_what_its_payload_allows(
    db: Engine, keyring: Keyring, settings: Settings, tmp_path: Path
) -> None:
    due(db, keyring, 3)
    result = run(db, keyring, settings, MaildirTransport(tmp_path / "mails"), limit=2)
    assert result.output_for_node("send")["sent"] == 2


def test_a_run_whose_mails_are_refused_is_one_in_part(db: Engine, keyring: Keyring, settings: Settings) -> None:
    due(db, keyring, 1)
    result = run(db, keyring, settings, Refusing())
    (last,) = [event for event in result.all_events if event.is_successful_output]
    assert last.step_output_data.metadata[ITEMS_FAILED].value == 1


def test_a_transport_that_is_down_fails_the_run_in_one_line(
    db: Engine, keyring: Keyring, settings: Settings, tmp_path: Path
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db))
    (tmp_path / "mails").write_text("no folder")
    with pytest.raises(SourceUnavailable, match="KORDANT_MAILDIR"):
        run(db, keyring, settings, MaildirTransport(tmp_path / "mails"))


def test_the_projects_own_resources_serve_it_and_say_what_is_off(
    db: Engine, keyring: Keyring, settings: Settings
) -> None:
    person = subscribe(db, keyring, "jane.roe@watched.example")
    (item_id,) = person.items.values()
    add_alert(db, person.subscription_id, item_id, add_breach(db))
    result = defs.get_job_def("notifications_send").execute_in_process()
    assert result.output_for_node("send")["sent"] == 1
    assert len(list((settings.mails / "new").iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TWILIO_ACCOUNT_SID", "AC1", "KORDANT_TWILIO_AUTH_TOKEN"),
        ("APNS_KEY_PATH", "/nowhere", "KORDANT_APNS_KEY_ID"),
        ("FCM_SERVICE_ACCOUNT", "/nowhere", "KORDANT_FCM_SERVICE_ACCOUNT"),
        ("VAPID_KEY_PATH", "/nowhere", "KORDANT_VAPID_KEY_PATH"),
        ("DKIM_KEY_PATH", "/nowhere", "KORDANT_DKIM_KEY_PATH"),
    ],
)
def test_half_a_key_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"KORDANT_{name}", value)
    with pytest.raises(SettingsError, match=message) as caught:
        (open_signer if name.startswith("DKIM") else open_messengers)(load_settings())
    assert "\n" not in str(caught.value)
