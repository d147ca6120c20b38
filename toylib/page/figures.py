"""Figures of toy models: axes in, axes out.

Functions take arrays (torch or numpy) and draw them; they compute no statistic, show nothing and change
no global setting. Kinds and series are in Okabe and Ito's colours, amounts in viridis or cividis, signs
in purple and orange: all of them can be told apart by colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from matplotlib.transforms import ScaledTranslation
from torch import Tensor

from .. import checks

Array = Tensor | np.ndarray


def _part(name: str, low: float, high: float) -> Colormap:
    """A colour map without its ends: too pale for white paper, or so dark that the hue is lost."""
    return LinearSegmentedColormap.from_list(name, matplotlib.colormaps[name](np.linspace(low, high, 256)))


KIND_COLOURS = {"dead": "#BBBBBB", "monosemantic": "#0072B2", "polysemantic": "#D55E00"}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
PHASE_COLOURS = ("#E6E6E6", "#56B4E9", "#D55E00", "#F0E442")
SIGNED = _part("PuOr_r", 0.08, 0.92)  # purple below 0, orange above
FEATURES = _part("viridis", 0, 0.92)  # from the most important (dark) to the least
INTERFERENCE = _part("cividis_r", 0.1, 1)
PLATEAUS = {1: "1", 3 / 4: "3/4", 2 / 3: "2/3", 1 / 2: "1/2", 2 / 5: "2/5", 3 / 8: "3/8", 0: "0"}
DENSITY_LABEL = "density $1-S$ (sparser to the right)"
SMALL = 8.5  # points: ticks, legends, notes
STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


# --- what the figures share ------------------------------------------------------------------------------


def _array(name: str, value: object, ndim: int) -> np.ndarray:
    return checks.array(name, value.detach().cpu() if isinstance(value, Tensor) else value, ndim=ndim)


def _same_length(**arrays: np.ndarray) -> None:
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{', '.join(lengths)} must be equally long; got {list(lengths.values())}")


def _positive(**arrays: np.ndarray) -> None:
    for name, values in arrays.items():
        if values.min() <= 0:
            raise ValueError(f"{name} must be positive, for its log scale; got {values.min()}")


def _kinds(kinds: object, n_hidden: int) -> np.ndarray:
    codes = _array("kinds", kinds, 1)
    if len(codes) != n_hidden or not np.isin(codes, range(len(KIND_COLOURS))).all():
        raise ValueError(f"kinds must be 0, 1 or 2 for each of {n_hidden} neurons; got {codes.tolist()}")
    return codes.astype(int)


def _plain_log(ax: Axes, *axes: str) -> None:
    """Log scales that read 1, 0.1, 0.01."""
    ax.set(**{f"{name}scale": "log" for name in axes})
    for axis in (getattr(ax, f"{name}axis") for name in axes):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _log_edges(centres: np.ndarray) -> np.ndarray:
    """Edges of the cells around the centres, so that cells are as wide on paper at the ends as inside."""
    if len(centres) == 1:
        return centres[0] * np.array([0.9, 1.1])
    middle = np.sqrt(centres[1:] * centres[:-1])
    return np.r_[centres[0] ** 2 / middle[0], middle, centres[-1] ** 2 / middle[-1]]


def _bare(ax: Axes) -> None:
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def figure(
    n_rows: int = 1, n_cols: int = 1, *, width: float = 7.0, height: float | None = None, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the book's style and its axes, as from plt.subplots, which gets the other options.

    Units:  inches.
    Raises: ValueError for sizes that are not positive.
    """
    width = checks.number("width", width, above=0)
    if height is None:
        height = width * 0.45 * n_rows / n_cols**0.5
    height = checks.number("height", height, above=0)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(n_rows, n_cols, figsize=(width, height), layout="constrained", **options)
    for ax in fig.axes:
        ax.tick_params(labelsize=SMALL)  # ticks are made later, when the style no longer holds
    return fig, axes


def legend(ax: Axes, **options: Any) -> Axes:
    """The labels drawn so far, small and without a frame; options as for ax.legend."""
    ax.legend(**{"fontsize": SMALL, "frameon": False, **options})
    return ax


def interference_scale(fig: Figure, axes: Any) -> None:
    """The colour scale of `norm_and_interference`, beside the axes."""
    mappable = ScalarMappable(Normalize(0, 1), cmap=INTERFERENCE)
    bar = fig.colorbar(mappable, ax=axes, label="interference", extend="max", aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)


def falling_density(ax: Axes) -> Axes:
    """A log axis of density from dense to sparse, whatever is drawn on it."""
    _plain_log(ax, "x")
    ax.set_xlabel(DENSITY_LABEL)
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    return ax


# --- features and directions -----------------------------------------------------------------------------


def feature_vectors(
    ax: Axes,
    W: Real[Array, "2 n_features"],
    *,
    importance: Real[Array, " n_features"] | None = None,
    limit: float | None = None,
) -> Axes:
    """The features' directions in a plane, from the most important (dark) to the least (light).

    Features are taken to be in order of importance unless importance says otherwise.

    Shapes: W (2, n_features), importance (n_features,).
    Raises: ValueError if W is not (2, n_features), importance is not as long, or limit is not positive.
    Source: Elhage et al. 2022, 'Demonstrating Superposition', the pentagon figure.
    """
    W = _array("W", W, 2)
    if W.shape[0] != 2:
        raise ValueError(f"W must be (2, n_features); got shape {W.shape}")
    rank = np.arange(W.shape[1])
    if importance is not None:
        importance = _array("importance", importance, 1)
        if len(importance) != W.shape[1]:
            raise ValueError(f"importance must have W's {W.shape[1]} entries; got {len(importance)}")
        rank = np.argsort(np.argsort(-importance, kind="stable"))
    colours = FEATURES(rank / max(1, rank.max()))
    limit = 1.15 * max(1.0, float(np.abs(W).max())) if limit is None else limit
    limit = checks.number("limit", limit, above=0)
    ax.axhline(0, color="0.88", lw=0.8, zorder=0)
    ax.axvline(0, color="0.88", lw=0.8, zorder=0)
    ax.add_collection(LineCollection([[(0, 0), w] for w in W.T], colors=colours, linewidths=2))
    ax.scatter(W[0], W[1], c=colours, s=28, zorder=3)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
    _bare(ax)
    return ax


def weights_and_bias(
    ax: Axes,
    W: Real[Array, "n_hidden n_features"],
    b_final: Real[Array, " n_features"],
    *,
    limit: float | None = None,
) -> Axes:
    """W^T W and, behind a gap, the bias, on one signed scale: purple below 0, orange above.

    Shapes: W (n_hidden, n_features), b_final (n_features,).
    Raises: ValueError if the shapes do not match or limit is not positive.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    W, b = _array("W", W, 2), _array("b_final", b_final, 1)
    if len(b) != W.shape[1]:
        raise ValueError(f"b_final must have W's n_features = {W.shape[1]} entries; got {len(b)}")
    n = len(b)
    gap = max(1, round(n / 12))  # and the bias is as wide as the gap
    image = np.full((n, n + 2 * gap), np.nan)
    image[:, :n] = W.T @ W
    image[:, n + gap :] = b[:, None]
    limit = max(1.0, float(np.nanmax(np.abs(image)))) if limit is None else limit
    limit = checks.number("limit", limit, above=0)
    ax.imshow(image, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    for left, wide in ((-0.5, n), (n + gap - 0.5, gap)):
        ax.add_patch(Rectangle((left, -0.5), wide, n, fill=False, edgecolor="0.7", lw=0.8, clip_on=False))
    ax.set(xticks=[(n - 1) / 2, n + 1.5 * gap - 0.5], xticklabels=["$W^TW$", "$b$"], yticks=[])
    _bare(ax)
    return ax


def norm_and_interference(
    ax: Axes, norm: Real[Array, " n_features"], interference: Real[Array, " n_features"]
) -> Axes:
    """A bar for every feature: as long as its norm, darker the more other features lie in its way.

    Shapes: norm, interference (n_features,).
    Units:  interference is coloured from 0 to 1 and more; `interference_scale` draws the scale.
    Raises: ValueError if they are not equally long, or negative.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    norm, interference = _array("norm", norm, 1), _array("interference", interference, 1)
    _same_length(norm=norm, interference=interference)
    for name, values in (("norm", norm), ("interference", interference)):
        if values.min() < 0:
            raise ValueError(f"{name} must be 0 or more; got {values.min()}")
    ax.barh(np.arange(len(norm)), norm, color=INTERFERENCE(np.clip(interference, 0, 1)), height=0.86)
    ax.axvline(1, color="0.5", lw=0.8, ls=":")
    ax.set(ylim=(len(norm) - 0.4, -0.6), xlim=(0, max(1.35, 1.05 * norm.max())), yticks=[])
    ax.set(xlabel=r"norm $\|W_i\|$", ylabel="feature, most important on top")
    return ax


def dimensionality(ax: Axes, x: Real[Array, " n"], D: Real[Array, "n n_features"]) -> Axes:
    """Every feature's dimensionality at every setting, with lines where regular shapes would lie.

    Shapes: x (n,), 1 / density in the paper; D (n, n_features).
    Raises: ValueError if the shapes do not match or x is not positive.
    Source: Elhage et al. 2022, 'Feature Dimensionality'.
    """
    x, D = _array("x", x, 1), _array("D", D, 2)
    _same_length(x=x, D=D)
    _positive(x=x)
    for level, name in PLATEAUS.items():
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
        align = {2 / 5: "bottom", 3 / 8: "top"}.get(level, "center")  # these two lie close together
        ax.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va=align, fontsize=SMALL)
    ax.plot(np.repeat(x, D.shape[1]), D.ravel(), ".", ms=5, alpha=0.3, color=SERIES[0], mew=0)
    _plain_log(ax, "x")
    ax.set(ylim=(-0.05, 1.05), xlabel="1 / density (sparser to the right)", ylabel="feature dimensionality")
    return ax


# --- neurons ---------------------------------------------------------------------------------------------


def neuron_stack(
    ax: Axes,
    weights: Real[Array, "n_hidden n_features"],
    *,
    kinds: Real[Array, " n_hidden"] | None = None,
) -> Axes:
    """Each neuron as a stack of its weights by feature, above 0 if positive and below if negative.

    A colour is a feature, from the most important (dark) to the least (light). With kinds (0 dead,
    1 monosemantic, 2 polysemantic) a mark under each neuron says what it is. Weights are drawn as they are;
    the paper divides each neuron's by its largest.

    Shapes: weights (n_hidden, n_features), kinds (n_hidden,).
    Raises: ValueError if the shapes do not match or a kind is not 0, 1 or 2.
    Source: Elhage et al. 2022, 'Superposition in a Privileged Basis', the stack plots.
    """
    weights = _array("weights", weights, 2)
    codes = None if kinds is None else _kinds(kinds, len(weights))
    neurons = np.arange(len(weights))
    colours = FEATURES(np.linspace(0, 1, weights.shape[1]))
    edge = min(0.4, 4 / (len(neurons) * len(colours)) ** 0.5)  # thin enough not to whiten many small pieces
    for part in (np.clip(weights, None, 0), np.clip(weights, 0, None)):
        top = part.cumsum(1)
        for i, colour in enumerate(colours):
            at = neurons[part[:, i] != 0]
            height, base = part[at, i], top[at, i] - part[at, i]
            ax.bar(at, height, bottom=base, color=colour, width=0.8, edgecolor="white", lw=edge)
    ax.margins(y=0.04)  # and no limits: axes that share their scale must hold each other's stacks
    ax.axhline(0, color="0.3", lw=0.8)
    ax.set(xticks=[], xlim=(-0.6, len(weights) - 0.4))
    ax.set(xlabel="neurons", ylabel="weight")
    if codes is not None:
        under = ax.get_xaxis_transform() + ScaledTranslation(0, -8 / 72, ax.figure.dpi_scale_trans)
        size = 4 if len(neurons) <= 40 else 2.5
        for code in np.unique(codes):  # lines, because the layout leaves room for them and for a scatter not
            at, colour = neurons[codes == code], list(KIND_COLOURS.values())[code]
            ax.plot(at, 0 * at, "s", color=colour, ms=size, mew=0, clip_on=False, transform=under)
        ax.xaxis.labelpad = 14  # room for the marks
        ax.spines["bottom"].set_visible(False)
    return ax


def neuron_feature_graph(
    ax: Axes,
    W_in: Real[Array, "n_hidden n_features"],
    W_out: Real[Array, "n_features n_hidden"] | None = None,
    *,
    threshold: float = 0.1,
) -> Axes:
    """Features above, neurons in the middle, outputs below; a line for every weight that counts.

    Wider is larger; positive weights are orange, negative ones purple and dashed. Without W_out the outputs
    are left out.

    Shapes: W_in (n_hidden, n_features), W_out (n_features, n_hidden).
    Units:  threshold: share of the layer's largest weight, below which no line is drawn.
    Raises: ValueError if the shapes do not match or threshold is not in [0, 1].
    Source: Elhage et al. 2022, 'Computation in Superposition', the weight diagrams.
    """
    W_in = _array("W_in", W_in, 2)
    n_hidden, n_features = W_in.shape
    threshold = checks.number("threshold", threshold, at_least=0, at_most=1)
    layers = [(W_in, 2.0)]
    if W_out is not None:
        out = _array("W_out", W_out, 2)
        if out.shape != (n_features, n_hidden):
            raise ValueError(f"W_out must be {(n_features, n_hidden)}, W_in's shape turned; got {out.shape}")
        layers.append((out.T, 0.0))
    feature_x, neuron_x = ((np.arange(n) + 0.5) / n for n in (n_features, n_hidden))
    for weights, feature_y in layers:
        strength = weights / max(float(np.abs(weights).max()), 1e-12)
        drawn = np.argwhere((np.abs(strength) > threshold) & (strength != 0))
        drawn = drawn[np.argsort(np.abs(strength[tuple(drawn.T)]))]  # the strongest on top
        values = strength[tuple(drawn.T)]
        lines = LineCollection(
            [[(feature_x[i], feature_y), (neuron_x[j], 1.0)] for j, i in drawn],
            colors=[SIGNED(1.0 if value > 0 else 0.0) for value in values],
            linewidths=0.4 + 2.6 * np.abs(values),
            linestyles=["-" if value > 0 else (0, (2.5, 1.2)) for value in values],
            zorder=1,
        )
        ax.add_collection(lines)
        shade = FEATURES(np.linspace(0, 1, n_features))
        ax.scatter(feature_x, np.full(n_features, feature_y), c=shade, s=45, zorder=2)
    ax.scatter(neuron_x, np.ones(n_hidden), c="white", edgecolors="0.2", marker="s", s=55, zorder=2)
    ax.set(xticks=[], yticks=[0, 1, 2], yticklabels=["outputs", "neurons", "features"])
    ax.set(xlim=(0, 1), ylim=(-0.2 if len(layers) > 1 else 0.8, 2.2))
    _bare(ax)
    return ax


# --- along a setting -------------------------------------------------------------------------------------


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
    density, importance = _array("density", density, 1), _array("importance", importance, 1)
    values = _array("values", values, 2)
    if values.shape != (len(importance), len(density)):
        raise ValueError(f"values must be {(len(importance), len(density))}; got shape {values.shape}")
    _positive(density=density, importance=importance)
    for name, along in (("density", density), ("importance", importance)):
        if not ((np.diff(along) > 0).all() or (np.diff(along) < 0).all()):
            raise ValueError(f"{name} must rise or fall all along; got {along.tolist()}")
    if not 1 <= len(labels) <= len(PHASE_COLOURS):
        raise ValueError(f"labels must be 1 to {len(PHASE_COLOURS)} names; got {len(labels)}")
    if not np.isin(values, range(len(labels))).all():
        wrong = values[~np.isin(values, range(len(labels)))][0]
        raise ValueError(f"values must be the labels' codes 0 to {len(labels) - 1}; got {wrong}")
    colours = PHASE_COLOURS[: len(labels)]
    cells = _log_edges(density), _log_edges(importance), values
    ax.pcolormesh(*cells, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(labels) - 0.5)
    _plain_log(ax, "x", "y")
    ax.set(xlabel="density $1-S$", ylabel="relative importance")
    ax.set_xlim(_log_edges(density).max(), _log_edges(density).min())
    return ax


def phase_legend(fig: Figure, labels: Sequence[str], n_cols: int) -> None:
    """The colours of `phase_diagram` by name, below all axes of a figure.

    Raises: ValueError for more labels than colours.
    """
    if len(labels) > len(PHASE_COLOURS):
        raise ValueError(f"labels must be {len(PHASE_COLOURS)} or fewer; got {len(labels)}")
    handles = [Patch(color=colour, label=name) for colour, name in zip(PHASE_COLOURS, labels, strict=False)]
    fig.legend(handles=handles, loc="outside lower center", ncols=n_cols, frameon=False, fontsize=SMALL)


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
    x, estimate = _array("x", x, 1), _array("estimate", estimate, 1)
    _same_length(x=x, estimate=estimate)
    if density_axis:
        _positive(x=x)
    if (low is None) != (high is None):
        raise ValueError(f"low and high must be given together; got only {'high' if low is None else 'low'}")
    if low is not None:
        low, high = _array("low", low, 1), _array("high", high, 1)
        _same_length(x=x, low=low, high=high)
        if (low > high).any():
            raise ValueError(f"low must not be above high; got {low[low > high][0]} > {high[low > high][0]}")
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(x, estimate, **{"marker": "o", "ms": 3.5, "lw": 1.5, "color": colour, "label": label, **options})
    ax.grid(axis="y", color="0.92", lw=0.8)
    ax.set_axisbelow(True)
    return falling_density(ax) if density_axis else ax


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
    x, samples = _array("x", x, 1), _array("samples", samples, 2)
    _same_length(x=x, samples=samples)
    q = np.quantile(samples, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    for low, high, alpha in ((q[0], q[4], 0.15), (q[1], q[3], 0.3)):
        ax.fill_between(x, low, high, color=SERIES[0], alpha=alpha, lw=0)
    return trend(ax, x, q[2], label=label, density_axis=False)


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
    x, shares = _array("x", x, 1), _array("shares", shares, 2)
    if shares.shape != (len(x), len(labels)):
        raise ValueError(f"shares must be {(len(x), len(labels))}; got shape {shares.shape}")
    if shares.min() < 0 or np.abs(shares.sum(1) - 1).max() > 1e-3:
        raise ValueError(f"shares must be 0 or more and add up to 1; got {shares.min()}, {shares.sum(1)}")
    at, base = np.arange(len(x)), shares.cumsum(1) - shares
    for k, label in enumerate(labels):
        colour = KIND_COLOURS.get(label, SERIES[k % len(SERIES)])
        ax.bar(at, shares[:, k], bottom=base[:, k], color=colour, width=0.9, label=label)
    ax.set_xticks(at, [f"{value:.2g}" for value in x], rotation=45 if len(x) > 7 else 0)
    ax.tick_params(axis="x", length=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(ylim=(0, 1), xlim=(-0.6, len(x) - 0.4), xlabel=DENSITY_LABEL)
    return ax
