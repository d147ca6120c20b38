"""What the book's site needs beyond jupyter-book's configuration: one script fewer, one style sheet more."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

STATIC = Path(__file__).parent / "static"


def without_second_thebe_script(app: Sphinx) -> None:
    """Take away sphinx-thebe's scripts, which declare the same constant twice: an error on every page.

    The book offers no thebe button, so that nothing else needs them.
    """
    listeners = app.events.listeners["env-before-read-docs"]
    listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]


def setup(app: Sphinx) -> dict[str, Any]:
    # late: sphinx-thebe connects its listeners in its own set-up and in builder-inited
    app.connect("builder-inited", without_second_thebe_script, priority=900)
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.add_css_file("book.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
