"""Files that no package registry carries: fetched over HTTP, continued, and checked before they are read."""

import http.client
import sys
import urllib.request
from pathlib import Path

from toylib.networks.inception import Archive, check_archive

WAIT = 30  # seconds without an answer
PIECE = 1 << 20


def fetched(archive: Archive, folder: Path) -> Path:
    """The archive in a folder: the one that is there, or downloaded, after an interruption from where it was.

    Raises: RuntimeError, in a sentence, where it can't be had or is another file; ValueError where what lies
            in the folder under its name is another file.
    """
    target = folder / archive.name
    if target.is_file():
        check_archive(target, archive)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{archive.name}.part"
    for attempt in ("continued", "anew"):
        resumed = part.is_file() and attempt == "continued"
        if not resumed:
            part.unlink(missing_ok=True)
        try:
            _download(archive, part)
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeError(_offline(archive, str(error) or type(error).__name__)) from None
        size = part.stat().st_size
        if size < archive.size:
            raise RuntimeError(
                _offline(archive, f"the download stopped at {size:,} of {archive.size:,} bytes")
            )
        try:
            check_archive(part, archive)
        except ValueError as error:
            part.unlink()
            if not resumed:
                wrong = str(error).replace(repr(str(part)), f"{archive.url}, a file")
                raise RuntimeError(f"What was downloaded is not used: {wrong}") from None
        else:
            part.rename(target)
            return target
    raise AssertionError("the second attempt returns or raises")


def _offline(archive: Archive, why: str) -> str:
    return (
        f"{archive.name} could not be fetched from {archive.url} ({why}): run the command again where there "
        f"is a network, which continues what has come, or bring the file: make inception "
        f"ARCHIVE=/path/to/{archive.name}"
    )


def _download(archive: Archive, part: Path) -> None:
    """Add to a file what it lacks; whole where the server can't continue."""
    have = part.stat().st_size if part.is_file() else 0
    if have >= archive.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(archive.url, headers=headers)
    print(f"fetching {archive.url} ({archive.size / 1e6:.0f} MB, {have / 1e6:.0f} there)", file=sys.stderr)
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        continued = answer.status == http.client.PARTIAL_CONTENT
        with part.open("ab" if continued else "wb") as file:
            while file.tell() <= archive.size and (piece := answer.read(PIECE)):
                file.write(piece)
