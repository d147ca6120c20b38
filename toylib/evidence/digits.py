"""An estimate and its interval in as many digits as the interval justifies."""

from __future__ import annotations

import math

COARSE = 5  # units of the last digit that an interval is wide, at least; below ten times as many


def in_digits(estimate: float, low: float, high: float, *, most: int = 12) -> tuple[str, str, str]:
    """The three with as many decimals: the fewest with which the interval is 5 units of the last digit wide.

    An interval without a width says nothing of digits: three significant ones. What lies below 0.0001 or
    from a million on is written with a power of ten.

    Units:  most: decimals at most.
    """
    estimate, low, high = values = [value + 0.0 for value in (estimate, low, high)]  # no negative zero
    width, largest = high - low, max(map(abs, values))
    if not (math.isfinite(width) and width > 0):
        shown = [f"{value:.3g}" for value in values]
    else:
        decimals = min(most, math.ceil(math.log10(COARSE / width)))
        if 1e-4 <= largest < 1e6:
            shown = [f"{round(value, decimals) + 0.0:.{max(0, decimals)}f}" for value in values]
        else:
            figures = max(0, math.floor(math.log10(largest)) + decimals)
            shown = [f"{value:.{figures}e}" for value in values]
    return shown[0], shown[1], shown[2]


def with_interval(estimate: float, low: float, high: float) -> str:
    """`0.98 [0.91, 1.00]`: see `in_digits`."""
    shown = in_digits(estimate, low, high)
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"
