"""Pages of a third of the weight: icons inline in place of Font Awesome's script and fonts, MathJax only
where a formula is, the search index only on the search page, pictures when they come near the window.

It works on the pages as they were written: the theme names its scripts in its own templates.
"""

import re
from functools import partial
from pathlib import Path

from sphinx.application import Sphinx

STYLES = {"solid", "brands", "lg", "fw"}  # classes that begin with fa- and name no icon
ICON = re.compile(r'<(i|span) class="([^"]*\bfa-[^"]*)"([^>]*)></\1>')
# scripts by what their address holds, and what a page must hold to keep them
SCRIPTS = {
    "scripts/fontawesome.js": None,
    "searchtools.js": 'id="search-results"',
    "language_data.js": 'id="search-results"',
    "searchindex.js": 'id="search-results"',
    "mathjax/": 'class="math ',
}


def drawing(name: str, script: str) -> tuple[str, str]:
    """Size and path of an icon, from Font Awesome's own script, in which brands stand before the others.

    Raises: ValueError for an icon that the script has not.
    """
    found = re.findall(rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"', script)
    if not found:
        raise ValueError(f"an icon of the theme must be one of Font Awesome's; got {name!r}")
    wide, high, path = found[-1]
    return f"0 0 {wide} {high}", path


def inline(match: re.Match[str], script: str) -> str:
    """The icon as a picture in the page, with the classes that it had."""
    classes, rest = match[2], match[3]
    name = next(word[3:] for word in classes.split() if word.startswith("fa-") and word[3:] not in STYLES)
    box, path = drawing(name, script)
    return (
        f'<svg class="svg-inline--fa {" ".join(classes.split())}"{rest} aria-hidden="true" viewBox="{box}">'
        f'<path fill="currentColor" d="{path}"/></svg>'
    )


def lightened(page: str, script: str) -> str:
    """A page without what it does not need; a page that has been lightened stays as it is."""
    page = ICON.sub(partial(inline, script=script), page)
    for address, needs in SCRIPTS.items():
        if needs is None or needs not in page:
            page = re.sub(rf'\s*<script[^>]*src="[^"]*{re.escape(address)}[^"]*"[^>]*></script>', "", page)
    head, main, body = page.partition("<article")
    return head + main + re.sub(r"<img (?![^>]*\bloading=)", '<img loading="lazy" decoding="async" ', body)


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Lighten every page of the site."""
    if exception is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    script = (site / "_static" / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    for path in site.rglob("*.html"):
        if "_static" not in path.relative_to(site).parts:
            path.write_text(lightened(path.read_text(encoding="utf-8"), script), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", lighten, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
