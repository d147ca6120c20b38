"""Whether a chapter is out of date: what made its outputs, and what has changed since.

An executed chapter carries a stamp: which toylib modules, package versions and cells made its outputs.
When one of them has changed since, the chapter is stale.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .records import exercises, opened, read, table

STAMP = "application/vnd.toylib.stamp+json"
SCOREBOARD = "application/vnd.toylib.scoreboard+json"
EXERCISES = "application/vnd.toylib.exercises+json"
TABLE = "application/vnd.toylib.table+json"
FIGURE = "application/vnd.toylib.figure+json"
PACKAGES = ("torch", "numpy", "numba", "scipy", "matplotlib", "scikit-learn")
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
# they read notebooks, run commands and draw tables; a folder's own file says what is in it
WITHOUT_NUMBERS = {
    f"toylib.page{name}"
    for name in (
        "",
        ".cards",
        ".commands",
        ".data",
        ".notebook",
        ".records",
        ".register",
        ".rerun",
        ".stamps",
        ".strips",
        ".wasm",
    )
}


def _digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def _text(path: Path) -> bytes:
    """A file of text as git has it, whose copy may have Windows line endings."""
    return path.read_bytes().replace(b"\r\n", b"\n")


def _module_digests(names: Iterable[str]) -> dict[str, str]:
    digests = {}
    for name in sorted(names):
        path = PACKAGE_FOLDER.joinpath(*name.split(".")[1:])
        files = [*path.glob("*.mjs"), path / "__init__.py"] if path.is_dir() else [path.with_suffix(".py")]
        if name not in WITHOUT_NUMBERS:
            there = all(file.is_file() for file in files)
            digests[name] = _digest(b"".join(map(_text, files))) if there else "missing"
    return digests


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def cells_digest(notebook: dict[str, Any], folder: Path) -> str:
    """Of the code, and of the files in data/ that it names; the repository's address does not count."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "\0".join(sources).replace("\r\n", "\n")
    data = [path for path in sorted((folder / "data").glob("*.json")) if path.name in code]
    read = b"".join(map(_text, data))
    return _digest(re.sub(r"https://github\.com/[\w.-]+/[\w.-]+", "", code).encode() + read)


def stamp() -> dict[str, Any]:
    """The toylib modules imported so far and the package versions: what a chapter's numbers came from."""
    imported = (name for name in sys.modules if name.startswith("toylib"))
    return {"modules": _module_digests(imported), "packages": _versions()}


def content_stamp(read: list[dict[str, Any]]) -> dict[str, str]:
    """What a page that reads the other chapters carries, to be found stale when they say something else."""
    return {"digest": _digest(json.dumps(read, sort_keys=True))}


def table_stamp(path: Path, header: list[str]) -> dict[str, Any]:
    """The same for a page that shows numbers from another chapter's table, which `records.table` finds."""
    rows = table(path, header) if path.is_file() else None  # a chapter may be gone
    return {"chapter": path.stem, "header": header, "digest": _digest(json.dumps(rows))}


def stale(path: str | Path) -> list[str]:
    """Why a chapter's outputs are out of date; empty if they are not.

    Raises: ValueError, naming the file, if it is not a notebook.
    """
    path = Path(path)
    with opened(path) as notebook:
        bundles = [dict(o.get("data", {})) for cell in notebook["cells"] for o in cell.get("outputs", [])]
        made_by: dict[str, Any] = dict(next((b[STAMP] for b in bundles if STAMP in b), {}))
        modules, packages = dict(made_by.get("modules", {})), dict(made_by.get("packages", {}))
        executed = [c["execution_count"] is not None for c in notebook["cells"] if c["cell_type"] == "code"]
        cells = cells_digest(notebook, path.parent)
        recorded = notebook["metadata"].get("toylib", {}).get("cells")
        # one, or a list of what a page reads of several
        read_tables = [b[TABLE] for b in bundles if TABLE in b]
        tables = [t for of in read_tables for t in (of if isinstance(of, list) else [of])]
        read_from = [(path.with_name(f"{t['chapter']}.ipynb"), list(map(str, t["header"]))) for t in tables]
    if not made_by or not all(executed):
        return ["it has not been executed from first to last"]
    reasons = []
    if recorded != cells:
        reasons.append("its cells, or data that they read, have changed")
    now = _module_digests(modules)
    # a module of which no number depends may stand in an old stamp
    reasons += [f"{name} has changed" for name in now if now[name] != modules[name]]
    installed = _versions()
    for name, then in packages.items():
        if installed.get(name) != then:
            reasons.append(f"{name} was {then} and is {installed.get(name)}")
    for bundle in bundles:
        if SCOREBOARD in bundle and bundle[SCOREBOARD] != content_stamp(read(path.parent)):
            reasons.append("the chapters' records have changed")
        if EXERCISES in bundle and bundle[EXERCISES] != content_stamp(exercises(path.parent)):
            reasons.append("the chapters' exercises have changed")
    for stamped, (chapter, header) in zip(tables, read_from, strict=True):
        try:
            changed = stamped != table_stamp(chapter, header)
        except ValueError:
            changed = True
        if changed:
            reasons.append(f"the table that it reads in {chapter.name} has changed")
    return reasons
