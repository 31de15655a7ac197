"""Push and text services: all four against the same claims, then each one's codes, on servers on loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from kordant_jobs import tracing
from kordant_jobs.adapters.push import ApnsTransport, FcmTransport, WebPushTransport
from kordant_jobs.adapters.push.web_push import parse_subscription
from kordant_jobs.adapters.sms import TwilioAccount, TwilioTransport
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.lab.fakes.http import Answer
from kordant_jobs.lab.fakes.push import FakeApns, FakeFcm, FakeWebPush, apns_error, fcm_error, pem
from kordant_jobs.lab.fakes.sms import FakeTwilio, twilio_error
from kordant_jobs.ports import Delivery, DeliveryOutcome, OutgoingPush, OutgoingText, Transport
from kordant_jobs.settings import Settings
from kordant_jobs_tests.otlp import Collector, collector

__all__ = ["collector"]

DELIVERED, DEFERRED, GONE, MISMATCH, REFUSED, UNCERTAIN = (
    DeliveryOutcome.DELIVERED,
    DeliveryOutcome.DEFERRED,
    DeliveryOutcome.NO_SUCH_ADDRESS,
    DeliveryOutcome.MISMATCH,
    DeliveryOutcome.REFUSED,
    DeliveryOutcome.UNCERTAIN,
)


@dataclass
class Service:
    """A service, the transport to it, and how an address of it looks."""

    fake: Any
    transport: Transport[Any]
    address: Callable[[str], str]
    tells_ids: bool = True

    def message(self, name: str, message_id: UUID | None = None) -> Any:
        message_id = message_id or uuid4()
        if isinstance(self.fake, FakeTwilio):
            return OutgoingText(id=message_id, address=self.address(name), text="Olá — hello")
        data = {"alert_id": "7"}
        return OutgoingPush(id=message_id, address=self.address(name), title="Kordant", body="Olá", data=data)

    def deliver(self, *names: str) -> list[Delivery]:
        return list(self.transport.deliver([self.message(name) for name in names]))


def vapid_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    return pem(ec.generate_private_key(ec.SECP256R1()))


def fcm(fake: FakeFcm) -> Service:
    return Service(fake, FcmTransport(fake.account, base_url=fake.url), lambda name: name)


def apns(fake: FakeApns) -> Service:
    return Service(fake, ApnsTransport(fake.key, base_url=fake.url), lambda name: name.encode().hex())


def web(fake: FakeWebPush) -> Service:
    transport = WebPushTransport(
        vapid_key(), contact="mailto:ops@kordant.example", services=["127.0.0.1"], insecure=True
    )
    return Service(fake, transport, fake.subscription, tells_ids=False)


def sms(fake: FakeTwilio) -> Service:
    transport = TwilioTransport(fake.account, callback_url="https://k.example/callbacks/twilio", base_url=fake.url)
    return Service(fake, transport, lambda name: f"+1202555{sum(name.encode()):04d}")


OPENERS: dict[str, tuple[type[Any], Callable[[Any], Service]]] = {
    "fcm": (FakeFcm, fcm),
    "apns": (FakeApns, apns),
    "web push": (FakeWebPush, web),
    "twilio": (FakeTwilio, sms),
}


@pytest.fixture(params=list(OPENERS))
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    kind, opener = OPENERS[request.param]
    with kind() as fake:
        yield opener(fake)


def test_every_message_is_taken_once_and_reported_in_order(service: Service) -> None:
    names = [f"dev{n:02d}" for n in range(20)]
    messages = [service.message(name) for name in names]
    found = list(service.transport.deliver(messages))
    assert [one.mail_id for one in found] == [one.id for one in messages]
    assert {one.outcome for one in found} == {DELIVERED}
    assert len(service.fake.delivered) == 20
    assert not service.tells_ids or len({one.provider_id for one in found}) == 20


def test_threads_that_send_at_once_never_end_each_others_connection(service: Service) -> None:
    quantum = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places within each step of a request
    try:
        found = service.deliver(*(f"dev{n:03d}" for n in range(200)))
    finally:
        sys.setswitchinterval(quantum)
    assert [one.outcome for one in found] == [DELIVERED] * 200


def test_one_that_is_refused_stops_no_other(service: Service) -> None:
    bad = service.address("bad") if not isinstance(service.fake, FakeWebPush) else "bad"
    service.fake.script = lambda token: Answer(status=400) if token == bad else None
    found = service.deliver("ann", "bad", "cid")
    assert [one.outcome for one in found] == [DELIVERED, REFUSED, DELIVERED]


def test_an_overload_is_put_off_for_as_long_as_it_says(service: Service) -> None:
    service.fake.script = lambda _: Answer(status=503, headers={"retry-after": "120"}, body=b"<html>")
    (found,) = service.deliver("ann")
    assert (found.outcome, found.retry_after_s) == (DEFERRED, 120.0)


def test_an_answer_that_never_comes_may_mean_that_it_was_taken(service: Service) -> None:
    service.fake.script = lambda _: Answer(status=200, hang_up=True)
    (found,) = service.deliver("ann")
    assert found.outcome is UNCERTAIN
    assert len(service.fake.delivered) == 1


def test_nothing_to_deliver_needs_nothing(service: Service) -> None:
    assert list(service.transport.deliver([])) == []
    assert service.fake.asked == []


def test_neither_address_nor_text_is_ever_part_of_a_text_form(service: Service) -> None:
    message = service.message("ann")
    assert message.address not in repr(message)
    assert "Ol" not in repr(message)


@pytest.mark.parametrize("kind", ["fcm", "apns", "twilio"])
def test_a_service_that_is_not_there_is_one_line_and_takes_nothing(kind: str) -> None:
    fake_kind, opener = OPENERS[kind]
    with fake_kind() as fake:
        gone = opener(fake)
    with pytest.raises(SourceUnavailable, match="stay queued"):
        gone.deliver("ann", "bob")


@pytest.mark.parametrize("host", ["a" * 70 + ".push.example", "a.a" * 100 + ".example", "[::1", "xn--\u00df.example"])
def test_an_endpoint_that_breaks_a_library_is_its_own_messages_failure(host: str) -> None:
    with FakeWebPush() as fake:
        good = fake.subscription("ann")
        bad = good.replace(fake.url, f"https://{host}")
        assert bad != good
        transport = WebPushTransport(vapid_key(), contact="mailto:ops@kordant.example", services=["*"], insecure=True)
        messages = [OutgoingPush(id=uuid4(), address=one, title="K", body="b") for one in (bad, good)]
        found = [one.outcome for one in transport.deliver(messages)]
    assert found[0] is not DELIVERED
    assert found[1] is DELIVERED


@pytest.mark.parametrize("token", ["a" * 100_000, "..", "\ud800", "é" * 64])
def test_a_token_that_breaks_a_library_is_its_own_messages_failure(token: str) -> None:
    with FakeApns() as fake:
        service = apns(fake)
        bad = OutgoingPush(id=uuid4(), address=token, title="K", body="b")
        found = [one.outcome for one in service.transport.deliver([bad, service.message("ann")])]
    assert found[0] is not DELIVERED
    assert found[1] is DELIVERED


def test_a_browsers_server_that_is_not_there_stops_no_other_browser() -> None:
    with FakeWebPush() as gone, FakeWebPush() as there:
        dead, service = gone.subscription("x"), web(there)
        gone.__exit__(None, None, None)
        messages = [OutgoingPush(id=uuid4(), address=dead, title="K", body="b"), service.message("ann")]
        found = [one.outcome for one in service.transport.deliver(messages)]
        gone.__enter__()
    assert found == [DEFERRED, DELIVERED]


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (404, "UNREGISTERED", GONE),
        (403, "SENDER_ID_MISMATCH", MISMATCH),
        (400, "INVALID_ARGUMENT", REFUSED),
        (429, "QUOTA_EXCEEDED", DEFERRED),
        (503, "UNAVAILABLE", DEFERRED),
        (500, "INTERNAL", DEFERRED),
        (401, "THIRD_PARTY_AUTH_ERROR", REFUSED),
        (400, "A_CODE_OF_TOMORROW", REFUSED),
        (502, "A_CODE_OF_TOMORROW", DEFERRED),
    ],
)
def test_each_code_of_fcm_has_its_outcome(status: int, code: str, outcome: DeliveryOutcome) -> None:
    with FakeFcm(lambda _: fcm_error(status, code)) as fake:
        (found,) = fcm(fake).deliver("ann")
    assert (found.outcome, found.code) == (outcome, f"fcm {status} {code}")


def test_a_quota_of_fcm_is_waited_for_a_minute_at_least() -> None:
    with FakeFcm(lambda _: fcm_error(429, "QUOTA_EXCEEDED", retry_after="3")) as fake:
        assert fcm(fake).deliver("ann")[0].retry_after_s == 60.0


def test_an_oauth_token_is_fetched_once_and_again_when_it_was_withdrawn() -> None:
    with FakeFcm() as fake:
        service = fcm(fake)
        service.deliver("a", "b", "c")
        assert fake.tokens_given == 1
        fake.forget_tokens()
        assert service.deliver("d")[0].outcome is DELIVERED
        assert fake.tokens_given == 2


def test_a_service_account_that_google_refuses_stops_all() -> None:
    with FakeFcm() as fake, FakeFcm() as other:
        account = {**fake.account, "private_key": other.account["private_key"]}
        with pytest.raises(SettingsError, match="KORDANT_FCM_SERVICE_ACCOUNT"):
            list(FcmTransport(account, base_url=fake.url).deliver([fcm(fake).message("ann")]))
        assert fake.delivered == []


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (400, "BadDeviceToken", MISMATCH),
        (400, "DeviceTokenNotForTopic", MISMATCH),
        (410, "Unregistered", GONE),
        (413, "PayloadTooLarge", REFUSED),
        (429, "TooManyRequests", DEFERRED),
        (429, "TooManyProviderTokenUpdates", DEFERRED),
        (500, "InternalServerError", DEFERRED),
        (503, "Shutdown", DEFERRED),
        (400, "AReasonOfTomorrow", REFUSED),
    ],
)
def test_each_reason_of_apns_has_its_outcome(status: int, reason: str, outcome: DeliveryOutcome) -> None:
    with FakeApns(lambda _: apns_error(status, reason)) as fake:
        (found,) = apns(fake).deliver("ann")
    assert (found.outcome, found.code) == (outcome, f"apns {status} {reason}")


def test_a_dead_device_token_says_since_when() -> None:
    since = datetime(2026, 3, 1, tzinfo=UTC)
    with FakeApns(lambda _: apns_error(410, "Unregistered", timestamp=int(since.timestamp() * 1000))) as fake:
        assert apns(fake).deliver("ann")[0].gone_at == since


def test_a_provider_token_that_apple_calls_expired_is_made_again() -> None:
    clock = [datetime.now(UTC).timestamp() - 50 * 60]
    with FakeApns() as fake:
        transport = ApnsTransport(fake.key, base_url=fake.url, clock=lambda: clock[0])
        service = Service(fake, transport, lambda name: name.encode().hex())
        service.deliver("a", "b")
        assert len(fake.provider_tokens) == 1
        fake.expired.update(fake.provider_tokens)
        clock[0] += 60
        assert service.deliver("c")[0].outcome is DELIVERED
        assert len(fake.provider_tokens) == 2
        clock[0] += 41 * 60
        service.deliver("d")
        assert len(fake.provider_tokens) == 3, "after 40 minutes it is made again unasked"


@pytest.mark.parametrize(
    ("key", "message"), [("InvalidProviderToken", "apns refuses our key"), ("BadTopic", "apns refuses our key")]
)
def test_a_key_that_apple_does_not_know_stops_all(key: str, message: str) -> None:
    with FakeApns(lambda _: apns_error(403, key)) as fake, pytest.raises(SettingsError, match=message):
        apns(fake).deliver("ann", "bob")


@pytest.mark.parametrize(
    ("status", "outcome"), [(404, GONE), (410, GONE), (413, REFUSED), (403, REFUSED), (429, DEFERRED), (500, DEFERRED)]
)
def test_each_status_of_a_browsers_server_has_its_outcome(status: int, outcome: DeliveryOutcome) -> None:
    with FakeWebPush(lambda _: Answer(status=status)) as fake:
        assert web(fake).deliver("ann")[0].outcome is outcome


def test_a_browser_opens_what_was_sent_and_a_copy_takes_its_place() -> None:
    message_id = uuid4()
    with FakeWebPush() as fake:
        service = web(fake)
        list(service.transport.deliver([service.message("ann", message_id), service.message("ann", message_id)]))
        assert fake.opened == [{"title": "Kordant", "body": "Olá", "alert_id": "7"}] * 2
        assert len({one.headers["topic"] for one in fake.asked}) == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://localhost./x",
        "https://127.1/x",
        "https://name-that-leads-inside.example/x",
        "https://push.apple.com.example/x",
        "https://fcm.googleapis.com@10.0.0.8/x",
        "https://10.0.0.8/x",
        "https://[::1]/x",
        "https://localhost/x",
        "https://db.internal/x",
        "file:///etc/passwd",
    ],
)
def test_an_endpoint_that_is_with_no_push_service_is_no_subscription(endpoint: str) -> None:
    with FakeWebPush() as fake:
        own = fake.subscription("x")
        text = own.replace(f"{fake.url}/push/x", endpoint)
    services = Settings().web_push_services.split(",")
    mozilla = own.replace(fake.url, "https://updates.push.services.mozilla.com")
    assert parse_subscription(text, services=services) is None
    assert parse_subscription(mozilla, services=services) is not None


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, 21211, GONE),
        (400, 21610, GONE),
        (400, 21614, GONE),
        (400, 21408, REFUSED),
        (400, 21606, REFUSED),
        (400, 21608, REFUSED),
        (400, 21612, REFUSED),
        (429, 20429, DEFERRED),
        (400, 21999, REFUSED),
        (500, 20500, DEFERRED),
    ],
)
def test_each_code_of_twilio_has_its_outcome(status: int, code: int, outcome: DeliveryOutcome) -> None:
    with FakeTwilio(lambda _: twilio_error(status, code)) as fake:
        (found,) = sms(fake).deliver("ann")
    assert (found.outcome, found.code) == (outcome, f"twilio {status} {code}")


def test_a_wrong_token_of_twilio_stops_all_and_is_not_repeated() -> None:
    with FakeTwilio() as fake:
        account = TwilioAccount(sid=fake.account.sid, token="wr0ng", sender="+12025550100")
        with pytest.raises(SettingsError, match="twilio refuses our key") as caught:
            list(TwilioTransport(account, base_url=fake.url).deliver([sms(fake).message("a")]))
        assert "wr0ng" not in str(caught.value) + repr(account)


def test_a_text_says_where_to_tell_of_it() -> None:
    with FakeTwilio() as fake:
        service = sms(fake)
        message = service.message("ann")
        list(service.transport.deliver([message]))
        assert fake.callbacks == [f"https://k.example/callbacks/twilio/{message.id}"]


def test_each_call_is_a_span_of_the_op_and_holds_nothing_of_the_message(service: Service, collector: Collector) -> None:
    """Web Push has the address in the URL, APNs too; Twilio takes address and text in a form."""
    with tracing.span("send_chunk"):
        service.deliver("ann", "bob")
    tracing.flush()
    (op,) = collector.named("send_chunk")
    calls = [one for one in collector.named("POST") if one.parent == op.id]
    assert len(calls) >= 2  # FCM fetches a token, too
    assert {tuple(sorted(one.attributes)) for one in calls} == {
        ("http.request.method", "http.response.status_code", "server.address")
    }
    assert {one.attributes["server.address"] for one in calls} == {"127.0.0.1"}
    canaries = ["Olá", "hello", "Kordant", "alert_id", *map(service.address, ("ann", "bob")), "/3/device", "https://"]
    everything = b"".join(collector.bodies)
    assert not [one for one in canaries if one.encode() in everything]


def test_what_was_under_way_when_a_service_went_down_is_still_reported() -> None:
    with FakeTwilio() as fake:
        service = sms(fake)
        names = [f"n{n}" for n in range(30)]
        bad = service.address(names[10])
        fake.script = lambda number: twilio_error(401, 20003) if number == bad else None
        told: list[Delivery] = []

        def deliver() -> None:
            for one in service.transport.deliver([service.message(name) for name in names]):
                told.append(one)

        with pytest.raises(SettingsError):
            deliver()
        assert len(told) == len(fake.delivered) < 30


@pytest.mark.parametrize("pem_text", ["", "no key"])
def test_a_key_that_is_none_is_said_without_being_repeated(pem_text: str) -> None:
    with pytest.raises(SettingsError, match="KORDANT_VAPID_KEY_PATH"):
        WebPushTransport(pem_text, contact="mailto:a@b.example", services=["push.example"])
    with FakeApns() as fake, pytest.raises(SettingsError, match="KORDANT_APNS_KEY_PATH"):
        ApnsTransport(type(fake.key)(private_key=pem_text, key_id="K", team_id="T", topic="t"))
