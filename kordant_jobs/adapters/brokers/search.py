"""Looks for a person on a people-search site, by its search page as a recipe describes it.

A recipe names the page (`url` with places such as `{first_name}`), `result` (a selector of one result), and within it
`name`, `age`, `city_state` and `past_places`; `no_results` is what the page shows when there is none. Selectors are
CSS, or XPath where they begin with `/`, `(` or `./`. Polite: robots.txt is asked and obeyed, a site is asked once in
a few seconds, and a page that was read is kept for an hour.
"""

from __future__ import annotations

import re
import time
import unicodedata
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
from kordant_jobs.domain.removals.messages import CheckVerdict
from kordant_jobs.ports import RescanAnswer, RescanQuestion

PAUSE_S = 3.0
"""Between two pages of one site."""
KEEP_S = 3600.0
KEPT_MOST = 1000
AGE_SLACK = 1


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
        try:
            url = question.recipe["url"].format_map({name: quote(value) for name, value in person.items()})
        except (KeyError, ValueError, IndexError):
            return _unknown("recipe_needs_more")
        page = self._page(url)
        if page.code:
            return _unknown(page.code)
        if page.status == 404 and not question.recipe.get("no_results"):
            return RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
        if page.status >= 400:
            return _unknown(f"http {page.status}")
        return judge(page.body, question.recipe, person)

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


def judge(content: bytes, recipe: Mapping[str, str], person: Mapping[str, str]) -> RescanAnswer:
    """Judge a person's presence on a search page. A page that shows neither results nor that there are none is unknown:
    it may be a puzzle for robots, or a new layout."""
    try:
        root = html.document_fromstring(content.decode("utf-8", "replace"))
        results = _select(root, recipe["result"])
        found = {_is_same(one, recipe, person) for one in results}
        if True in found:
            return RescanAnswer(verdict=CheckVerdict.LISTED)
        if None in found:
            return _unknown("name_and_age_fit_in_another_place")
        if results and _has_more(root):
            return _unknown("more_pages")
        if results or (recipe.get("no_results") and _select(root, recipe["no_results"])):
            return RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
    except (ValueError, XPathError, SelectorError, html.etree.ParserError):
        return _unknown("unreadable")
    return _unknown("neither_results_nor_none")


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
    "//a[@href][contains('|next|next page|›|»|>|', "
    "concat('|', normalize-space(translate(., 'NEXTPAG', 'nextpag')), '|'))]",
    "//link[@rel='next']",
)


def _has_more(root: Any) -> bool:
    """True when results continue on another page, which is not read."""
    return any(root.xpath(one) for one in _MORE)


def _text(node: Any, selector: str | None) -> str:
    if not selector:
        return ""
    return " ".join(" ".join(one.itertext()) for one in _select(node, selector) if not isinstance(one, str))


def _plain(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text.lower())
    return re.findall(r"[a-z0-9]+", "".join(one for one in folded if not unicodedata.combining(one)))


def _is_same(result: Any, recipe: Mapping[str, str], person: Mapping[str, str]) -> bool | None:
    """First and last name, and the city or the age where the result shows them: two Ann Smiths are not one. None where
    name and age are the person's and the place is another: people move, and sites know only some places."""
    name = _plain(_text(result, recipe.get("name")) or " ".join(result.itertext()))
    first, last = _plain(person.get("first_name", "")), _plain(person.get("last_name", ""))
    if not first or not last or not (set(first) <= set(name) and set(last) <= set(name)):
        return False
    ages = [int(one) for one in re.findall(r"\b\d{2,3}\b", _text(result, recipe.get("age")))]
    wanted = person.get("age", "")
    has_age = bool(ages) and wanted.isdigit()
    if has_age and all(abs(age - int(wanted)) > AGE_SLACK for age in ages):
        return False
    places = [*_plain(_text(result, recipe.get("city_state"))), *_plain(_text(result, recipe.get("past_places")))]
    city = _plain(person.get("city", ""))
    if places and city and not set(city) <= set(places):
        return None if has_age else False
    return True
