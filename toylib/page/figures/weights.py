"""The weights of one trained model: its features' directions, and its neurons."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from ...checks import Rule, a_number, checked, depending, must, number, optional, refuse
from .canvas import KIND_COLOURS, SMALL, Array, numbers


def _part(name: str, low: float, high: float) -> Colormap:
    """A colour map without its ends: too pale for white paper, or so dark that the hue is lost."""
    return LinearSegmentedColormap.from_list(name, matplotlib.colormaps[name](np.linspace(low, high, 256)))


SIGNED = _part("PuOr_r", 0.08, 0.92)  # purple below 0, orange above
FEATURES = _part("viridis", 0, 0.92)  # from the most important (dark) to the least
INTERFERENCE = _part("cividis_r", 0.1, 1)


def _not_negative(name: str, value: object) -> np.ndarray:
    values = numbers(ndim=1)(name, value)
    if values.min() < 0:
        refuse(f"{name} must be 0 or more", values.min())
    return values


def _kinds(weights: np.ndarray) -> Rule:
    n_hidden = len(weights)

    def rule(name: str, value: object) -> np.ndarray:
        codes = numbers(ndim=1)(name, value)
        if len(codes) != n_hidden or not np.isin(codes, range(len(KIND_COLOURS))).all():
            refuse(f"{name} must be 0, 1 or 2 for each of {n_hidden} neurons", codes.tolist())
        return codes.astype(int)

    return rule


def _bare(ax: Axes, **settings: Any) -> Axes:
    """The axes with these settings, without a frame or ticks."""
    ax.set(**settings)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


# --- features and directions -----------------------------------------------------------------------------


@checked(
    must(lambda W: len(W) == 2, "W must be (2, n_features); got shape {W:shape}"),
    must(
        lambda W, importance: importance is None or len(importance) == W.shape[1],
        "importance must have W's {W.shape[1]} entries; got {importance:len}",
    ),
    W=numbers(ndim=2),
    importance=optional(numbers(ndim=1)),
)
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
    rank = np.arange(W.shape[1])
    if importance is not None:
        rank = np.argsort(np.argsort(-importance, kind="stable"))
    colours = FEATURES(rank / max(1, rank.max()))
    limit = 1.15 * max(1.0, float(np.abs(W).max())) if limit is None else limit
    limit = number("limit", limit, above=0)
    ax.axhline(0, color="0.88", lw=0.8, zorder=0)
    ax.axvline(0, color="0.88", lw=0.8, zorder=0)
    ax.add_collection(LineCollection([[(0, 0), w] for w in W.T], colors=colours, linewidths=2))
    ax.scatter(W[0], W[1], c=colours, s=28, zorder=3)
    return _bare(ax, xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")


@checked(
    must(
        lambda W, b_final: len(b_final) == W.shape[1],
        "b_final must have W's n_features = {W.shape[1]} entries; got {b_final:len}",
    ),
    W=numbers(ndim=2),
    b_final=numbers(ndim=1),
)
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
    n = len(b_final)
    gap = max(1, round(n / 12))  # and the bias is as wide as the gap
    image = np.full((n, n + 2 * gap), np.nan)
    image[:, :n] = W.T @ W
    image[:, n + gap :] = b_final[:, None]
    limit = max(1.0, float(np.nanmax(np.abs(image)))) if limit is None else limit
    limit = number("limit", limit, above=0)
    ax.imshow(image, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    for left, wide in ((-0.5, n), (n + gap - 0.5, gap)):
        ax.add_patch(Rectangle((left, -0.5), wide, n, fill=False, edgecolor="0.7", lw=0.8, clip_on=False))
    ticks = [(n - 1) / 2, n + 1.5 * gap - 0.5]
    return _bare(ax, xticks=ticks, xticklabels=["$W^TW$", "$b$"], yticks=[])


@checked(
    must(
        lambda norm, interference: len(norm) == len(interference),
        "norm, interference must be equally long; got [{norm:len}, {interference:len}]",
    ),
    norm=_not_negative,
    interference=_not_negative,
)
def norm_and_interference(
    ax: Axes, norm: Real[Array, " n_features"], interference: Real[Array, " n_features"]
) -> Axes:
    """A bar for every feature: as long as its norm, darker the more other features lie in its way.

    Shapes: norm, interference (n_features,).
    Units:  interference is coloured from 0 to 1 and more; `interference_scale` draws the scale.
    Raises: ValueError if they are not equally long, or negative.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    ax.barh(np.arange(len(norm)), norm, color=INTERFERENCE(np.clip(interference, 0, 1)), height=0.86)
    ax.axvline(1, color="0.5", lw=0.8, ls=":")
    ax.set(ylim=(len(norm) - 0.4, -0.6), xlim=(0, max(1.35, 1.05 * norm.max())), yticks=[])
    ax.set(xlabel=r"norm $\|W_i\|$", ylabel="feature, most important on top")
    return ax


def interference_scale(fig: Figure, axes: Any) -> None:
    """The colour scale of `norm_and_interference`, beside the axes."""
    mappable = ScalarMappable(Normalize(0, 1), cmap=INTERFERENCE)
    bar = fig.colorbar(mappable, ax=axes, label="interference", extend="max", aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)


# --- neurons ---------------------------------------------------------------------------------------------


@checked(weights=numbers(ndim=2), kinds=depending(lambda weights: optional(_kinds(weights))))
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
    if kinds is not None:
        under = ax.get_xaxis_transform() + ScaledTranslation(0, -8 / 72, ax.figure.dpi_scale_trans)
        size = 4 if len(neurons) <= 40 else 2.5
        for code in np.unique(kinds):  # lines, because the layout leaves room for them and for a scatter not
            at, colour = neurons[kinds == code], list(KIND_COLOURS.values())[code]
            ax.plot(at, 0 * at, "s", color=colour, ms=size, mew=0, clip_on=False, transform=under)
        ax.xaxis.labelpad = 14  # room for the marks
        ax.spines["bottom"].set_visible(False)
    return ax


@checked(
    must(
        lambda W_in, W_out: W_out is None or W_out.shape == W_in.shape[::-1],
        "W_out must be ({W_in.shape[1]}, {W_in.shape[0]}), W_in's shape turned; got {W_out:shape}",
    ),
    W_in=numbers(ndim=2),
    W_out=optional(numbers(ndim=2)),
    threshold=a_number(at_least=0, at_most=1),
)
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
    n_hidden, n_features = W_in.shape
    layers = [(W_in, 2.0)]
    if W_out is not None:
        layers.append((W_out.T, 0.0))
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
    ax.set(yticks=[0, 1, 2], yticklabels=["outputs", "neurons", "features"])
    return _bare(ax, xticks=[], xlim=(0, 1), ylim=(-0.2 if len(layers) > 1 else 0.8, 2.2))
