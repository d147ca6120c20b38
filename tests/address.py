"""The repository's address: written in pyproject.toml, repeated where a file cannot look it up there.

`make address URL=https://github.com/OWNER/REPO` runs this; tests/test_site.py holds the copies equal.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPEATED_IN = [
    "_config.yml",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "README.md",
    ".github/workflows/*.yml",
    "book/*.ipynb",
    "book/*.md",
    "tests/template.ipynb",
]
FORM = re.compile(r"https://github\.com/([A-Za-z0-9][A-Za-z0-9-]*)/(?!\.+/?$)([A-Za-z0-9._-]+?)(?:\.git)?/?")


def site_of(repository: str) -> str:
    """The address at which GitHub Pages serves this repository's site."""
    match = FORM.fullmatch(repository)
    if match is None:
        raise ValueError(f"URL must be https://github.com/OWNER/REPO; got {repository!r}")
    owner, name = match[1].lower(), match[2]
    return f"https://{owner}.github.io/" + ("" if name.lower() == f"{owner}.github.io" else f"{name}/")


def current() -> tuple[str, str]:
    """The repository's and the site's address, from pyproject.toml."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return urls["Repository"], urls["Documentation"]


def files() -> list[Path]:
    """The files that may repeat the address, pyproject.toml last."""
    return [
        *(path for pattern in REPEATED_IN for path in sorted(ROOT.glob(pattern))),
        ROOT / "pyproject.toml",
    ]


def move(repository: str) -> list[Path]:
    """Put a new address in the place of the old one everywhere, and return the files that changed."""
    new_site = site_of(repository)
    match = FORM.fullmatch(repository)
    assert match is not None
    new = f"https://github.com/{match[1]}/{match[2]}"
    old, old_site = current()
    folder = old.rpartition("/")[2]
    changed = []
    for path in files():
        text = path.read_text(encoding="utf-8")
        # the address is not followed by more of a name: OWNER/REPO is not OWNER/REPO-2
        moved = re.sub(re.escape(old) + r"(?![A-Za-z0-9_-])", lambda _: new, text)
        moved = moved.replace(old_site, new_site)
        # git clone makes a folder of the repository's name
        moved = re.sub(
            rf"(?m)^(\s*cd ){re.escape(folder)}(/?)$", lambda line: f"{line[1]}{match[2]}{line[2]}", moved
        )
        if moved != text:
            path.write_text(moved, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    try:
        for file in move(sys.argv[1] if len(sys.argv) == 2 else ""):
            print("changed", file.relative_to(ROOT))
    except ValueError as error:
        sys.exit(str(error))
