"""What the book's site needs beyond jupyter-book's configuration: no thebe, one style sheet more, a sitemap,
a page for addresses that lead nowhere, and the picture that shows when a page is shared."""

import re
import shutil
import textwrap
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx.application import Sphinx

STATIC = Path(__file__).parent / "static"
PREVIEW = Path(__file__).parent.parent / "book" / "preview.png"
PREVIEW_ALT = "The front page of the book: the question, and the answer in five sentences"

# title and description of the pages that Sphinx makes
WITHOUT_TEXT = {
    "search": ("Search", "Search the book: claims about superposition, toy models, the lab, how to cite."),
    "genindex": (
        "Index",
        "The index of the book: the questions that readers ask, and where they are answered.",
    ),
}

# GitHub Pages serves this file at whatever address was wrong, so that it names no file beside it.
NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Page not found: {title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; background: #fff; color: #222; }}
a {{ color: inherit; }}
@media (prefers-color-scheme: dark) {{ :root {{ background: #121212; color: #e6e6e6; }} }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; }}
</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>A chapter may have moved. <a href="{home}">The front page of the book</a> leads to all of them.</p>
</main>
</body>
</html>
"""


def without_thebe(app: Sphinx) -> None:
    """Take away sphinx-thebe, which jupyter-book always loads: the book offers no thebe button.

    It puts two scripts on every page that declare the same constant, a SyntaxError in the console, and
    once they are gone it warns on every page that its configuration is missing.
    """
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]


def first_words(doctree: nodes.document) -> str:
    """A page's first paragraph that says something of its own."""
    paragraphs = (" ".join(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    return next((words for words in paragraphs if len(words) > 40), "")


def answer(body: str) -> str:
    """The front page in a line: how many claims hold, and the short answers, as its records compute them."""
    said = re.findall(r'<p class="tl-count">(.*?)</p>|<li><b>(.*?)</b>', body)
    return " ".join(f"{count}." if count else short for count, short in said)


def preview(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add to a page's head what a site that links to it shows: title, first words, address and picture."""
    if not app.config.html_baseurl:
        return
    if doctree is None:
        title, words = WITHOUT_TEXT.get(page, (app.config.project, app.config.project))
    else:
        heading = next(iter(doctree.findall(nodes.title)), None)
        title = app.config.project if heading is None else heading.astext()
        words = answer(context["body"]) if page == app.config.root_doc else first_words(doctree)
    facts = {
        "name=description": textwrap.shorten(words, 200, placeholder=" …"),
        "property=og:title": title,
        "property=og:description": textwrap.shorten(words, 200, placeholder=" …"),
        "property=og:site_name": app.config.project,
        "property=og:type": "website",
        "property=og:url": f"{app.config.html_baseurl}{page}.html",
        "property=og:image": f"{app.config.html_baseurl}{PREVIEW.name}",
        "property=og:image:alt": PREVIEW_ALT,
        "name=twitter:card": "summary_large_image",
    }
    for key, value in facts.items():
        name, _, word = key.partition("=")
        content = escape(value, {'"': "&quot;"})
        context["metatags"] = f'{context.get("metatags", "")}\n<meta {name}="{word}" content="{content}" />'


def accessible(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Let the keyboard scroll a wide table, the list of references not claim to hold list items, and the
    style sheet know how wide a figure was drawn: on a phone a wide one is not made unreadably small."""
    body = context.get("body", "")
    region = '<div style="overflow-x:auto" tabindex="0" role="group" aria-label="Table">'
    body = body.replace('<div style="overflow-x:auto">', region)
    size = r"--drawn: \1px; aspect-ratio: auto \1 / \2; "  # keeps the place of a figure that comes late
    body = re.sub(r'(?<=style=")(?=width: (\d+)px; height: (\d+)px;")', size, body)
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")  # its own words say more
    context["body"] = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def whole_site(app: Sphinx, exception: Exception | None) -> None:
    """Write sitemap.xml, 404.html and the preview's picture once the pages are there."""
    if exception is not None or app.builder.name != "html":
        return
    site, base = Path(app.outdir), app.config.html_baseurl
    names = sorted(app.env.found_docs - {app.config.root_doc})
    addresses = "".join(
        f"<url><loc>{escape(base + name)}</loc></url>\n" for name in ["", *(f"{name}.html" for name in names)]
    )
    (site / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{addresses}</urlset>\n',
        encoding="utf-8",
    )
    page = NOT_FOUND.format(title=escape(app.config.project), home=escape(base, {'"': "&quot;"}))
    (site / "404.html").write_text(page, encoding="utf-8")
    shutil.copy(PREVIEW, site / PREVIEW.name)


def setup(app: Sphinx) -> dict[str, Any]:
    # once every extension has connected its listeners
    app.connect("builder-inited", without_thebe)
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.connect("html-page-context", preview, priority=900)
    app.connect("html-page-context", accessible, priority=900)
    app.connect("build-finished", whole_site)
    app.add_css_file("book.css")
    app.add_css_file("front.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
