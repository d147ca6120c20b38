"""How nbval compares a chapter with its re-execution: `pytest --nbval book`.

What is compared, strictly: printed text, standard error, the text form of every result, the name and
message of an expected error, and which of these a cell has. What is not: pictures, HTML and the chapter's
machine-readable records. They carry numbers whose last digits differ from one machine to another; the
numbers that must hold are in the text form, rounded to what every machine agrees on.
"""

import os

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

# as when the chapters were stored: whether a progress bar appears depends on the machine's speed
os.environ["TQDM_DISABLE"] = "1"

COMPARED = frozenset({"data", "text/plain", "stdout", "stderr", "ename", "evalue"})


class EverythingElse:
    """nbval asks `key in skip_compare` of each field of an output; this answers yes for all but a few."""

    def __contains__(self, key: object) -> bool:
        return key not in COMPARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item.parent, IPyNbFile):
            item.parent.skip_compare = EverythingElse()


def execute_as_the_book_was(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    # nbval's own asks for no history, and without it IPython shows a result despite the `;` at the end of
    # its line (nbval issue 194). The saved outputs were made with history.
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


RunningKernel.execute_cell_input = execute_as_the_book_was


def pytest_runtest_setup(item: pytest.Item) -> None:
    # nbval compares nothing for a cell that was never run: a chapter saved without outputs would pass.
    if not isinstance(item, IPyNbCell) or item.options["skip"]:
        return
    if item.cell.source.strip() and item.cell.execution_count is None:
        pytest.fail("this cell was saved without having been run: make book", pytrace=False)
