"""Where a chapter finds the rest of its book: the data that it draws, and the other chapters.

A chapter may be started from any working directory, and alone: Colab opens a notebook without the files
beside it, and installs toylib from the book's repository.
"""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ..checks import checked, refuse
from .records import FRONT_PAGE
from .stamps import PACKAGE_FOLDER

FETCHED = "repository"  # the folder, in the working directory, for a book that had to be fetched


def book() -> Path:
    """The folder of the book's chapters and of their data.

    It is the working directory, or the folder `book` in it, if the chapters lie there; else the folder beside
    toylib, in a clone; else that of the repository which toylib was installed from, fetched once into
    `repository` in the working directory.

    Raises: FileNotFoundError, with the address, if it is nowhere here and cannot be fetched.
    """
    if (folder := _here()) is not None:
        return folder
    address, fetched = _address(), Path(FETCHED) / "book"
    why = _fetch(address)
    if not _is_book(fetched):
        raise FileNotFoundError(
            f"The book must lie beside toylib or be fetched from {address}, which failed: {why}; "
            f"start the chapter in the folder book of a clone, or clone it to {Path(FETCHED).resolve()}"
        )
    return fetched.resolve()


def _here() -> Path | None:
    """The book's folder if it is on this machine."""
    places = (Path(), Path("book"), PACKAGE_FOLDER.parent / "book", Path(FETCHED) / "book")
    return next((folder.resolve() for folder in places if _is_book(folder)), None)


def here(name: str) -> Any:
    """What a JSON file in the book's data holds, None if it is not on this machine: nothing is fetched."""
    folder = _here()
    path = None if folder is None else folder / "data" / name
    return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.is_file() else None


def _of_the_data(name: str, value: Any) -> str:
    folder = book() / "data"
    known = sorted(path.name for path in folder.glob("*.json"))
    if value not in known:
        refuse(f"{name} must be one of {', '.join(known)}, in {folder}", repr(value))
    return value


@checked(name=_of_the_data)
def read(name: str) -> Any:
    """What a JSON file in the book's data holds.

    Raises: ValueError for a name that is not there, or a file that is not JSON; FileNotFoundError as `book`.
    """
    path = book() / "data" / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"name must be of a file in JSON; got {path} ({error})") from None


def _is_book(folder: Path) -> bool:
    return (folder / f"{FRONT_PAGE}.ipynb").is_file() and (folder / "data").is_dir()


def _address() -> str:
    """Of the repository: the one that pip installed toylib from, or else the project's own.

    Raises: FileNotFoundError if toylib was not installed.
    """
    try:
        installed = distribution("toylib")
    except PackageNotFoundError:
        raise FileNotFoundError(
            f"The book must lie beside toylib; got {PACKAGE_FOLDER}, neither in a clone nor installed"
        ) from None
    # where pip took a package from a repository, it writes down the address
    source = json.loads(installed.read_text("direct_url.json") or "{}")
    if "vcs_info" in source:
        return source["url"]
    pages = dict(line.split(", ", 1) for line in installed.metadata.get_all("Project-URL") or [])
    return pages["Repository"]


def _fetch(address: str) -> str:
    """Clone a repository; returns why it could not be, empty if it could."""
    command = ["git", "clone", "--quiet", "--depth", "1", address, FETCHED]
    try:  # without a prompt: nobody is there to answer
        done = subprocess.run(
            command,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
            timeout=600,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return "it holds no book"
    return done.stderr.strip().replace("\n", " ") or f"git ended with {done.returncode}"
