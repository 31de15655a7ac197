"""The short pages behind the links in our messages, in the reader's language. Pure.

They load no other files, and tell caches and search engines not to store them.
"""

from html import escape

from starlette.responses import HTMLResponse

from kordant_jobs.domain.people.subscriptions import Locale

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:3em auto;padding:0 1em}"
    "header{color:#1f4e79;letter-spacing:.04em}button{font:inherit;padding:.6em 1em}"
)

PRIVATE = {
    "Cache-Control": "no-store, private",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Headers of everything that our links open. The link is not sent on as a referrer, either."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def page(locale: Locale, title: str, text: str, form: str = "", *, status: int = 200, **headers: str) -> HTMLResponse:
    """A page with a heading and a sentence. `form` is HTML; `title` and `text` are plain text and are escaped."""
    content = (
        f'<!doctype html><html lang="{locale}"><meta charset="utf-8"><meta name="robots" content="noindex">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<header><strong>Kordant</strong></header>"
        f"<main><h1>{escape(title)}</h1><p>{escape(text)}</p>{form}</main></html>"
    )
    return HTMLResponse(content, status, {**PRIVATE, "Content-Security-Policy": _POLICY, **headers})


def preferred_locale(accept_language: str) -> Locale:
    """The language for an unknown reader: the browser's first choice if we have it, else English.

    >>> [preferred_locale(one).value for one in ("pt-PT,pt;q=0.9,en;q=0.8", "fr, en;q=0.5", "")]
    ['pt-BR', 'en', 'en']
    """
    first = accept_language.partition(",")[0].partition(";")[0].strip().lower()
    return Locale.PT_BR if first.partition("-")[0] == "pt" else Locale.EN
