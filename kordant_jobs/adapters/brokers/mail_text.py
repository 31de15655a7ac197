"""The text of a mail that its reader sees: every text part, without what is enclosed, attached, quoted or hidden."""

import re
from collections.abc import Iterator
from email.message import Message
from itertools import islice

from cssselect import SelectorError
from lxml import etree, html
from lxml.cssselect import CSSSelector

TEXT_MAX = 200_000
"""Characters of a part."""
PARTS_MAX = 50
BLOCKS = frozenset({"p", "table", "tr", "td", "th", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr"})
LINES = frozenset({"br", "div"})

_UNSEEN = (
    "//script|//style|//head|//title|//template|//noscript|//object|//*[@hidden]"
    "|//blockquote|//*[contains(concat(' ', normalize-space(@class), ' '), ' gmail_quote ')]"
    "|//*[contains(@class, 'yahoo_quoted') or contains(@class, 'protonmail_quote') or contains(@class, 'zmail_extra')]"
)
"""Elements that are not shown, or that quote."""
_HIDING = r"display:none|visibility:(hidden|collapse)|opacity:0(\.0+)?(;|$)|font-size:0|max-height:0|mso-hide:all"
_HIDDEN_BY_STYLE = re.compile(rf"{_HIDING}|text-indent:-\d{{3}}|left:-\d{{3}}")
_MEDIA = re.compile(r"@[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}|/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIMPLE = re.compile(r"[\w.#*-]+")
RULES_MAX = 200
"""Rules of a style sheet that hide something; each is a walk through the mail."""


def seen_texts(mail: Message) -> tuple[list[str], bool]:
    """The text parts of a mail as they are seen, each once, and whether it has more text than was read."""
    found: dict[str, str] = {}
    is_cut = False
    for number, part in enumerate(_leaves(mail)):
        if number >= PARTS_MAX:
            return list(found.values()), True
        kind = part.get_content_type()
        is_text = kind in {"text/plain", "text/html"} and part.get_filename() is None
        if not is_text or part.get_content_disposition() == "attachment":
            continue
        text = _decoded(part)
        is_cut = is_cut or len(text) > TEXT_MAX
        text = seen_in_html(text[:TEXT_MAX]) if kind == "text/html" else text[:TEXT_MAX]
        if text.strip():
            found.setdefault("".join(text.split()), text)
    return list(found.values()), is_cut


def _leaves(mail: Message) -> Iterator[Message]:
    """The parts of a mail in their order; of an enclosed mail none."""
    waiting = [mail]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart":
            inner = part.get_payload()
            waiting += [one for one in reversed(inner) if isinstance(one, Message)] if isinstance(inner, list) else []
        else:
            yield part


def _decoded(part: Message) -> str:
    raw = part.get_payload(decode=True)
    content = raw if isinstance(raw, bytes) else b""
    charset = part.get_content_charset()
    try:
        text = content.decode(charset or "utf-8", "replace" if charset else "strict")
    except (LookupError, ValueError):
        text = content.decode("cp1252", "replace") if charset is None else content.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode("utf-8")


def seen_in_html(text: str) -> str:
    """HTML as it is seen; a link's address stays beside its words.

    >>> seen_in_html('<p>Please <a href="https://x.com/c">confirm</a>.</p><blockquote>your <p>letter</blockquote>')
    'Please confirm https://x.com/c .'
    >>> seen_in_html('<i style="display: none">All deleted.</i><!-- All deleted. --><b>Hello</b>')
    'Hello'
    """
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=_parser())
    except (etree.ParserError, ValueError):  # nothing in it
        return ""
    for hidden in _hidden(root):
        if hidden.getparent() is not None:
            hidden.drop_tree()
    said: list[str] = []
    for event, element in etree.iterwalk(root, events=("start", "end")):
        gap = "\n\n" if element.tag in BLOCKS else "\n" if element.tag in LINES else ""
        if event == "start":
            said += [gap, element.text or ""]
            continue
        link = str(element.get("href", "")) if element.tag == "a" else ""
        said += [f" {link} " if link.lower().startswith(("http://", "https://")) else "", gap, element.tail or ""]
    plain = re.sub(r"[ \t\r\f\v]+", " ", "".join(said))
    return re.sub(r" ?\n ?", "\n", re.sub(r"\n\s*\n", "\n\n", plain)).strip()


def _parser() -> html.HTMLParser:
    return html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, huge_tree=True)


def _is_hiding(style: str) -> bool:
    return _HIDDEN_BY_STYLE.search("".join(style.lower().split())) is not None


def _hidden(root: html.HtmlElement) -> list[html.HtmlElement]:
    """The elements that are not shown; rules for some screens only hide nothing."""
    found = [one for one in root.xpath("//*[@style]") if _is_hiding(one.get("style", ""))]
    sheets = " ".join(sheet.text or "" for sheet in root.iter("style"))
    hiding = (names for names, body in _RULE.findall(_MEDIA.sub("", sheets)) if _is_hiding(body))
    selectors = (one.strip() for names in hiding for one in names.split(","))
    for selector in islice(filter(_SIMPLE.fullmatch, selectors), RULES_MAX):
        try:
            found += CSSSelector(selector, translator="html")(root)
        except SelectorError:  # mail programs ignore it, too
            continue
    return [*found, *root.xpath(_UNSEEN)]
