"""notifications_send in Dagster: one op that sends what is due."""

from dataclasses import asdict

from sqlalchemy import Engine

from kordant_jobs.adapters.messengers import NEEDED, Broken, Messengers, open_signer
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.catalog.notifications_send import NotificationsSend
from kordant_jobs.engine.job_shapes import Report, Summary, one_op_job
from kordant_jobs.errors import SettingsError
from kordant_jobs.jobs.notifications_send import service
from kordant_jobs.jobs.notifications_send.channel_senders import channel_senders, mail_from_of
from kordant_jobs.jobs.notifications_send.rules import Rate
from kordant_jobs.ports import MailTransport
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring


def send(
    payload: NotificationsSend,
    report: Report,
    db: Engine,
    keyring: Keyring,
    mail: MailTransport,
    messengers: Messengers,
    settings: Settings,
) -> Summary:
    """Claim, compose and send in batches until nothing is due."""
    if messengers.off:
        off = ", ".join(f"{channel} ({NEEDED[channel]})" for channel in messengers.off)
        report.info(f"off for want of a key: {off}")
    signer = None
    try:
        signer = open_signer(settings)
    except SettingsError as error:
        mail = Broken(error=error)  # unsigned mails would harm our standing: e-mail is paused, the others go out
    sent = service.send_due(
        db=db,
        keyring=keyring,
        senders=channel_senders(mail, mail_from_of(settings, keyring, signer), messengers),
        rate=Rate(person_per_hour=settings.mail_per_person_hour, domain_per_s=settings.mail_domain_per_s),
        limit=payload.limit,
        batch=payload.batch,
        progress=report.progress,
    )
    lost = sent.failed + sent.dead
    if lost:
        report.warn(f"{lost} notifications were not accepted: `kordant-jobs notifications list` says why.")
    for channel in sent.paused:
        report.warn(f"paused {channel} `kordant-jobs notifications resume` ends a pause.")
    return Summary({**asdict(sent), "paused": len(sent.paused)}, items_failed=lost + len(sent.paused))


JOBS = one_op_job(BY_NAME[service.JOB], service="notifications", run=send)
