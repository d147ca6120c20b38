"""What the book's site needs beyond jupyter-book's configuration: no thebe, one style sheet more."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

STATIC = Path(__file__).parent / "static"


def without_thebe(app: Sphinx) -> None:
    """Take away sphinx-thebe, which jupyter-book always loads: the book offers no thebe button.

    It puts two scripts on every page that declare the same constant, a SyntaxError in the console, and
    once they are gone it warns on every page that its configuration is missing.
    """
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]


def setup(app: Sphinx) -> dict[str, Any]:
    # once every extension has connected its listeners
    app.connect("builder-inited", without_thebe)
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.add_css_file("book.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
