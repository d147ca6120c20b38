"""Settings for every test. toylib must not be imported here before pytest has installed its shape checks."""

import os

from hypothesis import settings

# no window, whatever the machine has
os.environ["MPLBACKEND"] = "Agg"

# A failing example must fail again on the next run and on the next machine; training steps have no deadline.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")
