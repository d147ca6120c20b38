"""What a reader finds: the page that answers a question first in the search, excerpts in words, and the front
page at the root of the site."""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import join, normpath, relpath

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

# what readers type -> the page that answers it; a question that begins so finds it too
ASKED = {
    "book/twenty-minutes": ["what is superposition", "tutorial", "introduction", "what is a feature"],
    "book/three-models": ["superposition", "toy models"],
    "book/polysemantic-neurons": ["polysemantic neurons", "what is polysemanticity", "polysemanticity"],
    "book/is-it-superposition": ["are polysemantic neurons evidence of superposition", "is it superposition"],
    "book/which-knob": ["what causes polysemanticity", "loss exponent", "weight decay"],
    "book/computed-or-stored": ["computation in superposition", "compressed computation", "neural scaling"],
    "book/sparsity": ["sparsity", "phase diagram", "does sparsity cause superposition"],
    "book/deeper-is-rarer": ["inceptionv1", "convolutional network", "depth"],
    "book/first-mlp": ["transformer", "language model", "first mlp"],
    "book/one-neuron": ["ablation", "detector neurons", "dead neurons"],
    "book/without-neurons": ["superposition without neurons", "token embeddings", "overlap", "welch bound"],
    "book/agreement": [
        "real models",
        "real networks",
        "do real networks have superposition",
        "does superposition exist in real models",
    ],
    "book/published": ["replication", "published numbers", "do the numbers replicate", "literature"],
    "book/adversarial": ["adversarial examples", "adversarial training"],
    "book/geometry": ["geometry", "pentagon", "feature dimensionality"],
    "book/dynamics": ["learning dynamics", "training dynamics"],
    "book/open-questions": ["sparse autoencoder", "sparse autoencoders", "dictionary learning", "sae"],
    "book/lab": ["lab", "demo", "train a toy model", "play"],
    "book/measurements": ["confidence interval", "bootstrap", "method", "methods"],
    "book/verdicts": ["statistical power", "false alarms", "multiple comparisons", "verdicts"],
    "book/reproducibility": ["reproducibility", "reproduce", "seed", "seeds", "licences"],
    "book/teaching": ["exercises", "course", "teaching"],
    "book/references": ["how to cite", "cite", "citation", "bibtex", "references"],
    "book/api": ["api", "toylib"],
}
# the search shows a page's words, not its code and formulas
EXCERPTS = """<script>
const wordsOf = Search.htmlToText;
Search.htmlToText = (page, anchor) => {
  const whole = new DOMParser().parseFromString(page, "text/html");
  const main = whole.querySelector("[role=main]"), article = whole.querySelector("article.bd-article");
  if (main && article) main.replaceChildren(article);
  const besides = "h1, .cell_input, .math, .toylib-live, .tl-front, table";
  for (const part of whole.querySelectorAll(besides)) part.remove();
  return wordsOf(whole.documentElement.outerHTML, anchor);
};
</script>
</body>"""
ADDRESS = re.compile(r'(?<=\s)(href|src|action|data-link)="([^"#][^"]*)"')


def ask(app: Sphinx, doctree: nodes.document) -> None:
    """Enter the questions that a page answers in the index, which the search looks up first."""
    entries = [("single", words, "", "main", None) for words in ASKED.get(app.env.docname, [])]
    if entries:
        doctree.insert(0, addnodes.index(entries=entries))


def moved(page: str, place: str) -> str:
    """A page as it must read at the root of the site: its own addresses are relative to `place`."""

    def address(match: re.Match[str]) -> str:
        name, target = match.groups()
        if re.match(r"[a-z]+:|//|/", target):
            return match[0]
        path, mark, anchor = target.partition("#")
        return f'{name}="{relpath(normpath(join(place, path)), ".")}{mark}{anchor}"'

    page = ADDRESS.sub(address, page)
    return page.replace('data-content_root="../"', 'data-content_root="./"')


def pages(site: Path) -> Iterator[Path]:
    return (path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)


def lead(app: Sphinx, exception: Exception | None) -> None:
    """Write the front page at the root too, which both name as their one address; name it in the contents."""
    if exception is not None or app.builder.name != "html":
        return
    site, root = Path(app.outdir), app.config.root_doc
    front = site / f"{root}.html"
    page = front.read_text(encoding="utf-8")
    page = page.replace(f"{app.config.html_baseurl}{root}.html", app.config.html_baseurl)
    front.write_text(page, encoding="utf-8")
    (site / "index.html").write_text(moved(page, str(Path(root).parent)), encoding="utf-8")
    search = site / "search.html"
    text = search.read_text(encoding="utf-8")
    if "wordsOf" not in text:
        search.write_text(text.replace("</body>", EXCERPTS), encoding="utf-8")
    home = re.compile(r'(bd-sidenav__home-link">\s*<li[^>]*>\s*<a[^>]*>)[^<]*')
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        path.write_text(home.sub(r"\1The answer", text), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", ask)
    app.connect("build-finished", lead, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
