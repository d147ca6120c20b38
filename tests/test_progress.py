"""A progress bar is never part of a stored output, and never missed by who waits."""

import json
import re
from pathlib import Path

import pytest
import tqdm
import tqdm.notebook

from toylib import progress

ROOT = Path(__file__).resolve().parent.parent
KINDS = [tqdm.std.tqdm, tqdm.notebook.tqdm]  # in a terminal, in a notebook


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("variable", "shown", "hidden"), [("", True, False), ("1", True, True), ("", False, True)]
)
def test_the_variable_and_the_caller_hide_a_bar(kind, variable, shown, hidden, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", variable)
    monkeypatch.setattr(progress, "tqdm", kind)
    bar = progress.progress_bar(range(3), shown=shown, desc="test")
    assert bar.disable is hidden
    assert list(bar) == [0, 1, 2]


def test_every_module_draws_its_bar_here():
    importing = [path.stem for path in (ROOT / "toylib").rglob("*.py") if "import tqdm" in path.read_text()]
    assert importing == ["progress"]


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_stored_output_holds_a_bar(chapter):
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    outputs = [text for cell in cells for output in cell.get("outputs", []) for text in texts(output)]
    assert not [text for text in outputs if re.search(r"\d%\|.*\[.*<", text)]


def texts(output):
    """What an output shows as text: what nbval compares."""
    return ["".join(part) for part in (output.get("text", ""), output.get("data", {}).get("text/plain", ""))]
