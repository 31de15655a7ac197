"""Looks for a person on a people-search site, by its search page as a recipe describes it.

A recipe names the page (`url` with places such as `{first_name}`), `result` (a selector of one result), and within it
`name`, `age`, `city_state` and `past_places`; `no_results` is what the page shows when there is none (`404`: it is not
found then). Selectors are CSS, or XPath where they begin with `/`, `(` or `./`. Polite: robots.txt is asked and obeyed,
a site is asked once in a few seconds, and a page that was read is kept for an hour.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.robotparser import RobotFileParser

from cssselect import SelectorError
from lxml import html
from lxml.cssselect import CSSSelector
from lxml.etree import XPathError

from kordant_jobs.adapters.brokers.bounded import USER_AGENT, BoundedClient, Page
from kordant_jobs.domain.removals.brokers import places_of
from kordant_jobs.domain.removals.listings import Fit, Listing, fit, is_latin, parts_of
from kordant_jobs.domain.removals.replies import CheckVerdict
from kordant_jobs.ports import RescanAnswer, RescanQuestion

PAUSE_S = 3.0
"""Between two pages of one site."""
KEEP_S = 3600.0
KEPT_MOST = 1000


class SearchPages:
    """See `ports.RescanSource`. `pause_s` 0 is for simulated sites."""

    def __init__(
        self,
        client: BoundedClient,
        *,
        pause_s: float = PAUSE_S,
        keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._pause_s, self._keep_s = client, pause_s, keep_s
        self._clock, self._sleep = clock, sleep
        self._kept: dict[str, tuple[float, Page]] = {}
        self._robots: dict[str, RobotFileParser | None] = {}
        self._last: dict[str, float] = {}

    def check(self, question: RescanQuestion) -> RescanAnswer:
        """Read the search page and look for the person among its results."""
        person = places_of(question.person)
        try:  # what is empty is missing: a search for no name has no result
            known = {name: quote(value) for name, value in person.items() if value}
            url = question.recipe["url"].format_map(known)
        except (KeyError, ValueError, IndexError):
            return _unknown("recipe_needs_more")
        page = self._page(url)
        if page.code:
            return _unknown(page.code)
        if page.status == 404 and question.recipe.get("no_results") == "404":
            return RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
        if page.status >= 400:
            return _unknown(f"http {page.status}")
        answer = judge(page.text, question.recipe, person)
        is_listed = answer.verdict is CheckVerdict.LISTED
        return _unknown("page_cut_off") if page.is_cut and not is_listed else answer

    def _page(self, url: str) -> Page:
        kept = self._kept.get(url)
        if kept and self._clock() - kept[0] < self._keep_s:
            return kept[1]
        if not self._is_allowed(url):
            return Page(code="robots")
        page = self._polite(url)
        if not page.code and page.status < 500:
            while len(self._kept) >= KEPT_MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[url] = (self._clock(), page)
        return page

    def _polite(self, url: str) -> Page:
        host = urlsplit(url).netloc
        wait = self._last.get(host, -self._pause_s) + self._pause_s - self._clock()
        if wait > 0:
            self._sleep(wait)
        self._last[host] = self._clock()
        return self._client.ask("GET", url)

    def _is_allowed(self, url: str) -> bool:
        """True when robots.txt allows it. A site that has none allows all; one that does not answer allows nothing (RFC
        9309)."""
        parts = urlsplit(url)
        if parts.netloc not in self._robots:
            page = self._polite(f"{parts.scheme}://{parts.netloc}/robots.txt")
            if page.code or page.status >= 500:
                self._robots[parts.netloc] = None
            else:
                parser = RobotFileParser()
                parser.parse(page.text.splitlines() if page.status < 400 else [])
                self._robots[parts.netloc] = parser
        robots = self._robots[parts.netloc]
        return robots is not None and robots.can_fetch(USER_AGENT, url)


def _unknown(reason: str) -> RescanAnswer:
    return RescanAnswer(verdict=CheckVerdict.UNKNOWN, reason=reason)


def judge(text: str, recipe: Mapping[str, str], person: Mapping[str, str]) -> RescanAnswer:
    """Judge a person's presence on a search page, read whole. *Not listed* needs that nothing on it could be the
    person, that it has no further results, and that it shows results or says that there are none: what shows neither
    may be a puzzle for robots, or a new layout."""
    try:
        root = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8"))
        results = _select(root, recipe["result"])
        listings = [_listing(one, recipe) for one in results]
        fits = {fit(one, person) for one in listings}
        if Fit.SAME in fits:
            return RescanAnswer(verdict=CheckVerdict.LISTED)
        if any("\N{REPLACEMENT CHARACTER}" in one.text for one in listings):
            return _unknown("charset")
        if Fit.POSSIBLE in fits:
            return _unknown("may_be_the_person")
        if not parts_of(person.get("name", "")) or not is_latin(person["name"]):
            return _unknown("name_is_not_latin")
        if _has_more(root, len(results)):
            return _unknown("more_pages")
        if results:
            return RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
        says_none = _select(root, recipe["no_results"]) if recipe.get("no_results", "404") != "404" else []
        if any(_is_visible(one) for one in says_none):
            is_loading = _LOADING.search(_visible_text(root))
            return _unknown("still_loading") if is_loading else RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
    except (ValueError, XPathError, SelectorError, html.etree.ParserError):
        return _unknown("unreadable")
    return _unknown("neither_results_nor_none")


def _listing(result: Any, recipe: Mapping[str, str]) -> Listing:
    whole = " ".join(result.itertext())
    return Listing(
        name=_text(result, recipe["name"]) if recipe.get("name") else whole,
        text=whole,
        ages=tuple(int(one) for one in re.findall(r"\b\d{2,3}\b", _text(result, recipe.get("age")))),
        places=f"{_text(result, recipe.get('city_state'))} {_text(result, recipe.get('past_places'))}",
    )


def _select(node: Any, selector: str) -> list[Any]:
    if selector.startswith(("/", "(", "./")):
        found = node.xpath(selector)
        return found if isinstance(found, list) else []
    return list(_css(selector)(node))


@lru_cache(maxsize=1000)
def _css(selector: str) -> CSSSelector:
    """Compiled once: that takes as long as searching a page."""
    return CSSSelector(selector, translator="html")


_MORE = (
    "//a[@rel='next' or contains(@class, 'next') or contains(translate(@aria-label, 'N', 'n'), 'next')]"
    "[@href and not(contains(@class, 'disabled'))]",
    "//a[@href][contains('|next|next page|próxima|›|»|>|', "
    "concat('|', normalize-space(translate(., 'NEXTPAGRÓIM', 'nextpagróim')), '|'))]",
    "//link[@rel='next']",
)
_MORE_WORDS = re.compile(r"(load|show|see|view) (\S+ )?(more|all)\b.*|more( results)?|(ver|carregar|mostrar) mais\b.*")
_PAGE_NUMBER = re.compile(r"[2-9]|[1-9]\d{1,2}")
_RANGE = re.compile(r"\d+ ?(?:-|–|to|a|até) ?(\d[\d,.]*) (?:of|de) (?:about |over )?(\d[\d,.]*)")
_FOUND = re.compile(
    r"(\d[\d,.]*) (?:results?|matches|records|people|profiles|resultados|registros) (?:were )?(?:found|encontrad)"
)
_LOADING = re.compile(r"\b(loading|carregando) ?(…|\.\.\.)|\bplease wait\b|\baguarde\b")


def _has_more(root: Any, shown: int) -> bool:
    """True when there are results that are not on this page: another page, a button for more, or a larger count."""
    if any(root.xpath(one) for one in _MORE):
        return True
    for one in root.iter("a", "button", "input"):
        words = " ".join((one.get("value") or "".join(one.itertext())).split()).lower()
        leads_on = one.get("href", "#")[:1] != "#" and "disabled" not in one.get("class", "")
        if (leads_on and _PAGE_NUMBER.fullmatch(words)) or _MORE_WORDS.fullmatch(words):
            return True
    text = _visible_text(root)
    ends = [(_number(one[1]), _number(one[2])) for one in _RANGE.finditer(text)]
    return any(whole > end for end, whole in ends) or any(_number(one[1]) > shown for one in _FOUND.finditer(text))


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def _visible_text(root: Any) -> str:
    texts = root.xpath("//text()[not(ancestor::script or ancestor::style or ancestor::template or ancestor::noscript)]")
    return " ".join(" ".join(texts).split()).lower()


def _is_visible(node: Any) -> bool:
    """True unless the page itself hides the element: many have the words 'no results' in store."""
    if isinstance(node, str):
        return True
    return not any(
        one.tag in {"template", "noscript", "script", "style"}
        or "hidden" in one.attrib
        or one.get("aria-hidden") == "true"
        or re.search(r"display:none|visibility:hidden", (one.get("style") or "").replace(" ", "").lower())
        for one in (node, *node.iterancestors())
    )


def _text(node: Any, selector: str | None) -> str:
    if not selector:
        return ""
    return " ".join(" ".join(one.itertext()) for one in _select(node, selector) if not isinstance(one, str))
