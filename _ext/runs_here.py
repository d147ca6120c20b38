"""Cards whose claims can be run again in the page get the module that does it, once a page.

A chapter's stored output holds the place and the numbers (toylib/page/rerun.py). The module is put in when
the site is built: it is always the present one, and the chapters stay small.
"""

from pathlib import Path

from sphinx.application import Sphinx

PLACE = '<div class="toylib-rerun"'


def with_module(page: str, script: str) -> str:
    """The page with the script before its end, if it has a place for it and not the script."""
    if PLACE not in page or '<script type="module" class="toylib-rerun">' in page:
        return page
    before, end, after = page.rpartition("</body>")
    return f"{before}{script}\n{end}{after}"


def put_in(app: Sphinx, exception: Exception | None) -> None:
    """Put the module into every page of the site that needs it."""
    if exception is not None or app.builder.name != "html":
        return
    from toylib.page import rerun

    site, script = Path(app.outdir), rerun.script()
    for path in site.rglob("*.html"):
        if "_static" not in path.relative_to(site).parts:
            path.write_text(with_module(path.read_text(encoding="utf-8"), script), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", put_in, priority=650)  # before a front page is copied to the root
    return {"parallel_read_safe": True, "parallel_write_safe": True}
