"""Pages are made of the files that the table of contents names, and of no others.

jupyter-book's own setting for it, only_build_toc_files, searches the folder's absolute path as a pattern, and
finds nothing where that has a bracket in it: README and CHANGELOG would become pages.
"""

from pathlib import PurePosixPath
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config


def only_contents(app: Sphinx, config: Config) -> None:
    """Include the files of the table of contents; a name without a suffix stands for any."""
    names = (PurePosixPath(name) for name in config.external_site_map)
    config.include_patterns = [str(name if name.suffix else name.with_suffix(".*")) for name in names]


def setup(app: Sphinx) -> dict[str, Any]:
    # once the table of contents has been read, which is done at 900
    app.connect("config-inited", only_contents, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
