"""English passages from Debian packages, read where they are unpacked and not kept with the book.

apt fetches the packages (9 MB; no root needed). Their licences differ (GPL-2, the FAQ's own, public
domain, and those of single quotations), so the record holds numbers alone.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import debian

LENGTH = 1_200  # characters of a passage, about 270 tokens


class Source(NamedTuple):
    """A package: how its text is found in its files, and how many passages are taken from it."""

    files: str
    n_passages: int
    clean: Callable[[str], str]
    licence: str
    what: str


def _paragraphs(page: str) -> str:
    """The text of a page's paragraphs of a hundred characters and more."""
    page = re.sub(r"<(script|style|pre).*?</\1>", " ", page, flags=re.S)
    parts = re.split(r"</?(?:p|li|h\d|div|dd|dt|blockquote)\b[^>]*>", page)
    words = (" ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split()) for part in parts)
    return " ".join(part for part in words if len(part) >= 100)


def _entries(text: str) -> str:
    """A dictionary without what stands before its first entry."""
    return re.sub(r"[{}]", "", text[8_000:])


def _quotations(text: str) -> str:
    return text.replace("\n%\n", "\n\n")


SOURCES = {
    "anarchism": Source("*/html/sec*.html", 44, _paragraphs, "GPL-2", "essays"),
    "dict-jargon": Source("*/jargon.dict.dz", 24, _entries, "public domain", "hackers' words"),
    "dict-devil": Source("*/devil.dict.dz", 24, _entries, "public domain", "satire, 1911"),
    "fortunes": Source("*/fortunes/*", 20, _quotations, "various", "quotations"),
    "debian-faq": Source("*/FAQ/*.en.html", 8, _paragraphs, "its own, copyleft", "manual"),
}


def fetch(folder: Path) -> None:
    """Download and unpack the packages that are not in the folder yet: `debian.fetched`."""
    for package in SOURCES:
        debian.fetched(package, folder, "the passages")


def _read(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".dz":
        content = gzip.decompress(content)
    return content.decode("utf-8", errors="ignore")


def _pieces(text: str) -> list[str]:
    """The text cut at blanks into pieces of about LENGTH characters, without the rest at its end."""
    words, pieces, size = text.split(), [[]], 0
    for word in words:
        if size + len(word) + 1 > LENGTH:
            pieces.append([])
            size = 0
        pieces[-1].append(word)
        size += len(word) + 1
    return [" ".join(piece) for piece in pieces[:-1]]


def of_source(folder: Path, package: str) -> list[str]:
    """A package's passages, evenly spaced in its text; those with addresses in them are passed over."""
    source = SOURCES[package]
    files = sorted(
        path for path in (folder / package).rglob(source.files) if path.suffix not in (".dat", ".u8")
    )
    text = " ".join(source.clean(_read(path)) for path in files if path.is_file() and not path.is_symlink())
    pieces = [piece for piece in _pieces(text) if "@" not in piece and "http" not in piece]
    if len(pieces) < source.n_passages:
        raise RuntimeError(f"{package} holds {len(pieces)} passages, fewer than {source.n_passages}")
    step = len(pieces) / source.n_passages
    return [pieces[int((k + 0.5) * step)] for k in range(source.n_passages)]


def passages(folder: Path) -> list[str]:
    """All passages, fetched first if need be."""
    fetch(folder)
    return [passage for package in SOURCES for passage in of_source(folder, package)]
