"""On the site a table has its caption, and below a figure stands a link to the values that it draws.

The captions stand in the cell's metadata (`toylib.captions`, one for each table that it shows), the values
in what the notebook stores beside a figure's picture (`toylib.page.figures.facts`). The notebooks stay as
they are. Words that a cell shows or hands to the text stand as they were written, not as Python has them.
"""

import html
import json
import re
from ast import literal_eval
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FIGURE = "application/vnd.toylib.figure+json"
GLUED = "application/papermill.record/text/plain"
FOLDER = "_static/figures"
TABLE = re.compile(r"<table\b[^>]*>")


def captioned(page: str, words: str) -> str:
    """The output with the words as the first table's caption."""
    caption = f"<caption><span>{html.escape(words)}</span></caption>"
    return TABLE.sub(lambda table: table[0] + caption, page, count=1)


def values(cell: dict[str, Any]) -> tuple[str, str] | None:
    """The name of a cell's figure and the table of its values; None if it has none or no name."""
    name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
    for output in cell.get("outputs", []):
        if name and FIGURE in output.get("data", {}):
            return name, output["data"][FIGURE]["csv"]
    return None


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def as_written(data: dict[str, Any]) -> None:
    """Keep what myst-nb would read as Python: "1,587" as two numbers, "2.42e+04" as 24200.0, quoted words."""
    glued = "".join(data.get(GLUED, ""))
    if (value := _value(glued)) is not None and not isinstance(value, str) and str(value) != glued:
        data[GLUED] = repr(glued)
    if set(data) == {"text/plain"} and isinstance(words := _value("".join(data["text/plain"])), str):
        data["text/html"] = f"<p>{html.escape(words)}</p>"


def add(cell: dict[str, Any], up: str) -> None:
    """Give a cell's tables their captions, and its figure's caption the link.

    up: the way to the site's root.
    """
    words = list(cell["metadata"].get("toylib", {}).get("captions", []))
    for output in cell.get("outputs", []):
        as_written(output.get("data", {}))
        page = "".join(output.get("data", {}).get("text/html", ""))
        if words and TABLE.search(page):
            output["data"]["text/html"] = captioned(page, words.pop(0))
    if found := values(cell):
        link = f'<a class="tl-data" href="{up}{FOLDER}/{found[0]}.csv" download>Data (CSV)</a>'
        figure = cell["metadata"]["mystnb"]["figure"]
        figure["caption"] = f"{figure.get('caption', '')} {link}".strip()


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add captions and links to a notebook that is read."""
    if app.env.doc2path(docname, base=False).endswith(".ipynb"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            add(cell, "../" * docname.count("/"))
        source[0] = json.dumps(notebook)


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the values of every figure of the book's notebooks, once the pages are there."""
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir, FOLDER)
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.suffix == ".ipynb" else []
        for name, table in filter(None, map(values, cells)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.csv").write_text(table, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}
