"""What all figures share: the canvas, its style and colours, and what they take as numbers."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ...checks import Rule, a_number, array, checked, number

Array = Tensor | np.ndarray

KIND_COLOURS = {"dead": "#BBBBBB", "monosemantic": "#0072B2", "polysemantic": "#D55E00"}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
SMALL = 8.5  # points: ticks, legends, notes
WIDEST = 8.1  # inches: wider ones would be shown smaller, and their letters with them
STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def numbers(*, ndim: int) -> Rule:
    """Numbers to draw, of a tensor too, on whatever device and with gradients or not."""
    return lambda name, value: array(
        name, value.detach().cpu() if isinstance(value, Tensor) else value, ndim=ndim
    )


@checked(width=a_number(above=0))
def figure(
    n_rows: int = 1, n_cols: int = 1, *, width: float = 7.0, height: float | None = None, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the book's style and its axes, as from plt.subplots, which gets the other options.

    A width over 8.1 is 8.1: the page has no more room, and would show letters smaller than 11 pixels.

    Units:  inches.
    Raises: ValueError for sizes that are not positive.
    """
    width = min(width, WIDEST)
    if height is None:
        height = width * 0.45 * n_rows / n_cols**0.5
    height = number("height", height, above=0)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(n_rows, n_cols, figsize=(width, height), layout="constrained", **options)
    for ax in fig.axes:
        ax.tick_params(labelsize=SMALL)  # ticks are made later, when the style no longer holds
    return fig, axes


def legend(ax: Axes, **options: Any) -> Axes:
    """The labels drawn so far, small and without a frame; options as for ax.legend."""
    ax.legend(**{"fontsize": SMALL, "frameon": False, **options})
    return ax
