"""Calls of a bank are spans of the run, and hold nothing of an account."""

from __future__ import annotations

from datetime import date

from kordant_jobs import tracing
from kordant_jobs.lab.banks.small_bank import SmallBank, entry
from kordant_jobs_tests.otlp import Collector, collector

__all__ = ["collector"]


def test_each_call_of_a_bank_is_a_span_of_the_op_and_holds_nothing_of_an_account(
    any_bank: SmallBank, collector: Collector
) -> None:
    (account,) = any_bank.open("checking")
    entry(account, "canary-id", "-4242.42", date(2026, 3, 9))
    with tracing.span("read"):
        assert any_bank.sync()["successful"] == 1
    tracing.flush()
    (op,) = collector.named("read")
    calls = [one for one in (*collector.named("GET"), *collector.named("POST")) if one.parent == op.id]
    assert len(calls) >= 3
    assert {tuple(sorted(one.attributes)) for one in calls} == {
        ("http.request.method", "http.response.status_code", "server.address")
    }
    everything = b"".join(collector.bodies)
    canaries = ["canary", "4242", account.id, "checking", "secret", "password", "refresh-", "https://", "accounts"]
    assert not [one for one in canaries if one.encode() in everything]
