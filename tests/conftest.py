"""Settings for every test. toylib must not be imported here before its shape checks are installed."""

import os
from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import jaxtyping
import pytest
from hypothesis import settings
from playwright.sync_api import Browser

# toylib's array shapes are checked at every call while the tests run, in the modules that state shapes. The
# checks make any call several times slower; what the other modules state is read by mypy.
ROOT = Path(__file__).resolve().parent.parent
SHAPED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "toylib").rglob("*.py"))
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
jaxtyping.install_import_hook(SHAPED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# no window, whatever the machine has
os.environ["MPLBACKEND"] = "Agg"

# A failing example must fail again on the next run and on the next machine; training steps have no deadline.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")


# A long file that began last would be waited for by every other process.
LONGEST = ["sweep", "cold_start", "lab", "training", "identity", "differential", "damaged_files", "makefile"]


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; `make test` deals files out in this order. What opens a browser is slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    first = {f"test_{name}": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))


@pytest.fixture(autouse=True)
def shape_checks_stand_aside_for_bad_input(request):
    """What toylib itself says of bad input is seen only if the test run's own type checks are off."""
    bad_input = request.node.get_closest_marker("bad_input") is not None
    jaxtyping.config.update("jaxtyping_disable", bad_input)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# one a module: while it runs, nothing else in this process can run an event loop
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser that `make browser` found, running."""
    try:
        with browsers.launched() as running:
            yield running
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)
