"""notifications_send in Dagster: one op that sends what is due.

(No `annotations` future here: Dagster reads the annotations of ops as objects.)
"""

from dataclasses import asdict

import dagster as dg
from pydantic import Field
from sqlalchemy import Engine

from kordant_jobs.adapters.messengers import NEEDED, Messengers, open_signer
from kordant_jobs.engine.op_body import op_body, tell_figures
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.outlets import all_outlets, sender_of
from kordant_jobs.jobs.notifications_send.rules import Rate
from kordant_jobs.jobs.notifications_send.service import JOB
from kordant_jobs.ports import MailTransport
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring


class SendConfig(dg.Config):
    """How much one run sends."""

    limit: int = Field(default=100_000, ge=1, description="At most so many notifications in this run.")
    batch: int = Field(default=service.BATCH, ge=1, le=10_000, description="Claimed and sent at once.")


@dg.op(name="send_notifications")
def send_op(
    context: dg.OpExecutionContext,
    config: SendConfig,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    mail: dg.ResourceParam[MailTransport],
    messengers: dg.ResourceParam[Messengers],
    settings: dg.ResourceParam[Settings],
) -> dict[str, int]:
    """Claim, compose and send in batches until nothing is due."""
    if messengers.off:
        off = ", ".join(f"{channel} ({NEEDED[channel]})" for channel in messengers.off)
        context.log.info(f"off for want of a key: {off}")
    sender = sender_of(settings, keyring, open_signer(settings))
    with op_body(context, db) as progress:
        summary = service.send_due(
            db=db,
            keyring=keyring,
            outlets=all_outlets(mail, sender, messengers),
            rate=Rate(person_per_hour=settings.mail_per_person_hour, domain_per_s=settings.mail_domain_per_s),
            limit=config.limit,
            batch=config.batch,
            progress=progress,
        )
        if summary.failed or summary.dead:
            lost = summary.failed + summary.dead
            context.log.warning(f"{lost} notifications were not taken: `kordant-jobs notifications list` says why.")
        figures = asdict(summary)
        tell_figures(context, figures, items_failed=summary.failed + summary.dead)
        progress.flush("done")
        return figures


@dg.graph(name=JOB)
def notifications_send_graph() -> None:
    """Send what is due."""
    send_op()


notifications_send = notifications_send_graph.to_job(
    name=JOB,
    description="Alerts to subscribers: every notification in the outbox that is due, each once.",
    tags={"kordant/service": "notifications"},
    executor_def=dg.in_process_executor,
)
