"""The built site, opened in a real browser with the network blocked.

Every page under _build/html is opened once, at the width of a desktop and of a phone; each test below
looks at one property of what was seen. `make test` builds the site first.
"""

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from gzip import compress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import address
import axe_playwright_python
import preview
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, Route, expect

from toylib.page import answer, records

pytestmark = pytest.mark.slow  # they need the built site
ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts
)
DESKTOP, PHONE = 1440, 360

# axe-core's verdict on a page. MathJax's own markup, thousands of elements, is left out. So are words of code
# of a colour that was there before: contrast takes long for each of thousands, and a class has one colour.
AXE = Path(axe_playwright_python.__file__ or "").with_name("axe.min.js")
AUDIT = """
async () => {
  const seen = new Set();
  for (const word of document.querySelectorAll(".highlight pre span")) {
    if (seen.has(word.className)) word.remove();
    seen.add(word.className);
  }
  const found = await axe.run({exclude: [["mjx-container"]]}, {resultTypes: ["violations"]});
  const grave = found.violations.filter(rule => ["serious", "critical"].includes(rule.impact));
  return grave.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 150)}`));
}
"""
FIRST_WEIGHT = 450_000  # bytes, packed, of a first page with all that it loads
PAGE_WEIGHT = 2_000_000  # bytes, beyond what all pages share

# What a reader would see if MyST or MathJax had left its source in the page.
UNRENDERED = {
    "a role": re.compile(r"\{[a-z][a-z:_-]*\}`|\{(numref|eq|cite|cite:[a-z]+|ref|doc|glue)[:}]"),
    "a directive": re.compile(r"^\s*(```|:::)\s*\{", re.MULTILINE),
    "display maths": re.compile(r"\$\$"),
    "a fraction or a command of TeX": re.compile(r"\\(frac|sum|mathrm|left|begin)\b"),
    "an unnumbered reference": re.compile(r"(Fig\.|Table|Equation) (%s|\?\?)"),
}

# Runs in the page once MathJax has finished: everything the tests ask of it.
LOOK = """
async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  const article = document.querySelector("article.bd-article") ?? document.querySelector("main");
  const pictures = [...document.querySelectorAll("img")];
  for (const picture of pictures) picture.loading = "eager";
  await Promise.all(pictures.map(picture => picture.decode().catch(() => null)));
  const prose = article.cloneNode(true);
  for (const code of prose.querySelectorAll("pre, code, script, style, mjx-container")) code.remove();
  return {
    title: document.title,
    lang: document.documentElement.lang,
    // the theme keeps a second heading, for print only
    headings: [...document.querySelectorAll("h1")].filter(node => node.checkVisibility()).length,
    icon: document.querySelector("link[rel~=icon]")?.href ?? null,
    prose: prose.textContent,
    formulas: document.querySelectorAll(".math").length,
    typeset: document.querySelectorAll(".math mjx-container").length,
    maths_errors: [...document.querySelectorAll("mjx-merror")].map(node => node.textContent),
    problems: [...document.querySelectorAll(".problematic, .system-message")].map(node => node.textContent),
    pictures: pictures.map(picture => ({
      src: picture.getAttribute("src"),
      alt: picture.getAttribute("alt"),
      shown: picture.complete && picture.naturalWidth > 0,
      content: article.contains(picture),
    })),
  };
}
"""

# The elements that stick out of the page to the right, for the message of a failing test.
OVERFLOW = """
() => {
  const width = document.documentElement.clientWidth;
  const page = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  if (page <= width) return [];
  const sticksOut = element => element.getBoundingClientRect().right > width + 1;
  const wide = [...document.querySelectorAll("main *:not(pre *)")].filter(sticksOut);
  return [`${page}px in ${width}px`, ...wide.slice(0, 4).map(e => `<${e.localName} class="${e.className}">`)];
}
"""

# pictures that are shown in another ratio of width to height than they have, and figures (two pixels for each
# of the page's, as they were drawn) so small that their letters cannot be read
SQUEEZED = """
() => [...document.querySelectorAll("main img")]
  .filter(img => img.clientWidth && img.naturalWidth && getComputedStyle(img).objectFit === "fill")
  .map(img => ({src: img.src, shown: img.clientWidth / img.clientHeight,
    own: img.naturalWidth / img.naturalHeight,
    size: img.closest("a.image-reference") ? img.clientWidth / (img.naturalWidth / 2) : 1}))
  .filter(({shown, own, size}) => Math.abs(shown / own - 1) > 0.02 || size < 0.65)
  .map(({src, shown, own, size}) => `${src.split("/").pop()} ${shown.toFixed(2)}, drawn ${own.toFixed(2)}; ` +
    `size times ${size.toFixed(2)}`)
"""

# What is cut off at its box's edge and should not be: the links to the pages before and after, with their
# arrows, and on a desktop, where there is room, equations and tables. On a phone these may scroll.
CUT = """
() => {
  const room = innerWidth > 1000;
  const boxes = ".prev-next-area a" + (room ? ", mjx-container[display], .output div:has(> table)" : "");
  return [...document.querySelectorAll(boxes)]
    .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 2)
    .map(e => `${e.scrollWidth}px in ${e.clientWidth}px: ${e.innerText.slice(0, 60)}`);
}
"""


@dataclass(frozen=True)
class Seen:
    """What one page showed, asked for and complained of."""

    facts: dict[str, Any]
    requests: list[str]
    failed: list[str]
    console: list[str]
    overflow: dict[int, list[str]]
    squeezed: dict[int, list[str]]
    cut: dict[int, list[str]]


@functools.cache
def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser")


def is_redirect(page: str) -> bool:
    refresh = parsed(page).find("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)})
    return refresh is not None


def attribute(tag: Tag, name: str) -> str:
    value = tag.get(name) or ""
    return value if isinstance(value, str) else " ".join(value)


# 404.html is outside the book
BARE = "404.html"
CONTENT = [page for page in PAGES if page != BARE and not is_redirect(page)]
CHAPTERS = [page for page in CONTENT if (ROOT / page).with_suffix(".ipynb").exists()]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The site on localhost; the address ends in a slash."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/"
    httpd.shutdown()


def watched(browser: Browser, home: str, **options: Any) -> tuple[Page, list[str], list[str], list[str]]:
    """A page that reaches `home` only, with the lists of its requests, its failed ones and its complaints."""
    context = browser.new_context(service_workers="block", **options)
    requests: list[str] = []
    failed: list[str] = []
    console: list[str] = []

    def let_through(route: Route) -> None:
        if route.request.url.startswith(home):
            route.continue_()
        else:
            route.abort()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            console.append(f"{message.type}: {message.text}")

    def on_failed(request: Request) -> None:
        failed.append(f"{request.url}: {request.failure}")

    context.route("**/*", let_through)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", on_failed)
    page.on(
        "response",
        lambda answer: failed.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None,
    )
    page.on("console", on_console)
    page.on("pageerror", lambda error: console.append(f"exception: {error}"))
    page.on("websocket", lambda socket: requests.append(socket.url))
    return page, requests, failed, console


def external(requests: list[str], home: str) -> list[str]:
    return [url for url in requests if not url.startswith((home, "data:", "blob:"))]


@pytest.fixture(scope="module")
def visit(browser: Browser, server: str) -> Any:
    """Open a page, once in the whole session, and say what was seen."""

    @functools.cache
    def open_page(name: str) -> Seen:
        page, requests, failed, console = watched(browser, server, viewport={"width": DESKTOP, "height": 900})
        try:
            page.goto(server + name, wait_until="load")
            facts = page.evaluate(LOOK)
            looks: list[dict[int, list[str]]] = [{}, {}, {}]
            for width, height in ((DESKTOP, 900), (PHONE, 740)):
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(100)
                for look, script in zip(looks, (OVERFLOW, SQUEEZED, CUT), strict=True):
                    look[width] = page.evaluate(script)
            return Seen(facts, requests, failed, console, *looks)
        finally:
            page.context.close()

    return open_page


def every(pages: list[str]) -> pytest.MarkDecorator:
    """A test for each page; all tests of one page go to the same worker, which opens it once."""
    return pytest.mark.parametrize("page", [pytest.param(p, marks=pytest.mark.xdist_group(p)) for p in pages])


# --- the site as a whole -----------------------------------------------------------------------


def test_every_page_of_the_table_of_contents_is_built() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    wanted = [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    missing = [name for name in wanted if f"{name}.html" not in PAGES]
    assert not missing, "not built: run make book first"
    assert "index.html" in PAGES
    assert CHAPTERS


FRONT = "index.html"
ALIAS = f"{yaml.safe_load((ROOT / '_toc.yml').read_text(encoding='utf-8'))['root']}.html"


def test_the_root_is_the_front_page_and_its_one_address() -> None:
    _, home = address.current()
    for page in (FRONT, ALIAS):
        canonical = parsed(page).find("link", rel="canonical")
        assert canonical is not None
        assert attribute(canonical, "href") == home
    words = [parsed(page).select_one("article").get_text() for page in (FRONT, ALIAS)]
    assert words[0] == words[1]


def test_the_front_page_says_what_the_records_say() -> None:
    claims = records.read(ROOT / "book")
    said = [" ".join(part.get_text().split()) for part in parsed(FRONT).select(".tl-answer li")]
    told = [BeautifulSoup(words, "html.parser").get_text() for words in answer.sentences(claims)]
    told = [" ".join(words.split()) for words in told]
    assert said == told
    assert len(said) == 5
    count = parsed(FRONT).select_one(".tl-count")
    assert count is not None
    assert count.get_text() == answer.counted(claims)
    short = parsed(FRONT).select_one(".tl-short")
    assert short is not None
    assert short.get_text() == answer.in_short(claims)
    cards = {attribute(card, "id") for card in parsed(FRONT).select(".tl-card")}
    assert cards == {f"card-{claim['id']}" for claim in claims}


def test_the_live_model_is_seen_at_once_and_ends_as_a_pentagon(browser: Browser, server: str) -> None:
    page, *_ = watched(browser, server, viewport={"width": DESKTOP, "height": 900})
    page.goto(server)
    live = page.locator(".toylib-small")
    before = live.bounding_box()
    page.wait_for_function("document.querySelector('.toylib-small').lab.trainer.finished")
    assert page.evaluate("window.scrollY") == 0
    assert live.locator("#found").inner_text() == "5 of 5, a pentagon"
    assert live.bounding_box() == before  # nothing moves while it trains
    assert before is not None
    assert before["y"] + before["height"] < 900
    live.locator("#sparsity").fill("0")
    page.wait_for_function("document.querySelector('.toylib-small').lab.trainer.finished")
    assert live.locator("#found").inner_text().startswith("2 of 5")
    link = live.locator("#open").get_attribute("href")
    page.goto(server + str(link))
    state = page.evaluate("document.querySelector('.toylib-lab').lab.state")
    page.context.close()
    assert (state["n"], state["sparsity"]) == (5, 0)


OUTSIDE = """
() => [...document.querySelectorAll("svg text")].filter(text => {
  const own = text.getBoundingClientRect(), all = text.closest("svg").getBoundingClientRect();
  return own.width && (own.left < all.left - 1 || own.right > all.right + 1);
}).map(text => text.textContent)
"""


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_word_of_the_front_pages_pictures_is_cut_off(width: int, browser: Browser, server: str) -> None:
    page, *_ = watched(browser, server, viewport={"width": width, "height": 900})
    page.goto(server)
    assert page.locator(".tl-story text").count() > 10
    assert page.evaluate(OUTSIDE) == []
    page.context.close()


def test_buttons_choose_among_the_cards_and_without_javascript_all_are_shown(
    browser: Browser, server: str
) -> None:
    page, *_ = watched(browser, server)
    page.goto(server)
    cards, shown = page.locator(".tl-card"), page.locator(".tl-card:visible")
    assert shown.count() == cards.count() > 10
    page.get_by_role("button", name="real networks").click()
    assert {card.get_attribute("data-world") for card in shown.all()} == {"real"}
    page.get_by_role("button", name="does not hold").click()
    assert {card.get_attribute("data-verdict") for card in shown.all()} <= {"not"}
    assert page.locator(".tl-shown").inner_text() == f"{shown.count()} of {cards.count()} claims"
    page.context.close()
    page, *_ = watched(browser, server, java_script_enabled=False)
    page.goto(server)
    assert page.locator(".tl-card:visible").count() == page.locator(".tl-card").count()
    assert not page.locator(".tl-filters").is_visible()
    page.context.close()


@pytest.mark.parametrize("page", [FRONT, "book/is-it-superposition.html"])
def test_a_claim_runs_again_on_its_card(page: str, browser: Browser, server: str) -> None:
    view, *_ = watched(browser, server)
    view.goto(server + page)
    place = view.locator('div.toylib-rerun[data-run*="sharing-with-room"]')
    place.get_by_role("button").click()
    expect(place.locator("#said")).to_contain_text("The book ", timeout=120_000)
    assert place.evaluate("host => host.rerun.result.whole")
    assert view.locator("script.toylib-rerun").count() == 1
    view.context.close()


@pytest.mark.parametrize("page", [FRONT, "book/lab.html", "book/twenty-minutes.html"])
def test_a_first_page_weighs_little_with_all_that_it_loads(page: str, browser: Browser, server: str) -> None:
    view, *_ = watched(browser, server, viewport={"width": DESKTOP, "height": 900})
    answers: list[Response] = []
    view.on("response", lambda answer: answers.append(answer))
    view.goto(server + page, wait_until="networkidle")
    packed = {".woff", ".woff2", ".png", ".jpg"}
    weights = {
        each.url: len(
            each.body() if Path(urlsplit(each.url).path).suffix in packed else compress(each.body())
        )
        for each in answers
    }
    view.context.close()
    assert len(weights) > 5
    assert sum(weights.values()) < FIRST_WEIGHT, sorted(weights.items(), key=lambda item: -item[1])[:5]


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("what is superposition", "book/twenty-minutes.html"),
        ("tutorial", "book/twenty-minutes.html"),
        ("how to cite", "book/references.html"),
        ("sparse autoencoder", "book/open-questions.html"),
    ],
)
def test_search_has_the_page_that_answers_first(asked: str, page: str, browser: Browser, server: str) -> None:
    view, *_ = watched(browser, server)
    view.goto(f"{server}search.html?q={quote(asked)}")
    first = view.locator("ul.search li").first
    first.locator("a").wait_for(timeout=20_000)
    assert str(first.locator("a").get_attribute("href")).startswith(page)
    view.wait_for_timeout(500)  # the excerpts are fetched after the list
    words = view.locator("ul.search").inner_text()
    view.context.close()
    assert not re.search(r"import numpy|\\\\frac|= Claim\(", words)


def test_every_page_has_a_title_and_a_description_of_its_own() -> None:
    pages = [page for page in CONTENT if page != ALIAS]
    for names in ({"name": "description"}, {"property": "og:title"}):
        said = [
            attribute(tag, "content") for page in pages for tag in parsed(page).find_all("meta", attrs=names)
        ]
        assert len(said) == len(pages)
        assert len(set(said)) == len(said)
    titles = [parsed(page).title.get_text() for page in pages]
    assert len(set(titles)) == len(titles)
    assert not [title for title in titles if "Project name" in title]


def test_search_finds_a_word_of_a_chapter(browser: Browser, server: str) -> None:
    page, requests, failed, console = watched(browser, server)
    page.goto(f"{server}search.html?q=superposition")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    links = page.eval_on_selector_all("ul.search li a", "links => links.map(link => link.href)")
    page.wait_for_timeout(500)  # the excerpts are fetched after the list
    page.context.close()
    assert any(link.startswith(f"{server}book/") for link in links)
    assert not external(requests, server)
    assert not failed
    assert not console


def test_dark_mode_is_dark_and_light_mode_is_light(browser: Browser, server: str) -> None:
    brightness = {}
    for scheme in ("dark", "light"):
        page, *_ = watched(browser, server, color_scheme=scheme)
        page.goto(server + CHAPTERS[0])
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
        page.context.close()
    assert brightness["dark"] < 80
    assert brightness["light"] > 200


def test_the_built_files_open_without_a_server(browser: Browser) -> None:
    home = SITE.as_uri() + "/"
    page, requests, failed, console = watched(browser, home)
    page.goto(home + CHAPTERS[0])
    facts = page.evaluate(LOOK)
    page.context.close()
    assert facts["typeset"] == facts["formulas"]
    assert not external(requests, home)
    assert not failed
    assert not console


def test_sitemap_lists_every_page_of_the_book() -> None:
    _, home = address.current()
    pages = set(re.findall(r"<loc>(.*?)</loc>", (SITE / "sitemap.xml").read_text(encoding="utf-8")))
    assert pages == {home, *(home + page for page in PAGES if page.startswith("book/") and page != ALIAS)}


def test_wrong_address_leads_to_the_front_page() -> None:
    """The page is served at any depth, so every address in it must be a whole one."""
    _, home = address.current()
    assert [attribute(link, "href") for link in parsed(BARE).find_all("a")] == [home]
    assert not parsed(BARE).find_all(["script", "img"])


def test_paper_shows_the_text_without_the_site_around_it(browser: Browser, server: str) -> None:
    page, *_ = watched(browser, server, viewport={"width": 690, "height": 1000})  # a sheet of A4
    page.goto(server + CHAPTERS[0])
    page.emulate_media(media="print")
    around = ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-area, .copybtn"
    shown = (
        f"[...document.querySelectorAll('{around}')].filter(e => e.checkVisibility()).map(e => e.className)"
    )
    assert page.evaluate(shown) == []
    assert page.locator("article.bd-article").is_visible()
    cut = "[...document.querySelectorAll('article pre')].some(e => e.scrollWidth > e.clientWidth + 1)"
    assert not page.evaluate(cut)  # paper does not scroll
    page.context.close()


def test_lab_trains_without_a_kernel(browser: Browser, server: str) -> None:
    page, requests, failed, console = watched(browser, server)
    page.goto(f"{server}book/lab.html")
    lab = page.locator(".toylib-lab").first
    drawn = lab.locator("#view")
    lab.get_by_role("button", name="Reset").click()
    start = drawn.inner_html()
    lab.get_by_role("button", name="Step").click()
    one_step = drawn.inner_html()
    lab.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.total > 100")
    trained = drawn.inner_html()
    page.context.close()
    assert len({start, one_step, trained}) == 3
    assert not external(requests, server)
    assert not failed
    assert not console


def test_the_tutorial_asks_and_checks_and_carries_the_module_once(browser: Browser, server: str) -> None:
    text = (SITE / "book" / "twenty-minutes.html").read_text(encoding="utf-8")
    assert text.count("class Trainer") == 1
    page, requests, failed, console = watched(browser, server, viewport={"width": PHONE, "height": 740})
    page.goto(f"{server}book/twenty-minutes.html")
    labs = page.locator(".toylib-small")
    assert (
        labs.count() == len(re.findall("small-lab}", (ROOT / "book" / "twenty-minutes.md").read_text())) > 5
    )
    pair = labs.nth(1)
    pair.locator("#view").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert (
        page.evaluate("[...document.querySelectorAll('.toylib-small')].map(h => h.lab.trainer.total)")
        == [0] * labs.count()
    )
    done = "document.querySelectorAll('.toylib-small')[1].lab.trainer.finished"
    pair.locator("#again").click()
    page.wait_for_function(done)
    assert pair.locator("#state").inner_text() == "Not yet: 1 of 2 features represented."
    pair.locator("#sparsity").fill("18")
    pair.locator("#view").scroll_into_view_if_needed()
    page.wait_for_function(done)
    assert pair.locator("#state").inner_text().startswith("Done: 2 of 2, an antipodal pair; 90% sparse")
    pair.locator("#open").click()
    page.wait_for_url("**/book/lab.html#lab-1:*")
    page.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.finished")
    assert "2 of 2 features represented in 1 dimension" in page.locator("#status").first.inner_text()
    page.context.close()
    assert not external(requests, server)
    assert not failed
    assert not console


# --- each page ---------------------------------------------------------------------------------


@every(CONTENT)
def test_page_asks_nothing_of_the_network(page: str, visit: Any, server: str) -> None:
    assert external(visit(page).requests, server) == []


@every(PAGES)
def test_page_names_no_foreign_script_style_or_picture(page: str) -> None:
    """What is loaded later, or only on some machines, counts too."""
    foreign = []
    loading = {"preconnect", "dns-prefetch", "preload", "prefetch", "modulepreload", "stylesheet", "icon"}
    for tag in parsed(page).find_all(["script", "img", "iframe", "source", "video", "audio", "link"]):
        rel = {word.lower() for word in attribute(tag, "rel").split()}
        if tag.name == "link" and not rel & loading:
            continue
        for name in ("src", "srcset", "href"):
            if re.match(r"\s*(https?:)?//", attribute(tag, name)):
                foreign.append(attribute(tag, name))
    assert foreign == []


@every(CONTENT)
def test_page_gets_all_it_asks_for(page: str, visit: Any) -> None:
    assert visit(page).failed == []


@every(CONTENT)
def test_page_has_a_clean_console(page: str, visit: Any) -> None:
    assert visit(page).console == []


@every(CONTENT)
def test_page_has_title_language_heading_and_icon(page: str, visit: Any, server: str) -> None:
    facts = visit(page).facts
    assert facts["title"].strip()
    assert facts["lang"]
    assert facts["headings"] == 1
    assert facts["icon"] is not None
    assert facts["icon"].startswith(server)


@every(CONTENT)
def test_page_shows_every_picture(page: str, visit: Any) -> None:
    assert [p["src"] for p in visit(page).facts["pictures"] if not p["shown"]] == []


@every(CONTENT)
def test_page_says_in_words_what_its_pictures_show(page: str, visit: Any) -> None:
    # a picture without alt text of its own gets its file's name from Sphinx
    wordless = [
        (p["src"], p["alt"])
        for p in visit(page).facts["pictures"]
        if p["content"] and (len((p["alt"] or "").split()) < 3 or re.search(r"\.(png|svg|jpe?g)$", p["alt"]))
    ]
    assert wordless == []


@every(CONTENT)
def test_page_renders_its_maths(page: str, visit: Any) -> None:
    facts = visit(page).facts
    assert facts["typeset"] == facts["formulas"]
    assert facts["maths_errors"] == []


@every(CONTENT)
def test_page_shows_no_markup_source(page: str, visit: Any) -> None:
    facts = visit(page).facts
    left = {what: match[0] for what, form in UNRENDERED.items() if (match := form.search(facts["prose"]))}
    assert left == {}
    assert facts["problems"] == []


@every(CONTENT)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_page_does_not_scroll_sideways(page: str, width: int, visit: Any) -> None:
    assert visit(page).overflow[width] == []


@every(CONTENT)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_pictures_keep_their_shape(page: str, width: int, visit: Any) -> None:
    assert visit(page).squeezed[width] == []


@every(CONTENT)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_is_cut_off(page: str, width: int, visit: Any) -> None:
    assert visit(page).cut[width] == []


@every([*CONTENT, BARE])
@pytest.mark.parametrize(("scheme", "width"), [("light", DESKTOP), ("dark", PHONE)])
def test_page_is_accessible(page: str, scheme: Any, width: int, browser: Browser, server: str) -> None:
    view, *_ = watched(browser, server, color_scheme=scheme, viewport={"width": width, "height": 900})
    view.goto(server + page)
    view.evaluate("window.MathJax?.startup?.promise.then(() => null)")
    view.add_script_tag(path=AXE)
    problems = view.evaluate(AUDIT)
    view.context.close()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_is_drawn_for_the_theme(scheme: Any, browser: Browser, server: str) -> None:
    view, *_ = watched(browser, server, color_scheme=scheme)
    view.goto(server + "book/open-questions.html")
    view.wait_for_load_state("load")
    shown = view.evaluate(
        "[...document.querySelectorAll('a.image-reference')].map(a =>"
        " [...a.children].filter(i => i.checkVisibility()).map(i => i.className))"
    )
    view.context.close()
    assert shown.count([f"only-{scheme}"]) == len(shown) - 1 > 2  # a map of phases has one picture for both
    assert [""] in shown


@every(CONTENT)
def test_page_is_light(page: str) -> None:
    pictures = {unquote(urljoin(page, attribute(image, "src"))) for image in parsed(page).find_all("img")}
    fetched = {name for name in pictures if not name.endswith("-dark.png")}  # or those in place of the others
    own = [SITE / name for name in fetched if name.startswith("_images/")]
    assert sum(path.stat().st_size for path in [SITE / page, *own]) < PAGE_WEIGHT


def test_the_picture_of_the_front_page_says_what_the_page_says() -> None:
    with Image.open(preview.PICTURE) as picture:
        assert picture.size == (1200, 630)
        drawn = picture.text["Description"]
    now = preview.words(parsed(FRONT))
    assert len(now.splitlines()) == 6
    assert drawn == now, "draw it anew: python tests/preview.py"


@every([page for page in CONTENT if page.startswith("book/")])
def test_page_shared_elsewhere_has_a_title_words_and_a_picture(page: str) -> None:
    _, home = address.current()
    facts = {
        attribute(m, "property") or attribute(m, "name"): attribute(m, "content")
        for m in parsed(page).find_all("meta")
    }
    heading = parsed(page).find("h1")
    assert heading is not None
    assert facts["og:title"] in heading.get_text()
    assert 40 < len(facts["og:description"]) <= 200
    assert facts["description"]
    assert facts["og:url"] == (home if page == ALIAS else home + page)
    assert facts["og:image"].startswith(home)
    assert (SITE / facts["og:image"].removeprefix(home)).is_file()


@every(CONTENT)
def test_links_within_the_site_lead_somewhere(page: str) -> None:
    broken = []
    for link in parsed(page).find_all("a", href=True):
        href = attribute(link, "href")
        if urlsplit(href).scheme or href.startswith("//") or href == "#":
            continue
        parts = urlsplit(urljoin(f"/{page}", href))
        target = unquote(parts.path).lstrip("/") or "index.html"
        if not (SITE / target).is_file():
            broken.append(href)
        elif parts.fragment and target.endswith(".html"):
            anchor = unquote(parts.fragment)
            soup = parsed(target)
            if not soup.find(id=anchor) and not soup.find("a", attrs={"name": anchor}):
                broken.append(href)
    assert broken == []


@every(CHAPTERS)
def test_code_is_folded_under_a_line_that_says_what_it_does(page: str) -> None:
    cells = parsed(page).select("article div.cell_input")
    folds = [cell.find_parent("details") for cell in cells]
    assert None not in folds
    labels = [fold.find("summary").get_text().strip() for fold in folds]  # type: ignore[union-attr]
    assert not [label for label in labels if not label or "Show the code" in label or len(label) > 200]
    printed = " ".join(output.get_text() for output in parsed(page).select("article div.cell_output"))
    assert not re.search(r"toylib is ready|no answer yet", printed)


# --- the repository's address ------------------------------------------------------------------


@every(CHAPTERS)
def test_chapter_has_a_button_that_opens_it_in_colab(page: str) -> None:
    repository, _ = address.current()
    branch = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    path = (
        f"{repository.removeprefix('https://github.com/')}/blob/{branch}/{Path(page).with_suffix('.ipynb')}"
    )
    links = {attribute(link, "href") for link in parsed(page).find_all("a", href=True)}
    assert f"https://colab.research.google.com/github/{path}" in links


def test_configuration_and_citation_give_the_same_address() -> None:
    repository, site = address.current()
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert site == address.site_of(repository)
    assert config["repository"]["url"] == repository
    assert config["html"]["baseurl"] == site
    assert citation["repository-code"] == repository
    assert citation["url"] == site


def test_readme_clones_this_repository() -> None:
    repository, site = address.current()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"git clone (\S+)\ncd (\S+)\n", readme) == [(repository, repository.rpartition("/")[2])]
    assert site in readme


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_chapter_installs_and_links_this_repository_only(chapter: Path) -> None:
    repository, _ = address.current()
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    named = re.findall(r"https://github\.com/[\w-]+/[\w.-]*[\w-]", "\n".join(sources))
    assert set(named) == {repository}
    set_up = next(source for source in sources if "import toylib" in source)
    assert f'"toylib @ git+{repository}"' in set_up


def test_moving_the_address_changes_every_mention_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, site = address.current()
    folder = repository.rpartition("/")[2]
    files = {}
    # not asked of git, which may not be there, or not trust a folder of another user's
    for pattern in ("*", ".github/workflows/*", "_ext/**/*", "book/*", "tests/*", "toylib/**/*"):
        for path in ROOT.glob(pattern):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
            files[copy] = copy.read_bytes()  # pictures and machine code as well: nothing in them moves
    neighbour = tmp_path / "book" / "neighbour.md"
    neighbour.write_text(f"{repository}-2 {repository} {repository}.git", encoding="utf-8")
    monkeypatch.setattr(address, "ROOT", tmp_path)
    address.move("https://github.com/Some-One/a.book")
    assert address.current() == ("https://github.com/Some-One/a.book", "https://some-one.github.io/a.book/")
    assert neighbour.read_text(encoding="utf-8") == (
        f"{repository}-2 https://github.com/Some-One/a.book https://github.com/Some-One/a.book.git"
    )
    for path, before in files.items():
        moved = before.replace(repository.encode(), b"https://github.com/Some-One/a.book")
        moved = moved.replace(site.encode(), b"https://some-one.github.io/a.book/")
        moved = moved.replace(f"\ncd {folder}\n".encode(), b"\ncd a.book\n")
        assert path.read_bytes() == moved, path


def test_the_folder_that_readme_enters_follows_the_address_and_no_other_word_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "git clone https://github.com/a/{0}\ncd {0}\n    cd {0}\ncd {0}-2\nthe book; cd into {0}\nmake book\n"
    )
    urls = '[project.urls]\nRepository = "https://github.com/a/{0}"\nDocumentation = "https://a.github.io/{0}/"\n'
    (tmp_path / "README.md").write_text(text.format("book"))
    (tmp_path / "pyproject.toml").write_text(urls.format("book"))
    monkeypatch.setattr(address, "ROOT", tmp_path)
    for name in ("new", "cd", "book", "a.b-c"):
        address.move(f"https://github.com/a/{name}")
        assert (tmp_path / "README.md").read_text() == (
            f"git clone https://github.com/a/{name}\ncd {name}\n    cd {name}\ncd book-2\n"
            "the book; cd into book\nmake book\n"
        )


def test_a_repository_named_after_its_owners_site_is_served_at_the_root() -> None:
    assert address.site_of("https://github.com/Ada/ada.github.io") == "https://ada.github.io/"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "someone/book",
        "http://github.com/a/b",
        "https://github.com/a",
        "https://gitlab.com/a/b",
        "https://github.com/a/..",
        "https://github.com/-a/b",
    ],
)
def test_moving_to_an_address_of_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must be https://github.com/OWNER/REPO; got {wrong!r}")):
        address.move(wrong)
