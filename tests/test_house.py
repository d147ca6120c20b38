"""The rules that CONTRIBUTING gives for code and chapters, as far as a program can see them."""

import ast
import json
import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from toylib.page import stamps

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
FRONT = ROOT / "book" / "scoreboard.ipynb"  # it has a form of its own
GLUE = re.compile(r"{glue:text}`([^`:]+)")
TERM = re.compile(r"{term}`(?:[^`<]*<)?([^`>]+)>?`")


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_open_cells_show_the_argument_and_no_line_is_cut_off_by_the_page(chapter: Path) -> None:
    """The median open cell has 8 lines at most, none more than 20; a folded one 30; lines 88 characters."""
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for cell in (cell for cell in cells(chapter) if cell["cell_type"] == "code"):
        lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
        folded = bool({"hide-input", "hide-cell"} & set(cell["metadata"].get("tags", [])))
        lengths[folded].append(len(lines))
        # the address of the repository cannot be broken
        assert [line for line in lines if len(line) > 88 and "git+https://" not in line] == []
    assert median(lengths[False]) <= 8
    assert max(lengths[False]) <= 20
    assert max(lengths[True], default=0) <= 30


def drawn() -> list[tuple[str, dict[str, Any]]]:
    """Every cell that has drawn a picture: its chapter, and what its metadata say of the figure."""
    found = []
    for chapter in CHAPTERS:
        for cell in cells(chapter):
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                found.append((chapter.stem, cell["metadata"].get("mystnb", {})))
    return found


def test_every_figure_has_a_name_of_its_own_a_caption_and_an_alternative_text() -> None:
    figures = drawn()
    assert len(figures) > 30
    names = Counter(said.get("figure", {}).get("name") for _, said in figures)
    wrong = []
    for chapter, said in figures:
        name, caption = (said.get("figure", {}).get(key, "") for key in ("name", "caption"))
        where = f"book/{chapter}.ipynb, figure {name or 'without a name'}:"
        if not name or names[name] > 1:
            wrong.append(f"{where} its cell's metadata (mystnb.figure.name) must be a name of its own")
        if len(caption.split()) < 6:
            wrong.append(f"{where} its caption (mystnb.figure.caption) must have six words or more")
        if len(said.get("image", {}).get("alt", "").split()) < 11:
            wrong.append(f"{where} its alternative text (mystnb.image.alt) must have eleven words or more")
    assert not wrong, "\n" + "\n".join(wrong)


def tables(cell: dict[str, Any]) -> int:
    """How many tables a cell shows, but for those of a claim's card and of a lab, which name themselves."""
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", [])]
    return sum('<table class="docutils' in page and 'class="claim' not in page for page in pages)


def test_every_table_that_a_chapter_shows_has_a_caption() -> None:
    """In the cell's metadata, a list: toylib.captions. Four to fifteen words, no number that a run finds."""
    shown, wrong = 0, []
    for chapter in CHAPTERS:
        for cell in cells(chapter):
            captions = cell["metadata"].get("toylib", {}).get("captions", [])
            where = f"book/{chapter.stem}.ipynb, cell {cell.get('id')}:"
            shown += tables(cell)
            if tables(cell) > len(captions):
                wrong.append(f"{where} shows {tables(cell)} tables and has {len(captions)} captions")
            wrong += [f"{where} {words!r}" for words in captions if not 4 <= len(words.split()) <= 15]
    assert not wrong, "\n" + "\n".join(wrong)
    assert shown > 80


def unseen(code: str) -> list[str]:
    """What a cell calls to be looked at and does not show, as it is not the cell's last expression."""
    tree = ast.parse(code)
    calls = [node.value for node in tree.body[:-1] if isinstance(node, ast.Expr)]
    shown = (ast.unparse(call.func) for call in calls if isinstance(call, ast.Call))
    return [name for name in shown if name in ("notebook.table", "agreement.table", "published.table", "Lab")]


def test_a_table_is_its_cells_last_expression() -> None:
    assert unseen("notebook.table(rows, header)\nx = 1") == ["notebook.table"]
    assert unseen("x = 1\nnotebook.table(rows, header)") == []
    wrong = []
    for chapter in CHAPTERS:
        for cell in (cell for cell in cells(chapter) if cell["cell_type"] == "code"):
            source = "".join(cell["source"])
            if "%pip" not in source and unseen(source):
                wrong.append(f"book/{chapter.stem}.ipynb, cell {cell['id']}, makes a table that nobody sees")
    assert not wrong, "\n" + "\n".join(wrong)


# pixels of a chapter's text at 1440 and 390; see book.css
COLUMN, PHONE, SCROLLED = 774, 358, 0.82
MANY = {"fig-depth-neurons"}  # rows of thumbnails


def too_small(name: str, drawn: float, letters: float | None, across: int) -> str:
    """What is too small of a figure `drawn` pixels wide with smallest letters of so many points; or empty."""
    phone = max(min(PHONE, drawn), SCROLLED * drawn)
    size = 100 / 72 * (letters or 99)
    if (wide := size * min(1, COLUMN / drawn)) < 10.95:
        return f"{name} has letters of {wide:.1f} pixels on a wide screen; 11 at least"
    if (narrow := size * phone / drawn) < 9:
        return f"{name} has letters of {narrow:.1f} pixels on a phone; 9 at least"
    if across * PHONE / phone > 4 and name not in MANY:
        return f"{name} has {across} panels side by side; four at most are seen on a phone"
    return ""


def test_what_is_too_small_is_said() -> None:
    assert too_small("a", 711, 8.5, 2) == ""
    assert too_small("a", 821, 8.5, 4) == ""
    assert too_small("a", 1011, 8.5, 4).startswith("a has letters of 9.0 pixels on a wide screen")
    assert too_small("a", 711, 7.8, 4).startswith("a has letters of 10.8 pixels")
    assert too_small("a", 300, 8, 5).endswith("four at most are seen on a phone")


def test_letters_of_figures_can_be_read_at_both_widths() -> None:
    """9 pixels on a phone and 11 on a wide screen; four panels at most in view on a phone."""
    wrong = []
    for chapter in CHAPTERS:
        for cell in cells(chapter):
            for output in cell.get("outputs", []):
                if "image/png" not in output.get("data", {}):
                    continue
                name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", chapter.stem)
                said, size = output["data"].get(stamps.FIGURE), output["metadata"]["image/png"]
                if said is None:
                    assert stamps.stale(chapter), f"{name} has no values stored with it: notebook.setup()"
                else:
                    wrong.append(too_small(name, size["width"], said["type"], said["across"]))
    assert not any(wrong), "\n" + "\n".join(filter(None, wrong))


def prose(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"]


def abstract_of(path: Path) -> str:
    """The paragraph below a chapter's title, in its first cell; empty if another thing stands there."""
    title, _, rest = "".join(cells(path)[0]["source"]).partition("\n\n")
    paragraph = rest.partition("\n\n")[0]
    return paragraph if title.startswith("# ") and paragraph.startswith("**In short.** ") else ""


def test_no_chapter_but_one_has_more_than_two_thousand_words() -> None:
    """All that is not code: prose, tables, formulas, exercises."""
    words = {path.stem: len(" ".join(prose(path)).split()) for path in CHAPTERS}
    long = {chapter: n for chapter, n in words.items() if n > 2000}
    assert len(long) <= 1, f"shorten all but one to 2,000 words (aim at 1,500): {long}"


@pytest.mark.parametrize("chapter", [*CHAPTERS, ROOT / "tests" / "template.ipynb"], ids=lambda p: p.stem)
def test_a_chapter_begins_with_an_abstract_of_three_sentences_at_most(chapter: Path) -> None:
    if chapter == FRONT:
        pytest.skip("the front page has a form of its own")
    words = abstract_of(chapter).removeprefix("**In short.** ")
    assert words, "below its title stands **In short.**, the question, and what was found"
    assert "?" in words, "an abstract says the question"
    sentences = re.split(r"[.?!] (?=[A-Z*\[{])", words)
    assert len(sentences) <= 3, sentences


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_number_that_the_text_names_is_one_that_a_cell_has_found(chapter: Path) -> None:
    outputs = [output for cell in cells(chapter) for output in cell.get("outputs", [])]
    found = {output.get("metadata", {}).get("scrapbook", {}).get("name") for output in outputs}
    assert set(GLUE.findall("\n".join(prose(chapter)))) <= found


def test_every_term_that_a_chapter_links_stands_in_the_glossary() -> None:
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    block = text.partition("```{glossary}\n")[2].partition("\n```")[0]
    terms = [line.lower() for line in block.splitlines() if line and not line.startswith(" ")]
    assert len(terms) == len(set(terms)) > 25
    linked = {name.lower() for path in CHAPTERS for name in TERM.findall("\n".join(prose(path)))}
    assert linked
    assert linked <= set(terms)
