"""The rules that CONTRIBUTING gives for code and chapters, as far as a program can see them."""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

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
