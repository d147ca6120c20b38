"""What changes along a setting: with the density of features, their importance, or another axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from ...checks import checked, depending, must, optional, refuse
from .canvas import KIND_COLOURS, SERIES, SMALL, Array, numbers

PHASE_COLOURS = ("#E6E6E6", "#56B4E9", "#D55E00", "#F0E442")
PLATEAUS = {1: "1", 3 / 4: "3/4", 2 / 3: "2/3", 1 / 2: "1/2", 2 / 5: "2/5", 3 / 8: "3/8", 0: "0"}
DENSITY_LABEL = "density $1-S$ (sparser to the right)"


# --- what they take, and their axes ----------------------------------------------------------------------


def _positive(name: str, value: object) -> np.ndarray:
    values = numbers(ndim=1)(name, value)
    if values.min() <= 0:
        refuse(f"{name} must be positive, for its log scale", values.min())
    return values


def _in_order(density: np.ndarray, importance: np.ndarray) -> None:
    for name, along in (("density", density), ("importance", importance)):
        if not ((np.diff(along) > 0).all() or (np.diff(along) < 0).all()):
            refuse(f"{name} must rise or fall all along", along.tolist())


def _codes_of_labels(values: np.ndarray, labels: Sequence[str]) -> None:
    if (wrong := values[~np.isin(values, range(len(labels)))]).size:
        refuse(f"values must be the labels' codes 0 to {len(labels) - 1}", wrong[0])


def _intervals(x: np.ndarray, low: np.ndarray | None, high: np.ndarray | None) -> None:
    if low is None and high is None:
        return
    if low is None or high is None:
        refuse("low and high must be given together", f"only {'high' if low is None else 'low'}")
    if not len(x) == len(low) == len(high):
        refuse("x, low, high must be equally long", [len(x), len(low), len(high)])
    if (above := low > high).any():
        refuse("low must not be above high", f"{low[above][0]} > {high[above][0]}")


def _add_up(shares: np.ndarray) -> None:
    if shares.min() < 0 or np.abs(shares.sum(1) - 1).max() > 1e-3:
        refuse("shares must be 0 or more and add up to 1", f"{shares.min()}, {shares.sum(1)}")


def _plain_log(ax: Axes, *axes: str) -> None:
    """Log scales that read 1, 0.1, 0.01."""
    ax.set(**{f"{name}scale": "log" for name in axes})
    for axis in (getattr(ax, f"{name}axis") for name in axes):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _log_edges(centres: Array) -> np.ndarray:
    """Edges of the cells around the centres, so that cells are as wide on paper at the ends as inside."""
    if len(centres) == 1:
        return centres[0] * np.array([0.9, 1.1])
    middle = np.sqrt(centres[1:] * centres[:-1])
    return np.r_[centres[0] ** 2 / middle[0], middle, centres[-1] ** 2 / middle[-1]]


def falling_density(ax: Axes) -> Axes:
    """A log axis of density from dense to sparse, whatever is drawn on it."""
    _plain_log(ax, "x")
    ax.set_xlabel(DENSITY_LABEL)
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    return ax


# --- the figures -----------------------------------------------------------------------------------------


@checked(
    must(lambda x, D: len(x) == len(D), "x, D must be equally long; got [{x:len}, {D:len}]"),
    x=_positive,
    D=numbers(ndim=2),
)
def dimensionality(ax: Axes, x: Real[Array, " n"], D: Real[Array, "n n_features"]) -> Axes:
    """Every feature's dimensionality at every setting, with lines where regular shapes would lie.

    Shapes: x (n,), 1 / density in the paper; D (n, n_features).
    Raises: ValueError if the shapes do not match or x is not positive.
    Source: Elhage et al. 2022, 'Feature Dimensionality'.
    """
    for level, name in PLATEAUS.items():
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
        align = {2 / 5: "bottom", 3 / 8: "top"}.get(level, "center")  # these two lie close together
        ax.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va=align, fontsize=SMALL)
    ax.plot(np.repeat(x, D.shape[1]), D.ravel(), ".", ms=5, alpha=0.3, color=SERIES[0], mew=0)
    _plain_log(ax, "x")
    ax.set(ylim=(-0.05, 1.05), xlabel="1 / density (sparser to the right)", ylabel="feature dimensionality")
    return ax


@checked(
    must(
        lambda density, importance, values: values.shape == (len(importance), len(density)),
        "values must be ({importance:len}, {density:len}); got shape {values:shape}",
    ),
    _in_order,
    must(
        lambda labels: 1 <= len(labels) <= len(PHASE_COLOURS),
        f"labels must be 1 to {len(PHASE_COLOURS)} names; got {{labels:len}}",
    ),
    _codes_of_labels,
    density=_positive,
    importance=_positive,
    values=numbers(ndim=2),
)
def phase_diagram(
    ax: Axes,
    density: Real[Array, " n_density"],
    importance: Real[Array, " n_importance"],
    values: Real[Array, "n_importance n_density"],
    *,
    labels: Sequence[str],
) -> Axes:
    """A setting in every cell: density falls to the right, relative importance rises upwards, log scales.

    Values are codes 0, 1, 2, ... of the labels, in grey, blue, orange, yellow. `phase_legend`
    names them.

    Shapes: density (n_density,) and importance (n_importance,), ascending or descending;
            values (n_importance, n_density).
    Raises: ValueError if the shapes do not match, density or importance is not positive or out of order,
            there are more than four labels, or a value is not the code of a label.
    Source: Elhage et al. 2022, 'Superposition as a Phase Change'.
    """
    colours = PHASE_COLOURS[: len(labels)]
    cells = _log_edges(density), _log_edges(importance), values
    ax.pcolormesh(*cells, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(labels) - 0.5)
    _plain_log(ax, "x", "y")
    ax.set(xlabel="density $1-S$", ylabel="relative importance")
    ax.set_xlim(_log_edges(density).max(), _log_edges(density).min())
    return ax


@checked(
    must(
        lambda labels: len(labels) <= len(PHASE_COLOURS),
        f"labels must be {len(PHASE_COLOURS)} or fewer; got {{labels:len}}",
    )
)
def phase_legend(fig: Figure, labels: Sequence[str], n_cols: int) -> None:
    """The colours of `phase_diagram` by name, below all axes of a figure.

    Raises: ValueError for more labels than colours.
    """
    handles = [Patch(color=colour, label=name) for colour, name in zip(PHASE_COLOURS, labels, strict=False)]
    fig.legend(handles=handles, loc="outside lower center", ncols=n_cols, frameon=False, fontsize=SMALL)


@checked(
    must(
        lambda x, estimate: len(x) == len(estimate),
        "x, estimate must be equally long; got [{x:len}, {estimate:len}]",
    ),
    _intervals,
    x=depending(lambda density_axis: _positive if density_axis else numbers(ndim=1)),
    estimate=numbers(ndim=1),
    low=optional(numbers(ndim=1)),
    high=optional(numbers(ndim=1)),
)
def trend(
    ax: Axes,
    x: Real[Array, " n"],
    estimate: Real[Array, " n"],
    low: Real[Array, " n"] | None = None,
    high: Real[Array, " n"] | None = None,
    *,
    label: str | None = None,
    colour: str = SERIES[0],
    density_axis: bool = True,
    **options: Any,
) -> Axes:
    """Estimates with their intervals along a setting, a point for each; other options go to ax.plot.

    With density_axis, x is a density, drawn on a log scale from dense (left) to sparse (right).

    Shapes: x, estimate, low, high (n,).
    Raises: ValueError if they are not equally long, low is above high, only one of the two is given, or
            a density is not positive.
    """
    if low is not None and high is not None:
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(x, estimate, **{"marker": "o", "ms": 3.5, "lw": 1.5, "color": colour, "label": label, **options})
    ax.grid(axis="y", color="0.92", lw=0.8)
    ax.set_axisbelow(True)
    return falling_density(ax) if density_axis else ax


@checked(
    must(
        lambda x, samples: len(x) == len(samples),
        "x, samples must be equally long; got [{x:len}, {samples:len}]",
    ),
    x=numbers(ndim=1),
    samples=numbers(ndim=2),
)
def distribution(
    ax: Axes,
    x: Real[Array, " n"],
    samples: Real[Array, "n n_seeds"],
    *,
    label: str | None = None,
) -> Axes:
    """Many seeds at every setting: the median as a line, the middle half and the middle nine tenths as bands.

    Shapes: x (n,), samples (n, n_seeds).
    Raises: ValueError if the shapes do not match.
    """
    q = np.quantile(samples, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    for low, high, alpha in ((q[0], q[4], 0.15), (q[1], q[3], 0.3)):
        ax.fill_between(x, low, high, color=SERIES[0], alpha=alpha, lw=0)
    return trend(ax, x, q[2], label=label, density_axis=False)


@checked(
    must(
        lambda x, shares, labels: shares.shape == (len(x), len(labels)),
        "shares must be ({x:len}, {labels:len}); got shape {shares:shape}",
    ),
    _add_up,
    x=numbers(ndim=1),
    shares=numbers(ndim=2),
)
def stacked_share(
    ax: Axes,
    x: Real[Array, " n"],
    shares: Real[Array, "n n_labels"],
    *,
    labels: Sequence[str] = tuple(KIND_COLOURS),
) -> Axes:
    """Shares that add up to one at every setting, as stacked bars; settings are evenly spaced.

    Shapes: x (n,), shares (n, n_labels).
    Raises: ValueError if the shapes do not match, or the shares are negative or do not add up to 1.
    """
    at, base = np.arange(len(x)), shares.cumsum(1) - shares
    for k, label in enumerate(labels):
        colour = KIND_COLOURS.get(label, SERIES[k % len(SERIES)])
        ax.bar(at, shares[:, k], bottom=base[:, k], color=colour, width=0.9, label=label)
    ax.set_xticks(at, [f"{value:.2g}" for value in x], rotation=45 if len(x) > 7 else 0)
    ax.tick_params(axis="x", length=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(ylim=(0, 1), xlim=(-0.6, len(x) - 0.4), xlabel=DENSITY_LABEL)
    return ax
