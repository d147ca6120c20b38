"""A new chapter from tests/template.ipynb: `make chapter NAME=my-chapter` runs this.

The template is a small chapter that works as it is; tests/test_chapter_template.py executes it.
"""

import re
import sys
from pathlib import Path

import address

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).resolve().parent / "template.ipynb"
PART = "  - caption: Beyond\n"
FORM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
ALLOWED = "lower-case words joined by hyphens, such as my-chapter"


def create(name: str, root: Path = ROOT) -> Path:
    """Write book/NAME.ipynb, add it to the table of contents under 'Beyond', and return its path.

    Raises: ValueError if the name is missing, of another form or taken, or the part is not there.
    """
    if len(name) > 40 or not FORM.fullmatch(name):
        raise ValueError(f"NAME must be {ALLOWED}, at most 40 letters; got {name!r}")
    path, contents = root / "book" / f"{name}.ipynb", root / "_toc.yml"
    text = contents.read_text(encoding="utf-8")
    if any((root / "book").glob(f"{name}.*")) or f"book/{name}\n" in text:
        raise ValueError(f"NAME must be the name of a new chapter; got {name!r}, which is there already")
    before, part, rest = text.partition(PART)
    if not part:
        raise ValueError("_toc.yml must have the part 'Beyond', under which new chapters are listed")
    here, next_part, after = rest.partition("  - caption:")
    source = TEMPLATE.read_text(encoding="utf-8").replace("my-chapter", name)
    source = source.replace("my_chapter", name.replace("-", "_"))
    repository, _ = address.current()
    path.write_text(
        re.sub(r"git\+https://github\.com/[\w./-]+", f"git+{repository}", source), encoding="utf-8"
    )
    contents.write_text(
        f"{before}{part}{here}      - file: book/{name}\n{next_part}{after}", encoding="utf-8"
    )
    return path


if __name__ == "__main__":
    try:
        made = create(sys.argv[1] if len(sys.argv) == 2 else "").relative_to(ROOT)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{made} is a small chapter that works; it is listed in _toc.yml under 'Beyond'.")
    print("Next: put your own claim in its place (make lab), then make book builds it into the site.")
