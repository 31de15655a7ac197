"""Opens a report by the signed link in its mail. The link, the response headers and the log hold no personal data.
Everyone who has the link can open the report until the link expires."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Engine
from starlette.responses import Response

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.reports.retention import ExpiredLink, check_link
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.pages.html import PRIVATE, page
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import reports
from kordant_jobs.wording import wording

log = logging.getLogger(__name__)

AGAIN_S = 60
"""Seconds after which the reader may try again while the report storage does not answer (Retry-After)."""


def open_report(
    link: str, *, db: Engine, keyring: Keyring, storage: ReportStorage, now: datetime, locale: Locale
) -> Response:
    """The PDF of `link` (path and query), or a page with the reason why there is none. The page is in the language of
    the report, or in `locale` if no report was found."""
    try:
        report_id = check_link(link, now=now, key=keyring.report_link_key)
    except ExpiredLink:
        return _expired(locale)
    except PermanentError:
        return _no_link(locale)
    with db.connect() as connection:
        found = reports.place_of(connection, report_id)
    if found is None:
        return _gone(locale)
    try:
        content = storage.get(found.storage_key)
    except (PermanentError, TransientError) as error:
        log.warning("report %s cannot be opened: %s", report_id, error)
        return _not_now(Locale(found.locale))
    name = f"kordant-{found.period_start_on.isoformat()}.pdf"
    headers = {**PRIVATE, "Content-Disposition": f'inline; filename="{name}"', "Content-Language": found.locale}
    return Response(content, media_type="application/pdf", headers=headers)


def _no_link(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("It was cut off or changed. Open it from the mail itself, or sign in to Kordant.")
    return page(locale, words.say("This link does not work."), text, status=404)


def _expired(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Sign in to Kordant to read the report.")
    return page(locale, words.say("This link has expired."), text, status=410)


def _gone(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Its time was over, or it was deleted with your data.")
    return page(locale, words.say("This report is no longer kept."), text, status=410)


def _not_now(locale: Locale) -> Response:
    words = wording(locale)
    text = words.say("Please try again in a few minutes.")
    title = words.say("The report cannot be opened at the moment.")
    return page(locale, title, text, status=503, **{"Retry-After": str(AGAIN_S)})
