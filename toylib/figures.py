"""Figures of toy models: axes in, axes out.

Functions take arrays (torch or numpy) and draw them; they compute no statistic, show nothing and change
no global setting. Colours are Okabe and Ito's for kinds, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from . import checks

KIND_COLOURS = {"dead": "#BBBBBB", "monosemantic": "#0072B2", "polysemantic": "#D55E00"}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
PHASE_COLOURS = ("#FFFFFF", "#56B4E9", "#D55E00")
SIGNED = "PuOr_r"
PLATEAUS = {1: "1", 3 / 4: "3/4", 2 / 3: "2/3", 1 / 2: "1/2", 2 / 5: "2/5", 3 / 8: "3/8", 0: "0"}
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "legend.frameon": False,
}


def _array(name: str, value: object, ndim: int | tuple[int, ...]) -> np.ndarray:
    return checks.array(name, value.detach().cpu() if isinstance(value, Tensor) else value, ndim=ndim)


def _same_length(**arrays: np.ndarray) -> None:
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{', '.join(lengths)} must be equally long; got {list(lengths.values())}")


def figure(
    n_rows: int = 1, n_cols: int = 1, *, width: float = 7.0, height: float | None = None, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the book's style and its axes, as from plt.subplots. Sizes in inches.

    Raises: ValueError for sizes that are not positive.
    """
    checks.number("width", width, above=0)
    height = checks.number(
        "height", width * 0.45 * n_rows / n_cols**0.5 if height is None else height, above=0
    )
    with plt.rc_context(STYLE):
        return plt.subplots(n_rows, n_cols, figsize=(width, height), layout="constrained", **options)


def _feature_colours(n_features: int) -> np.ndarray:
    return plt.get_cmap("viridis")(np.linspace(0, 0.92, n_features))


def feature_vectors(ax: Axes, W: Any, *, limit: float | None = None) -> Axes:
    """The features' directions in a plane, from the most important (dark) to the least (light).

    Shapes: W (2, n_features).
    Raises: ValueError if W is not (2, n_features).
    Source: Elhage et al. 2022, 'Demonstrating Superposition', the pentagon figure.
    """
    W = _array("W", W, 2)
    if W.shape[0] != 2:
        raise ValueError(f"W must be (2, n_features); got shape {W.shape}")
    colours = _feature_colours(W.shape[1])
    segments = [((0, 0), tuple(w)) for w in W.T]
    ax.add_collection(LineCollection(segments, colors=colours, linewidths=2))
    ax.scatter(W[0], W[1], c=colours, s=22, zorder=3)
    limit = limit or 1.15 * max(1.0, float(np.abs(W).max()))
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    ax.axhline(0, color="0.85", lw=0.8, zorder=0)
    ax.axvline(0, color="0.85", lw=0.8, zorder=0)
    return ax


def weights_and_bias(ax: Axes, W: Any, b_final: Any, *, limit: float | None = None) -> Axes:
    """W^T W and, behind a gap, the bias, on one signed scale: purple below 0, orange above.

    Shapes: W (n_hidden, n_features), b_final (n_features,).
    Raises: ValueError if the shapes do not match.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    W, b = _array("W", W, 2), _array("b_final", b_final, 1)
    if len(b) != W.shape[1]:
        raise ValueError(f"b_final must have W's n_features = {W.shape[1]} entries; got {len(b)}")
    n = len(b)
    gap = max(1, round(n / 12))
    image = np.full((n, n + 2 * gap), np.nan)
    image[:, :n] = W.T @ W
    image[:, n + gap :] = b[:, None]
    limit = limit or float(max(1.0, np.nanmax(np.abs(image))))
    ax.imshow(image, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(xticks=[(n - 1) / 2, n + 1.5 * gap - 0.5], xticklabels=["$W^TW$", "$b$"], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def norm_and_interference(ax: Axes, norm: Any, interference: Any) -> Axes:
    """A bar for every feature: as long as its norm, darker the more other features lie in its way.

    Shapes: norm, interference (n_features,). Units: interference is coloured from 0 to 1 and more.
    Raises: ValueError if they are not equally long.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    norm, interference = _array("norm", norm, 1), _array("interference", interference, 1)
    _same_length(norm=norm, interference=interference)
    colours = plt.get_cmap("cividis_r")(np.clip(interference, 0, 1))
    ax.barh(np.arange(len(norm)), norm, color=colours, height=0.86)
    ax.axvline(1, color="0.6", lw=0.8, ls=":")
    ax.set(ylim=(len(norm) - 0.4, -0.6), xlim=(0, 1.35), yticks=[], xlabel="norm")
    return ax


def interference_scale(fig: Figure, axes: Any) -> None:
    """The colour scale of `norm_and_interference`, beside the axes."""
    mappable = plt.cm.ScalarMappable(Normalize(0, 1), cmap="cividis_r")
    fig.colorbar(mappable, ax=axes, label="interference (1 and more: dark)", shrink=0.8, pad=0.02)


def neuron_stack(ax: Axes, weights: Any, *, kinds: Sequence[int] | Any | None = None) -> Axes:
    """Each neuron as a stack of its weights by feature, above 0 if positive and below if negative.

    A colour is a feature, from the most important (dark) to the least (light). With kinds (0 dead,
    1 monosemantic, 2 polysemantic) a mark under each neuron says what it is.

    Shapes: weights (n_hidden, n_features), kinds (n_hidden,).
    Raises: ValueError if the shapes do not match.
    Source: Elhage et al. 2022, 'Superposition in a Privileged Basis', the stack plots.
    """
    weights = _array("weights", weights, 2)
    neurons = np.arange(len(weights))
    colours = _feature_colours(weights.shape[1])
    for part in (np.clip(weights, 0, None), np.clip(weights, None, 0)):
        base = np.zeros(len(weights))
        for i, colour in enumerate(colours):
            ax.bar(neurons, part[:, i], bottom=base, color=colour, width=0.8, edgecolor="white", lw=0.4)
            base += part[:, i]
    ax.axhline(0, color="0.3", lw=0.8)
    ax.set(xticks=[], xlim=(-0.6, len(weights) - 0.4))
    if kinds is not None:
        codes = _array("kinds", kinds, 1)
        _same_length(weights=weights, kinds=codes)
        names = list(KIND_COLOURS)
        for kind, name in enumerate(names):
            at = neurons[codes == kind]
            ax.plot(
                at,
                np.full(len(at), -0.05),
                marker="s",
                ms=4,
                ls="",
                color=KIND_COLOURS[name],
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                label=name,
            )
    return ax


def kind_legend(ax: Axes, **options: Any) -> Axes:
    """A legend of the three kinds of neuron."""
    handles = [Patch(color=colour, label=name) for name, colour in KIND_COLOURS.items()]
    ax.legend(handles=handles, **{"fontsize": 8, **options})
    return ax


def neuron_feature_graph(ax: Axes, W_in: Any, W_out: Any | None = None, *, threshold: float = 0.1) -> Axes:
    """Features above, neurons in the middle, outputs below; a line for every weight that counts.

    Wider is larger; orange is positive, purple negative. Without W_out the outputs are left out.

    Shapes: W_in (n_hidden, n_features), W_out (n_features, n_hidden). threshold: share of the largest.
    Raises: ValueError if the shapes do not match or the threshold is not in [0, 1].
    Source: Elhage et al. 2022, 'Computation in Superposition', the weight diagrams.
    """
    W_in = _array("W_in", W_in, 2)
    threshold = checks.number("threshold", threshold, at_least=0, at_most=1)
    layers = [(W_in, 2.0, 1.0)]
    if W_out is not None:
        out = _array("W_out", W_out, 2)
        if out.shape != W_in.shape[::-1]:
            raise ValueError(f"W_out must be {W_in.shape[::-1]}, W_in's shape turned; got {out.shape}")
        layers.append((out.T, 0.0, 1.0))
    n_hidden, n_features = W_in.shape
    feature_x, neuron_x = np.linspace(0, 1, n_features + 2)[1:-1], np.linspace(0, 1, n_hidden + 2)[1:-1]
    for weights, y_feature, y_neuron in layers:
        largest = max(float(np.abs(weights).max()), 1e-12)
        for j, i in zip(*np.nonzero(np.abs(weights) > threshold * largest), strict=True):
            strength = weights[j, i] / largest
            ax.plot(
                [feature_x[i], neuron_x[j]],
                [y_feature, y_neuron],
                color=SERIES[1] if strength > 0 else "#5E3C99",
                lw=0.4 + 2.6 * abs(strength),
                solid_capstyle="round",
                zorder=1,
            )
        ax.scatter(feature_x, [y_feature] * n_features, c=_feature_colours(n_features), s=45, zorder=2)
    ax.scatter(neuron_x, [1.0] * n_hidden, c="white", edgecolors="0.2", marker="s", s=60, zorder=2)
    names = ["outputs", "neurons", "features"]
    ax.set(xticks=[], yticks=[0, 1, 2], yticklabels=names, ylim=(-0.2 if len(layers) > 1 else 0.8, 2.2))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def phase_diagram(
    ax: Axes, density: Any, importance: Any, values: Any, *, labels: Sequence[str] | None = None
) -> Axes:
    """A setting in every cell: density falls to the right, relative importance rises upwards, log scales.

    Codes 0, 1, 2, ... get the labels' colours: white, blue, orange. Without labels, values are drawn on a
    continuous scale.

    Shapes: density (n_density,) and importance (n_importance,), ascending or descending;
            values (n_importance, n_density).
    Raises: ValueError if the shapes do not match or density or importance is not positive.
    Source: Elhage et al. 2022, 'Superposition as a Phase Change'.
    """
    density, importance = _array("density", density, 1), _array("importance", importance, 1)
    values = _array("values", values, 2)
    if values.shape != (len(importance), len(density)):
        raise ValueError(f"values must be {(len(importance), len(density))}; got shape {values.shape}")
    if min(density.min(), importance.min()) <= 0:
        raise ValueError("density and importance must be positive, for the log scales")
    options: dict[str, Any] = {"cmap": "cividis"}
    if labels is not None:
        colours = ListedColormap(PHASE_COLOURS[: len(labels)])
        options = {"cmap": colours, "vmin": -0.5, "vmax": len(labels) - 0.5}
        handles = [
            Patch(facecolor=colour, edgecolor="0.6", label=label)
            for label, colour in zip(labels, PHASE_COLOURS, strict=False)
        ]
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8, frameon=False)
    ax.pcolormesh(density, importance, values, shading="nearest", **options)
    ax.set(xscale="log", yscale="log", xlabel="density $1-S$", ylabel="relative importance")
    ax.set_xlim(density.max(), density.min())
    return ax


def trend(
    ax: Axes,
    x: Any,
    estimate: Any,
    low: Any | None = None,
    high: Any | None = None,
    *,
    label: str | None = None,
    colour: str = SERIES[0],
    density_axis: bool = True,
    **options: Any,
) -> Axes:
    """Estimates with their intervals along a setting, a point for each.

    With density_axis, x is a density, drawn on a log scale from dense (left) to sparse (right).

    Shapes: x, estimate, low, high (n,).
    Raises: ValueError if they are not equally long.
    """
    x, estimate = _array("x", x, 1), _array("estimate", estimate, 1)
    _same_length(x=x, estimate=estimate)
    if low is not None and high is not None:
        low, high = _array("low", low, 1), _array("high", high, 1)
        _same_length(x=x, low=low, high=high)
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(x, estimate, **{"marker": "o", "ms": 3.5, "lw": 1.4, "color": colour, "label": label, **options})
    if density_axis:
        falling_density(ax)
    return ax


def falling_density(ax: Axes) -> Axes:
    """A log axis of density from dense to sparse, whatever is drawn on it."""
    ax.set(xscale="log", xlabel="density $1-S$ (sparser to the right)")
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    return ax


def stacked_share(ax: Axes, x: Any, shares: Any, *, labels: Sequence[str] = tuple(KIND_COLOURS)) -> Axes:
    """Shares that add up to one at every setting, as stacked bars; settings are evenly spaced.

    Shapes: x (n,), shares (n, n_labels).
    Raises: ValueError if the shapes do not match or shares are negative.
    """
    x, shares = _array("x", x, 1), _array("shares", shares, 2)
    if shares.shape != (len(x), len(labels)) or shares.min() < 0:
        raise ValueError(f"shares must be {(len(x), len(labels))} and 0 or more; got shape {shares.shape}")
    base = np.zeros(len(x))
    for k, label in enumerate(labels):
        colour = KIND_COLOURS.get(label, SERIES[k % len(SERIES)])
        ax.bar(np.arange(len(x)), shares[:, k], bottom=base, color=colour, width=0.9, label=label)
        base += shares[:, k]
    ax.set_xticks(np.arange(len(x)), [f"{value:.2g}" for value in x], rotation=45)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(ylim=(0, 1), xlim=(-0.6, len(x) - 0.4), xlabel="density $1-S$ (sparser to the right)")
    return ax


def distribution(
    ax: Axes, x: Any, samples: Any, *, colour: str = SERIES[0], label: str | None = None
) -> Axes:
    """Many seeds at every setting: the median as a line, the middle half and the middle nine tenths as bands.

    Shapes: x (n,), samples (n, n_seeds).
    Raises: ValueError if the shapes do not match.
    """
    x, samples = _array("x", x, 1), _array("samples", samples, 2)
    _same_length(x=x, samples=samples)
    q = np.quantile(samples, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    ax.fill_between(x, q[0], q[4], color=colour, alpha=0.15, lw=0)
    ax.fill_between(x, q[1], q[3], color=colour, alpha=0.3, lw=0)
    ax.plot(x, q[2], color=colour, lw=1.4, marker="o", ms=3.5, label=label)
    return ax


def dimensionality(ax: Axes, x: Any, D: Any) -> Axes:
    """Every feature's dimensionality at every setting, with lines where regular shapes would lie.

    Shapes: x (n,) (1 / density in the paper), D (n, n_features).
    Raises: ValueError if the shapes do not match.
    Source: Elhage et al. 2022, 'Feature Dimensionality'.
    """
    x, D = _array("x", x, 1), _array("D", D, 2)
    _same_length(x=x, D=D)
    for level, name in PLATEAUS.items():
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
        align = {2 / 5: "bottom", 3 / 8: "top"}.get(level, "center")  # these two lie close together
        ax.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va=align, fontsize=8)
    ax.plot(np.repeat(x, D.shape[1]), D.ravel(), ".", ms=3, alpha=0.25, color=SERIES[0], mew=0)
    ax.set(xscale="log", ylim=(-0.05, 1.05), xlabel="1 / density", ylabel="feature dimensionality")
    return ax
