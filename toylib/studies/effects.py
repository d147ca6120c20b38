"""What the knobs of a factorial do: ranges, shares of variance, what is needed, and their intervals.

An outcome has an axis for every knob, in order, and streams of inputs last. Streams are what is random: they
are resampled together in all cells, which saw the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Real

from .. import evidence
from ..checks import a_number, an_array, checked, must
from ..evidence import Interval

LEVELS = np.linspace(0, 1, 11)  # shares at which the frontier of losses is kept
FLOOR = 1e-3  # of the null's loss: added to losses before they are compared


class Record(NamedTuple):
    """A factorial as it is stored.

    Shapes: outcomes, each (levels of each knob.., n_streams); frontier (levels of each knob of the
            problem.., n_streams, len(LEVELS)): the lowest price of a layer that shares no more than that.
    """

    knobs: dict[str, list[Any]]
    outcomes: dict[str, np.ndarray]
    frontier: np.ndarray


def unpack(stored: Mapping[str, Any]) -> Record:
    """A record from what its file holds; numbers are stored in thousandths."""
    knobs = dict(stored["knobs"])
    shape = [len(levels) for levels in knobs.values()]
    outcomes = {name: np.reshape(rows, (*shape, -1)) / 1000 for name, rows in stored["outcomes"].items()}
    problem = [len(levels) for name, levels in knobs.items() if name not in stored["training_knobs"]]
    frontier = np.reshape(stored["frontier"], (*problem, -1, len(LEVELS))) / 1000
    return Record(knobs, outcomes, frontier)


@checked(null=a_number(above=0))
def price(loss: Any, least: Any, null: float) -> Any:
    """Loss over the least of the problem, each with a thousandth of the null's loss added to it."""
    return (loss + FLOOR * null) / (least + FLOOR * null)


_pairs = must(
    lambda share, cost: share.shape == cost.shape and len(share) > 0,
    "share and cost must be equally long, 1 or more; got {share:shape} and {cost:shape}",
)


@checked(_pairs, share=an_array(ndim=1), cost=an_array(ndim=1))
def frontier(
    share: Real[np.ndarray, " n_layers"], cost: Real[np.ndarray, " n_layers"]
) -> Float[np.ndarray, " n_levels"]:
    """Lowest cost among the layers whose share is at most each of `LEVELS`; infinite where there is none.

    Raises: ValueError for no layers, or other numbers of shares than of costs.
    """
    within = share[:, None] <= LEVELS + 1e-9
    return np.where(within, cost[:, None], np.inf).min(0)


@checked(margin=a_number(at_least=0))
def needed(
    frontiers: Real[np.ndarray, "*problems n_streams n_levels"], *, margin: float = 0.05
) -> Float[np.ndarray, "*problems"]:
    """Least share of all layers of a problem whose price is at most 1 + margin times the lowest.

    Layers of all streams are pooled, so a share that is needed is one that no layer found did without.
    """
    lowest = frontiers.min(-2)
    return np.asarray(LEVELS[(lowest <= (1 + margin) * lowest[..., -1:] + 1e-9).argmax(-1)])


# --- effects -----------------------------------------------------------------------------------------------

_streams_last = must(
    lambda values: values.ndim >= 2, "values must have knobs and streams; got {values:shape}"
)


@checked(_streams_last, values=an_array())
def over_streams(values: Any, statistic: Callable[[Any], float], *, n_resamples: int = 1000) -> Interval:
    """A statistic of an outcome's cells (levels..), with a 95% interval over streams."""
    return evidence.bootstrap(
        np.moveaxis(values, -1, 0), statistic=lambda rows: statistic(rows.mean(0)), n_resamples=n_resamples
    )


def levels_of(cells: Any, axis: int) -> Float[np.ndarray, " n_levels"]:
    """Mean of the cells at every level of a knob, over all levels of the others."""
    return np.asarray(cells).mean(tuple(k for k in range(np.ndim(cells)) if k != axis))


def span(cells: Any, axis: int) -> float:
    """How far a knob moves the mean over all others: the highest level's less the lowest's."""
    return float(np.ptp(levels_of(cells, axis)))


@checked(cells=an_array())
def variance_shares(cells: Any, names: Sequence[str]) -> dict[tuple[str, ...], float]:
    """Share of the variance between cells that is each knob's, and each pair's beyond its two knobs'.

    A balanced design's sums of squares are orthogonal, so shares add up; what is left to 1 are interactions
    of three knobs and more, and the streams' noise.

    Shapes: cells (levels of each knob..).
    """
    total = float(cells.var())
    mains = [_effect(cells, (k,)) for k in range(cells.ndim)]
    shares: dict[tuple[str, ...], float] = {}
    shares |= {(names[k],): float(main.var()) / total for k, main in enumerate(mains)}
    for a, b in combinations(range(cells.ndim), 2):
        both = _effect(cells, (a, b)) - mains[a] - mains[b]
        shares[names[a], names[b]] = float(both.var()) / total
    return shares


def _effect(cells: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Means over all other knobs, less the mean of all, in the shape of the cells."""
    others = tuple(k for k in range(cells.ndim) if k not in axes)
    return np.broadcast_to(cells.mean(others, keepdims=True) - cells.mean(), cells.shape)


_as_many = must(
    lambda exponents, share: len(exponents) == len(share) >= 2 and (np.diff(exponents) > 0).all(),
    "exponents must rise, one for each share, 2 or more; got {exponents} and {share:len} shares",
)


@checked(_as_many, exponents=an_array(ndim=1), share=an_array(ndim=1), at=a_number(above=0, at_most=1))
def turning_exponent(exponents: Any, share: Any, *, at: float = 0.75) -> float:
    """The exponent at which a share first rises to `at`, on lines between the exponents run.

    The lowest exponent if the share is there already, the highest if it never is.

    Raises: ValueError for exponents that do not rise, or not one for each share.
    """
    reached = np.flatnonzero(share >= at)
    if not len(reached):
        return float(exponents[-1])
    k = int(reached[0])
    if k == 0:
        return float(exponents[0])
    part = (at - share[k - 1]) / (share[k] - share[k - 1])
    return float(exponents[k - 1] + part * (exponents[k] - exponents[k - 1]))
