"""Markdown pages that live: `small-lab` puts a small lab into a page; `found`, `said` and `hand` write what
the build reads from the chapters' records or works out."""

from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from toylib.page import lab, records, sentences

Written = tuple[list[nodes.Node], list[nodes.system_message]]


class SmallLab(Directive):
    """A small lab with the exercise that is named; a page's first one brings the module for all of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        first = not env.temp_data.get("small-lab")
        env.temp_data["small-lab"] = True
        page = lab.small(self.arguments[0]) + (lab.small_module() if first else "")
        return [nodes.raw("", page, format="html")]


@cache
def claims(book: Path) -> dict[str, Any]:
    return {claim["id"]: claim for claim in records.read(book)}


class Found(SphinxRole):
    """`claim form`: what a claim's own rule found, as the front page has it: share, points, times, value."""

    def run(self) -> Written:
        claim, form = self.text.split()
        found = claims(Path(self.env.srcdir) / "book")[claim]
        return [nodes.Text(sentences.in_words(found)[form])], []


def told(claim: dict[str, Any]) -> str:
    """A sentence, less its full stop: what the front page says of a claim, by its verdict."""
    clauses = (each for sentence in sentences.SENTENCES for each in sentence.clauses)
    [clause] = [each for each in clauses if each.id == claim["id"]]
    words = clause.said(claim)
    return words[0].upper() + words[1:]


class Said(SphinxRole):
    """`claim`: what the front page says of it."""

    def run(self) -> Written:
        words = told(claims(Path(self.env.srcdir) / "book")[self.text])
        return [nodes.raw("", words, format="html")], []


def pair_pays(importance: float = 0.9) -> float:
    """Density below which two arms of length 1 on a line lose less than the more important feature alone.

    Shared, both outputs miss by the smaller of two uniform numbers, whose mean square is 1/6, where both are
    active; alone, the other feature costs its importance times its variance, p/3 - p^2/4.
    """
    return (importance / 3) / ((1 + importance) / 6 + importance / 4)


class Hand(SphinxRole):
    """`pair` and `pair sparsity`: where the pair begins to pay."""

    def run(self) -> Written:
        density = pair_pays()
        words = {"pair": f"{density:.2f}", "pair sparsity": f"{1 - density:.0%}"}
        return [nodes.Text(words[self.text])], []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("small-lab", SmallLab)
    app.add_role("found", Found())
    app.add_role("said", Said())
    app.add_role("hand", Hand())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
