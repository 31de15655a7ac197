"""A job that does nothing. One run of it before the fork imports, compiles and caches what every run needs."""

import dagster as dg

WARM_UP_TAG = "kordant/warm_up"


@dg.op
def look(context: dg.OpExecutionContext) -> int:
    """Write a line to the log and one to standard output."""
    context.log.info("warm")
    print("warm")  # noqa: T201 - the capture of standard output is to be warmed up as well
    return 1


@dg.op
def check_again(seen: int) -> int:
    """Receive an input."""
    return seen


@dg.job(executor_def=dg.in_process_executor, tags={WARM_UP_TAG: "yes"})
def warm_up() -> None:
    """Run two ops, one after the other."""
    check_again(look())


defs = dg.Definitions(jobs=[warm_up])
