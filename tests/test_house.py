"""The rules that CONTRIBUTING gives for code and chapters, as far as a program can see them."""

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


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
