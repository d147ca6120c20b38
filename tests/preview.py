"""The picture of the front page that README.md and links to the site show.

    python tests/preview.py

Run it after `make book` when the answer of the front page has changed. Its words are stored in the picture,
and tests/test_site.py holds them equal to the page's.
"""

import io
import sys
from pathlib import Path

import browser
from bs4 import BeautifulSoup
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "_build" / "html" / "index.html"
PICTURE = ROOT / "book" / "preview.png"
SIZE, ZOOM = (1440, 756), 1200 / 1440  # 1200 by 630, what sites that show a link's picture ask for
ANSWER = "article .tl-answer"


def words(page: BeautifulSoup) -> str:
    """How many claims hold, and the answer, a sentence a line."""
    said = page.select(f"{ANSWER} .tl-count, {ANSWER} li")
    return "\n".join(" ".join(part.get_text().split()) for part in said)


def draw() -> None:
    """Photograph the question, the answer and the live model at its end, in light colours."""
    if not PAGE.is_file():
        sys.exit("needs the built site: make book")
    with browser.launched() as chromium:
        width, height = SIZE
        page = chromium.new_page(
            viewport={"width": width, "height": height}, device_scale_factor=ZOOM, color_scheme="light"
        )
        page.goto(PAGE.as_uri(), wait_until="load")
        page.wait_for_function("document.querySelector('.toylib-small').lab.trainer.finished")
        page.evaluate("document.querySelector('h1').scrollIntoView()")
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot()))
    note = PngImagePlugin.PngInfo()
    note.add_itxt("Description", words(BeautifulSoup(PAGE.read_text(encoding="utf-8"), "html.parser")))
    picture.convert("RGB").save(PICTURE, pnginfo=note, optimize=True)


if __name__ == "__main__":
    draw()
