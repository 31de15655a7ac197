"""The job in Dagster: it runs with plain resources and says in figures what it did."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from kordant_jobs.adapters.mail import MaildirTransport
from kordant_jobs.adapters.messengers import Messengers, check
from kordant_jobs.definitions import defs
from kordant_jobs.domain.notifications.alerts import Channel
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.jobs.notifications_send.job import JOBS
from kordant_jobs.ports import Delivery, DeliveryOutcome, MailTransport, OutgoingMail
from kordant_jobs.redaction import redact
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.notifications import outbox, pauses
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


BROKEN = [
    ("SMTP_URL", "foo", "KORDANT_SMTP_URL"),
    ("TWILIO_ACCOUNT_SID", "AC1", "KORDANT_TWILIO_AUTH_TOKEN"),
    ("APNS_KEY_PATH", "/nowhere", "KORDANT_APNS_KEY_ID"),
    ("FCM_SERVICE_ACCOUNT", "/nowhere", "KORDANT_FCM_SERVICE_ACCOUNT"),
    ("VAPID_KEY_PATH", "/nowhere", "KORDANT_VAPID_KEY_PATH"),
    ("DKIM_KEY_PATH", "/nowhere", "KORDANT_DKIM_KEY_PATH"),
]


@pytest.mark.parametrize(("name", "value", "message"), BROKEN)
def test_a_setting_that_cannot_work_is_one_line_that_names_it_and_its_hint_is_whole(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"KORDANT_{name}", value)
    with pytest.raises(SettingsError, match=message) as caught:
        check(load_settings())
    assert "\n" not in str(caught.value)
    assert redact(str(caught.value)) == str(caught.value), "redaction finds nothing personal in a hint"


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, _ in BROKEN:
        monkeypatch.setenv(f"KORDANT_{name}", value)
    with pytest.raises(SettingsError) as caught:
        check(load_settings())
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "KORDANT_SMTP_URL", "KORDANT_DKIM_KEY_PATH", "KORDANT_FCM_SERVICE_ACCOUNT", "APNs", "KORDANT_VAPID_KEY_PATH",
        "Twilio",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "http://x"),
        ("PUBLIC_URL", "http://jobs.kordant.example"),
        ("PUBLIC_URL", "https://x"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://jobs.kordant.example/?a=b"),
        ("PUBLIC_URL", "https://jobs.kordant.example:99999"),
        ("PUBLIC_URL", "jobs.kordant.example"),
        ("MAIL_FROM", "Kordant"),
        ("MAIL_FROM", "Kordant <alerts>"),
        ("UNSUBSCRIBE_MAILTO", "mailto:a@b.example"),
        ("VAPID_CONTACT", "ops@kordant.example"),
        ("TWILIO_SENDER", "555-0143"),
        ("DKIM_SELECTOR", "a b"),
        ("MAIL_DOMAIN_PER_S", "0"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_when_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KORDANT_{name}", value)
    with pytest.raises(SettingsError, match=f"KORDANT_{name} is wrong") as caught:
        load_settings()
    assert redact(str(caught.value)) == str(caught.value)


def test_settings_that_can_work_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    check(load_settings())
    monkeypatch.setenv("KORDANT_PUBLIC_URL", "https://jobs.kordant.example/k")
    monkeypatch.setenv("KORDANT_SMTP_URL", "smtp://mail.kordant.example:587")
    check(load_settings())


@pytest.mark.parametrize(("name", "value", "message"), [BROKEN[0], BROKEN[5]])
def test_a_run_that_meets_broken_settings_pauses_the_channel_and_does_not_die(
    db: Engine, keyring: Keyring, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str,
    message: str,
) -> None:  # fmt: skip
    due(db, keyring, 1)
    monkeypatch.setenv(f"KORDANT_{name}", value)
    result = defs.get_job_def("notifications_send").execute_in_process()
    assert result.success
    assert result.output_for_node("send")["paused"] == 1
    with db.connect() as connection:
        assert message in pauses.pauses(connection)[Channel.EMAIL].reason
        assert outbox.due(connection, [Channel.EMAIL]) == 0, "the sensor asks for no other run until it is over"
