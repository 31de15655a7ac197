"""The body that the ops of all jobs share, so that errors and progress are reported the same way."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import dagster as dg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs import tracing
from kordant_jobs.engine.failure import PERMANENT, RETRY_AFTER
from kordant_jobs.engine.store import traces
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import CancelRequested, KordantError, PermanentError, TransientError
from kordant_jobs.postgres.database import saying_what_failed
from kordant_jobs.redaction import redact_foreign

ITEMS_FAILED = "kordant/items_failed"
"""The key of the metadata in a run's last op that makes its request completed in part."""


def report_figures(context: dg.OpExecutionContext, figures: Mapping[str, int], *, items_failed: int = 0) -> None:
    """Report in figures what the run did, in its last op: Dagster's UI shows them, and its request's summary stores
    them. `items_failed` above 0: the run did a part of its work, and its request is completed in part."""
    context.add_output_metadata({**figures, **({ITEMS_FAILED: items_failed} if items_failed else {})})


def _traced(context: dg.OpExecutionContext) -> AbstractContextManager[object]:
    attributes = {"kordant.op": context.op_handle.name, "kordant.run_id": context.run_id}
    return tracing.span(context.op_handle.name, attributes=attributes, parent=traces.OF_RUNS.get(context.run_id))


@contextmanager
def op_body(context: dg.OpExecutionContext, db: Engine) -> Iterator[Progress]:
    """The body of an op: yields the run's progress, and lets no error pass that could carry personal data.

    Our own errors pass as they are, a permanent one as a `dagster.Failure` that is not retried. Any other error is
    replaced by one that names its kind and place, since a library's message may quote personal data. A cancelled run
    ends as canceled when it next reports progress.
    """
    try:
        with _traced(context), saying_what_failed(), Progress(db, context.run_id) as progress:
            yield progress
    except PermanentError as error:
        raise dg.Failure(str(error), metadata={PERMANENT: True}, allow_retries=False) from None
    except TransientError as error:
        if error.retry_after_s is None:
            raise
        raise dg.Failure(str(error), metadata={RETRY_AFTER: float(error.retry_after_s)}) from None
    except CancelRequested:
        context.instance.report_run_canceling(context.run)
        raise dg.DagsterExecutionInterruptedError from None
    except (KordantError, dg.Failure, dg.DagsterError):
        raise
    except DBAPIError as error:
        text = redact_foreign(str(error.orig).partition("\n")[0])
        raise KordantError(f"Postgres refused a statement ({type(error.orig).__name__}: {text}).") from None
    except Exception as error:  # noqa: BLE001 - replaced by one without data, never dropped
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_qualname}, line {where.tb_lineno}" if where else "?"
        raise KordantError(f"{type(error).__name__} in {place}: {redact_foreign(str(error))}") from None
