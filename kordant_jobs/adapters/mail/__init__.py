"""The transports of mails: a maildir on this machine, or an SMTP server."""

from kordant_jobs.adapters.mail.maildir import MaildirTransport
from kordant_jobs.adapters.mail.smtp import SmtpTransport, parse_smtp_url
from kordant_jobs.ports import MailTransport
from kordant_jobs.settings import Settings

__all__ = ["MaildirTransport", "SmtpTransport", "open_transport", "parse_smtp_url"]


def open_transport(settings: Settings) -> MailTransport:
    """The SMTP server of the settings, else the maildir. Nothing is connected or created yet.

    Raises:
        SettingsError: KORDANT_SMTP_URL or KORDANT_MAIL_FROM is wrong.
    """
    if settings.smtp_url is None:
        return MaildirTransport(settings.mails)
    return SmtpTransport(parse_smtp_url(settings.smtp_url.get_secret_value()), sender=settings.mail_from)
