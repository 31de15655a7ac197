"""Makes the order of a run from a claim: payloads checked again, config, tags, limits and lineage."""

from __future__ import annotations

from collections.abc import Sequence

from kordant_jobs.engine.jobs import JobRow, limit_tags
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.claim import Claim
from kordant_jobs.engine.queue.recorded import claimed_payload, run_of
from kordant_jobs.engine.queue.work import REQUEST_TAG, REQUESTS_TAG
from kordant_jobs.engine.requests import Cause, Outcome, RequestStatus
from kordant_jobs.engine.runs import RunOrder
from kordant_jobs.engine.store.attempts import Move, Running
from kordant_jobs.errors import PermanentError

PRIORITY_TAG = "kordant/priority"
ATTEMPT_TAG = "kordant/attempt"


def sort_out(row: JobRow, requests: Sequence[Running]) -> tuple[list[Payload], list[Move]]:
    """The valid payloads, and the moves of the requests with invalid ones (requests may be written by SQL,
    unchecked)."""
    good: list[Payload] = []
    bad: list[Move] = []
    for one in requests:
        try:
            good.append(claimed_payload(row, one.payload))
        except PermanentError as error:
            bad.append(
                Move(
                    request_id=one.id,
                    status=RequestStatus.DEAD,
                    outcome=Outcome.FAILURE,
                    cause=Cause.INVALID,
                    error=str(error),
                )
            )
    return good, bad


def order_for(claim: Claim, row: JobRow, payloads: Sequence[Payload]) -> RunOrder:
    """The run that serves the claim's requests. A retry names the run that it follows, when all its requests have the
    same one."""
    parents = {one.run_id for one in claim.requests}
    roots = {one.root_run_id for one in claim.requests}
    alone = {REQUEST_TAG: str(claim.requests[0].id)} if len(claim.requests) == 1 else {}
    attempts = max(one.attempt for one in claim.requests)
    run = run_of(row, payloads)
    return RunOrder(
        run_id=claim.run_id,
        is_there=claim.is_there,
        job=run.job,
        run_config=run.config,
        partition_key=run.partition_key,
        tags={
            **alone,
            REQUESTS_TAG: str(len(claim.requests)),
            PRIORITY_TAG: min(one.priority for one in claim.requests).word,
            **({ATTEMPT_TAG: str(1 + attempts)} if attempts else {}),
            **limit_tags(row),
        },
        parent_run_id=parents.pop() if len(parents) == 1 else None,
        root_run_id=roots.pop() if len(roots) == 1 else None,
    )
