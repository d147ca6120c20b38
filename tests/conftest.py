"""Settings for every test. toylib must not be imported here before pytest has installed its shape checks."""

import os
from collections.abc import Iterator

import browser as browsers
import jaxtyping
import pytest
from hypothesis import settings
from playwright.sync_api import Browser

# no window, whatever the machine has
os.environ["MPLBACKEND"] = "Agg"

# A failing example must fail again on the next run and on the next machine; training steps have no deadline.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")


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
