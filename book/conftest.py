"""How nbval compares a chapter with its re-execution: `pytest --nbval book`.

What is compared, strictly: printed text, standard error, the text form of every result, the name and
message of an expected error, and which of these a cell has. What is not: pictures, HTML and the chapter's
machine-readable records. They carry numbers whose last digits differ from one machine to another; the
numbers that must hold are in the text form, rounded to what every machine agrees on.

With `--minutes` no cell is begun after so many: short chapters come first, then the long ones in an order
that each run draws anew, so that all are compared in a few runs. What is left out is told as skipped.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

# as when the chapters were stored: whether a progress bar appears depends on the machine's speed
os.environ["TQDM_DISABLE"] = "1"
# IPython would put the packages of an environment that is active in the shell before this one's
os.environ.pop("VIRTUAL_ENV", None)

COMPARED = frozenset({"data", "text/plain", "stdout", "stderr", "ename", "evalue"})


class EverythingElse:
    """nbval asks `key in skip_compare` of each field of an output; this answers yes for all but a few."""

    def __contains__(self, key: object) -> bool:
        return key not in COMPARED


LONG = 60  # processor seconds, in what tests/again.py has stored
STARTED = time.monotonic()


def long_chapters(book: Path) -> set[str]:
    """Chapters that took long in some stored run."""
    stored = book / "data" / "again.json"
    runs = json.loads(stored.read_text(encoding="utf-8"))["sensitivity"] if stored.is_file() else {}
    taken = [chapter for run in runs.values() for chapter in run["chapters"].items()]
    return {name for name, found in taken if found["cpu_seconds"] > LONG}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="begin no cell of a chapter later than that")


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    for item in items:
        if isinstance(item.parent, IPyNbFile):
            item.parent.skip_compare = EverythingElse()
    if config.getoption("minutes") is not None:
        # every process of a run draws the same order
        draw = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", ""))
        long = long_chapters(Path(__file__).parent)
        place = {path: (path.stem in long, draw.random()) for path in dict.fromkeys(i.path for i in items)}
        items.sort(key=lambda item: place[item.path])


def execute_as_the_book_was(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    # nbval's own asks for no history, and without it IPython shows a result despite the `;` at the end of
    # its line (nbval issue 194). The saved outputs were made with history.
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


RunningKernel.execute_cell_input = execute_as_the_book_was


class KernelDied(Exception):
    """The process that runs a chapter's cells has ended."""


nbval_waits = RunningKernel.get_message


def wait_while_it_lives(self: RunningKernel, stream: str, timeout: float | None = None) -> Any:
    # nbval's own waits to the end of the cell's time for a message that no one is left to send
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = 1.0 if end is None else min(1.0, end - time.monotonic())
        alive = self.is_alive()  # before the last look, for what a dying kernel has sent
        try:
            return nbval_waits(self, stream, timeout=max(left, 0.0))
        except Empty:
            if not alive:
                raise KernelDied from None
            if left <= 0:
                raise


RunningKernel.get_message = wait_while_it_lives


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    except KernelDied:
        item.parent.kernel_died_in = item.name
        raise NbCellError(item.cell_num, "the kernel died while it ran this cell", item.cell.source) from None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not isinstance(item, IPyNbCell) or item.options["skip"]:
        return
    died = getattr(item.parent, "kernel_died_in", None)
    if died:
        pytest.skip(f"the kernel died at {died} of this chapter")
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - STARTED > 60 * minutes:
        pytest.skip(f"{item.path.stem}: left out after {minutes:g} minutes, compared without --minutes")
    # nbval compares nothing for a cell that was never run: a chapter saved without outputs would pass.
    if item.cell.source.strip() and item.cell.execution_count is None:
        pytest.fail("this cell was saved without having been run: make book", pytrace=False)
