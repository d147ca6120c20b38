"""What `make test` notices when a chapter, re-executed, differs from what is saved: book/conftest.py at work.

A few cells are executed; copies with one difference each are put through nbval, all in one run and, but for
those that end it, in one kernel.
"""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent

PRINTS, SHOWS, QUIET = 0, 1, 2
CELLS = [
    "print('hello')",
    """
class Record:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {
            "text/plain": "claim 1: supported",
            "text/html": "<b>0.123456</b>",
            "application/vnd.toylib.record+json": {"estimate": 0.123456},
        }
Record()""".strip(),
    "1 + 1;",
]


def saved_data(mime: str, value: object) -> Callable[[Any], None]:
    return lambda book: book.cells[SHOWS].outputs[0].data.update({mime: value})


def source(cell: int, code: str) -> Callable[[Any], None]:
    return lambda book: book.cells[cell].update(source=code)


def saved_without_running(book: Any) -> None:
    book.cells[PRINTS].update(outputs=[], execution_count=None)


PASS = {
    "nothing": lambda book: None,
    "other_html": saved_data("text/html", "<b>0.123457</b>"),
    "other_record": saved_data("application/vnd.toylib.record+json", {"estimate": 0.123457}),
    "figure_had_other_values": saved_data("application/vnd.toylib.figure+json", {"csv": "x\n1\n"}),
    "html_is_missing": lambda book: book.cells[SHOWS].outputs[0].data.pop("text/html"),
}
FAIL = {
    "other_text_form": saved_data("text/plain", "claim 1: not supported"),
    "other_printed_text": lambda book: book.cells[PRINTS].outputs[0].update(text="goodbye\n"),
    "printed_text_was_not_saved": lambda book: book.cells[PRINTS].update(outputs=[]),
    "an_output_more_was_saved": lambda book: book.cells[SHOWS].outputs.append(book.cells[SHOWS].outputs[0]),
    "result_is_gone": source(SHOWS, CELLS[SHOWS].replace("\nRecord()", "")),
    "result_is_new": source(QUIET, "1 + 1"),
    "a_new_warning": source(PRINTS, "print('hello')\nimport warnings; warnings.warn('new')"),
    "standard_error": source(PRINTS, "print('hello')\nimport sys; print('oh', file=sys.stderr)"),
    "an_exception": source(PRINTS, "print('hello')\n1 / 0"),
    "a_magic_that_does_not_exist": source(PRINTS, "%no_such_magic\nprint('hello')"),
    "saved_without_running": saved_without_running,
    "kills_its_kernel": source(SHOWS, "import os; os.kill(os.getpid(), 9)"),
    "ends_its_kernel": source(SHOWS, "import os; print('hello', flush=True); os._exit(0)"),
}


ENDS = ("kills_its_kernel", "ends_its_kernel")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each copy, what nbval said of its cells: passed, failed, error."""
    folder = tmp_path_factory.mktemp("chapters")
    shutil.copy(ROOT / "book" / "conftest.py", folder)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS])
    # without it, ipykernel warns of its connection by TCP on the terminal
    NotebookClient(book, extra_arguments=["--log-level=ERROR"], record_timing=False).execute()
    notebooks = {name: nbformat.v4.new_notebook() for name in ("one_after_the_other", *ENDS)}
    places: dict[str, list[tuple[str, int]]] = {}
    for name, change in {**PASS, **FAIL}.items():
        changed = copy.deepcopy(book)
        change(changed)
        for k, cell in enumerate(changed.cells):
            cell.id = f"{name}-{k}"
        stem = name if name in ENDS else "one_after_the_other"
        first = len(notebooks[stem].cells)
        places[name] = [(stem, first + k) for k in range(len(CELLS))]
        notebooks[stem].cells += changed.cells
    for stem, notebook in notebooks.items():
        nbformat.write(notebook, folder / f"{stem}.ipynb")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", ".", "--nbval", "--nbval-current-env", "-v", "--color=no"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = re.findall(
        r"^(\w+)(?:\.|::)ipynb::Cell (\d+) (PASSED|FAILED|ERROR|SKIPPED)", run.stdout, re.MULTILINE
    )
    said = {(stem, int(cell)): word for stem, cell, word in lines}
    assert len(said) == len(CELLS) * len(places), run.stdout + run.stderr
    return {name: {said[place] for place in of} for name, of in places.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PASS)
def test_chapter_passes_when_only_machine_dependent_forms_differ(name: str, results: Any) -> None:
    assert results[name] == {"PASSED"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAIL)
def test_chapter_fails_when_what_it_says_differs(name: str, results: Any) -> None:
    assert results[name] & {"FAILED", "ERROR"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_a_kernel_that_dies_is_said_at_once_and_the_cells_after_it_are_not_run(
    name: str, results: Any
) -> None:
    # nbval's own would wait for 2,000 s, beyond the time that all of these chapters have together
    assert results[name] == {"PASSED", "FAILED", "SKIPPED"}


@pytest.mark.slow
def test_with_too_few_minutes_the_long_chapters_are_those_left_out_and_said(tmp_path: Path) -> None:
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path)
    (tmp_path / "data").mkdir()
    took = {"a": 600, "b": 5}  # c is new
    runs = {"seeds-3": {"chapters": {name: {"cpu_seconds": seconds} for name, seconds in took.items()}}}
    (tmp_path / "data" / "again.json").write_text(json.dumps({"sensitivity": runs}))
    waits = {"source": "import time; time.sleep(4)", "execution_count": 1}
    slow = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(**waits) for _ in range(2)])
    for name in "abc":
        nbformat.write(slow, tmp_path / f"{name}.ipynb")

    def compared(minutes: float) -> list[str]:
        command = [sys.executable, "-m", "pytest", ".", "--nbval", "--nbval-current-env", "-v", "--color=no"]
        done = subprocess.run(
            [*command, f"--minutes={minutes}"], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout
        assert f"left out after {minutes:g} minutes" in done.stdout
        return re.findall(r"^(\w)(?:\.|::)ipynb::Cell \d+ (PASSED|SKIPPED)", done.stdout, re.MULTILINE)

    assert {word for _, word in compared(0)} == {"SKIPPED"}
    order = compared(0.05)  # ends within the first chapter
    assert [word for _, word in order] == ["PASSED"] + 5 * ["SKIPPED"]
    assert [name for name, _ in order][-2:] == ["a", "a"]
