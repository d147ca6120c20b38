"""Settings for every test. toylib must not be imported here before pytest has installed its shape checks."""

import os

import jaxtyping
import pytest
from hypothesis import settings

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
