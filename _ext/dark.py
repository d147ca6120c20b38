"""In dark mode a figure is drawn in light ink on the page's own ground, its colours bright enough to see.

A figure whose colours are values (a map with its bar), or that shows photographs, keeps its white ground:
there another colour would be another value. The notebooks stay as they are.
"""

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sphinx.application import Sphinx

FIGURE = "application/vnd.toylib.figure+json"
INK = np.array([206, 214, 221]) / 255  # the theme's text
BRIGHT = 0.2  # luminance of a colour at least: a contrast above 4 with the theme's ground
GREY = 0.15  # a colour below it is black ink, thinned
SOLID = 200, 0.32  # of so many pixels and this much colour: a colour of its own, not another one thinned
PICTURE = re.compile(r'<img (?![^>]*\bclass="only-)[^>]*src="[^"]*/(?P<name>[0-9a-f]{64})\.png"[^>]*>')


def _bright(colour: np.ndarray) -> np.ndarray:
    """Colours (n, 3) bright enough, of the same hue: scaled in linear light, then mixed with white."""
    light = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)

    def short() -> np.ndarray:
        return np.maximum(light @ [0.2126, 0.7152, 0.0722], 1e-9)[:, None]

    light *= np.clip(BRIGHT / short(), 1, 1 / np.maximum(light.max(1, keepdims=True), 1e-9))
    light += np.clip((BRIGHT - short()) / (1 - short()), 0, 1) * (1 - light)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def dark(picture: Image.Image) -> Image.Image:
    """The picture without its white paper, its black ink light, other colours as bright as they must be.

    Each pixel is read as a colour thinned over white, which is laid thinned over nothing; but the light
    blue of a line is not the blue of another, thinned as in a band.
    """
    pixels = np.asarray(picture.convert("RGB"))
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    shown, place, count = np.unique(packed, return_inverse=True, return_counts=True)
    rgb = (shown[:, None] >> np.array([16, 8, 0]) & 255) / 255
    cover = 1 - rgb.min(1, keepdims=True)
    colour = (rgb - 1 + cover) / np.maximum(cover, 1e-9)
    grey = np.clip(1 - colour.max(1, keepdims=True) / GREY, 0, 1)
    ink = grey * INK + (1 - grey) * _bright(colour)
    cover = grey * cover + (1 - grey) * cover**0.6  # a pale colour on white is a dim one on black
    solid = (count >= SOLID[0]) & (np.ptp(rgb, axis=1) > SOLID[1])
    ink[solid], cover[solid] = _bright(rgb[solid]), 1
    of_shown = np.rint(255 * np.hstack([ink, cover])).astype(np.uint8)
    return Image.fromarray(of_shown[place.reshape(packed.shape)], "RGBA")


def has_values(row: dict[str, str]) -> bool:
    """Whether a line of a figure's values tells of a map's cell, or of a picture such as a photograph."""
    return row["mark"] == "cell" or (row["mark"] == "note" and row["value"].startswith("values of"))


def drawings(cells: list[dict[str, Any]]) -> Iterator[bytes]:
    """The pictures of a notebook's figures whose colours are no values."""
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if FIGURE in data and "image/png" in data:
                rows = csv.DictReader(io.StringIO(data[FIGURE]["csv"]))
                if not any(map(has_values, rows)):
                    yield base64.b64decode("".join(data["image/png"]))


def both(match: re.Match[str], drawn: set[str]) -> str:
    """A picture for each theme where there are two; the browser does not fetch the one that is hidden."""
    tag, name = match[0], match["name"]
    if name not in drawn:
        return tag
    light = tag.replace("<img ", '<img class="only-light" ', 1)
    return light + tag.replace("<img ", '<img class="only-dark" ', 1).replace(name, f"{name}-dark")


def write(app: Sphinx, exception: Exception | None) -> None:
    """Draw the dark pictures beside the others, and put them into the pages."""
    if exception is not None or app.builder.name != "html":
        return
    site, drawn = Path(app.outdir), set()
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.suffix == ".ipynb" else []
        for content in drawings(cells):
            name = hashlib.sha256(content).hexdigest()  # as myst-nb names the file
            drawn.add(name)
            beside = site / app.builder.imagedir / f"{name}-dark.png"
            if not beside.is_file():
                dark(Image.open(io.BytesIO(content))).save(beside)
    for path in (site / f"{docname}.html" for docname in app.env.found_docs):
        page = path.read_text(encoding="utf-8")
        if (found := PICTURE.sub(partial(both, drawn=drawn), page)) != page:
            path.write_text(found, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write, priority=600)  # before the pictures are made to load late
    return {"parallel_read_safe": True, "parallel_write_safe": True}
