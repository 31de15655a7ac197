from __future__ import annotations

from collections.abc import Iterator

import pytest

from kordant_jobs.adapters.brokers.bounded import BODY_MAX, BoundedClient, BrokerSites
from kordant_jobs.adapters.brokers.search import SearchPages
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer
from kordant_jobs.ports import RescanQuestion

RECIPE = {
    "url": "https://spoken.com/n/{first_name}-{last_name}",
    "result": ".card",
    "name": ".name",
    "age": ".age",
    "city_state": ".//p[@class='city']",
    "past_places": ".past",
    "no_results": "//p[contains(text(), 'No results')]",
}
ANN = {"name": "Ann Smith", "city": "Fresno", "age": "41"}
CARD = '<div class="card"><h2 class="name">{}</h2><b class="age">Age {}</b><p class="city">{}</p></div>'


class Site(FakeServer):
    """One broker's site."""

    page = ""
    robots = ""
    status = 200
    location = ""
    charset = "utf-8"
    header = "text/html; charset=utf-8"

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/robots.txt":
            return Answer(status=200 if self.robots else 404, body=self.robots.encode())
        headers = {"content-type": self.header} | ({"location": self.location} if self.location else {})
        return Answer(status=self.status, body=self.page.encode(self.charset), headers=headers)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        yield server


def check(site: Site, *, name: str = "Ann Smith", **recipe: str) -> tuple[str, str | None]:
    pages = SearchPages(BoundedClient(hosts={"spoken.com": site.url}), pause_s=0)
    question = RescanQuestion(site="spoken.com", recipe={**RECIPE, **recipe}, person={**ANN, "name": name})
    found = pages.check(question)
    return found.verdict.value, found.reason


@pytest.mark.parametrize(
    ("page", "verdict"),
    [
        (CARD.format("Ann B. Smith", 42, "Fresno, CA"), "listed"),
        (CARD.format("SMITH, Ann", 41, "Fresno"), "listed"),
        (CARD.format("Ann Smith", 68, "Fresno, CA"), "not_listed"),
        (CARD.format("Ann Smith", 41, "Boston, MA"), "unknown"),
        (CARD.format("Ann Smith", 41, "Boston, MA <i class=past>Used to live in Reno NV, Fresno CA</i>"), "listed"),
        (CARD.format("Ann Smith", "", "Boston, MA"), "unknown"),
        (CARD.format("A. Smith", 41, "Fresno, CA"), "unknown"),
        (CARD.format("Annie Smith", 41, "Fresno, CA"), "unknown"),
        (CARD.format("Bob Jones", 41, "Fresno, CA <i>Also known as Ann Smith</i>"), "unknown"),
        (CARD.format("", "", ""), "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + '<a rel="next" href="?page=2">2</a>', "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + '<a href="?page=2">Next</a>', "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + '<a class="next disabled" href="#">2</a>', "not_listed"),
        (CARD.format("Ann Smith", 68, "Fresno") + "<button>Load more results</button>", "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + '<a href="?page=2">2</a>', "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + "<p>Showing 1-1 of 38</p>", "unknown"),
        (CARD.format("Ann Smith", 68, "Fresno") + "<p>Showing 1-1 of 1</p>", "not_listed"),
        (CARD.format("Anna Smithson", 41, "Fresno, CA"), "not_listed"),
        (CARD.format("Bob Smith", 41, "Fresno, CA"), "not_listed"),
        ('<p style="display: none">No results</p><div>Loading…</div>', "unknown"),
        ("<p>No results</p><div>Loading…</div>", "unknown"),
        (CARD.format("Bob Jones", 41, "Fresno") + "x" * BODY_MAX + CARD.format("Ann Smith", 41, "Fresno"), "unknown"),
        ("<p>No results for you</p>", "not_listed"),
        ("<h1>Are you a robot?</h1>", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_page_is_judged_by_name_place_and_age_and_unknown_where_it_says_nothing(
    site: Site, page: str, verdict: str
) -> None:
    site.page = page
    assert check(site)[0] == verdict


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("John Smith Jr.", "John Smith"),
        ("Karl Smith III", "Karl Smith"),
        ("王 小明", "王 小明"),
        ("Иван Петров", "Ivan Petrov"),
        ("José Gonçalves", "JOSE GONCALVES"),
        ("Sean O'Neil", "Sean ONeil"),
        ("Anna-Lena Zed", "Annalena Zed"),
    ],
)
def test_a_name_is_the_same_in_another_spelling(site: Site, name: str, shown: str) -> None:
    site.page = CARD.format(shown, "", "Fresno, CA")
    assert check(site, name=name)[0] == "listed"


@pytest.mark.parametrize(
    ("name", "shown", "city"),
    [
        ("Maria Silva Santos", "Maria Silva", "Fresno"),
        ("Elizabeth Zed", "Liz Zed", "Fresno"),
        ("Ann Zed", "Ann Zed", "St. Louis"),
        ("Иван Петров", "Oleg Orlov", "Fresno"),
        ("Madonna", "Madonna", "Fresno"),
        ("Jr.", "Bob Jones", "Fresno"),
    ],
)
def test_what_may_be_the_person_is_unknown(site: Site, name: str, shown: str, city: str) -> None:
    site.page = CARD.format(shown, "", city)
    assert check(site, name=name)[0] == "unknown"


@pytest.mark.parametrize("header", ["text/html; charset=iso-8859-1", "text/html"])
def test_a_page_is_read_in_its_charset(site: Site, header: str) -> None:
    meta = '<meta charset="windows-1252">' if header == "text/html" else ""
    site.page, site.charset, site.header = meta + CARD.format("José Gonçalves", "", "Fresno"), "cp1252", header
    assert check(site, name="José Gonçalves")[0] == "listed"


def test_not_found_is_an_answer_only_where_the_recipe_says_so(site: Site) -> None:
    site.status = 404
    assert check(site) == ("unknown", "http 404")
    assert check(site, no_results="404") == ("not_listed", None)


def test_robots_and_errors_are_unknown(site: Site) -> None:
    site.page = CARD.format("Ann Smith", 41, "Fresno")
    site.status = 503
    assert check(site) == ("unknown", "http 503")
    site.status, site.robots = 200, "User-agent: *\nDisallow: /n/"
    assert check(site) == ("unknown", "robots")
    assert not [one for one in site.asked[2:] if one.path.startswith("/n/")]


def test_a_page_is_asked_for_once_an_hour(site: Site) -> None:
    site.page = "<p>No results</p>"
    pages = SearchPages(BoundedClient(hosts={"spoken.com": site.url}), pause_s=0)
    for _ in range(3):
        pages.check(RescanQuestion(site="spoken.com", recipe=RECIPE, person=ANN))
    assert [one.path for one in site.asked] == ["/robots.txt", "/n/Ann-Smith"]


def test_a_link_leads_nowhere_but_to_the_brokers_own_domains(site: Site) -> None:
    sites, own = (
        BrokerSites(BoundedClient(hosts={"spoken.com": site.url, "evil.net": site.url})),
        frozenset({"spoken.com"}),
    )
    for url in ("https://evil.net/c", "http://spoken.com/c", "https://u:p@spoken.com/c", "https://127.0.0.1/c", "x"):
        assert not sites.follow(url, own).done
    assert site.asked == []
    site.status, site.location = 302, "https://evil.net/c"
    assert sites.follow("https://spoken.com/c", own).code == "other_domain"
    assert len(site.asked) == 1


def test_a_form_is_done_only_when_the_site_says_so_and_its_answer_is_bounded(site: Site) -> None:
    sites = BrokerSites(BoundedClient(hosts={"spoken.com": site.url}))
    form = {"url": "https://spoken.com/out", "fields": {"mail": "email"}, "success": "request received"}
    site.page = "<p>Request received. Thank you.</p>"
    assert sites.post(form, {"email": "a@b.example", "phone": "+1555"}).done
    assert site.asked[-1].body == b"mail=a%40b.example"
    site.page = "x" * (2 * BODY_MAX) + "request received"
    assert not sites.post(form, {"email": "a@b.example"}).done
