"""The picture of the front page that README.md and links to the site show.

    python tests/preview.py

Run it after `make book` when a card of the front page has changed. The cards' words are stored in the
picture, and tests/test_site.py holds them equal to the page's.
"""

import io
import sys
from pathlib import Path

import browser
from bs4 import BeautifulSoup
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "_build" / "html" / "book" / "scoreboard.html"
PICTURE = ROOT / "book" / "preview.png"
SIZE, ZOOM = (1440, 756), 1200 / 1440  # 1200 by 630, what sites that show a link's picture ask for
CARD = "article a:has(> img)"


def words(page: BeautifulSoup) -> str:
    """What the cards say, a line each."""
    return "\n".join(" | ".join(card.stripped_strings) for card in page.select(CARD))


def draw() -> None:
    """Photograph the cards below the page's header, in light colours."""
    if not PAGE.is_file():
        sys.exit("needs the built site: make book")
    with browser.launched() as chromium:
        width, height = SIZE
        page = chromium.new_page(
            viewport={"width": width, "height": height}, device_scale_factor=ZOOM, color_scheme="light"
        )
        page.goto(PAGE.as_uri(), wait_until="load")
        page.locator(CARD).first.evaluate("card => window.scrollBy(0, card.getBoundingClientRect().top - 70)")
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot()))
    note = PngImagePlugin.PngInfo()
    note.add_itxt("Description", words(BeautifulSoup(PAGE.read_text(encoding="utf-8"), "html.parser")))
    picture.convert("RGB").save(PICTURE, pnginfo=note, optimize=True)


if __name__ == "__main__":
    draw()
