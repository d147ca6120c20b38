"""Inputs in strata: none active, one alone, and the rest; only the rest is sampled.

At low density nearly every input that is not empty has one active feature. Sampling those is the noise of the
gradient, and it can be had without: an input v e_i lies on the *line* of e_i, along which a toy model is
linear up to its output ReLU, since ReLU(v z) = v ReLU(z) for v >= 0. So output k is ReLU(a v + b_k), with
a = W_out,k h(e_i), and the mean over v of its loss and of the loss's slopes is an integral over the part of
[0, 1] where a v + b_k > 0: in closed form for squared errors, by quadrature of polynomials for other
exponents. A whole line costs what one sampled input does. The empty input is exact as well. What has two
active units or more, or a correlated set, is sampled from its own distribution, and counts with its
probability. `draws.draw` with two rows of `given` draws it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checks import refuse
from ..draws import AS_THEY_COME, CORRELATED
from ..features import SparseFeatures
from ..inspection import beyond_flags, known_target
from ..models import ToyModel
from .settings import Settings


class Strata(NamedTuple):
    """Probabilities of the strata.

    Shapes: alone (n_rows, n_features), that one feature is active and no other; rest (n_rows,), that some are
            active, and not one alone.
    """

    alone: np.ndarray
    rest: np.ndarray


def _lines(features: SparseFeatures) -> np.ndarray:
    """Whether a unit (n_units,) has one active member at most."""
    return (features.units.kind != CORRELATED) | (np.diff(features.units.start) == 1)


def _none_before(q: np.ndarray) -> np.ndarray:
    """Probability (n_rows, n_units) that no earlier unit is active."""
    return np.concatenate([np.ones((len(q), 1)), np.cumprod(1 - q, axis=1)[:, :-1]], 1)


def _any_from(q: np.ndarray) -> np.ndarray:
    """Probability (n_rows, n_units) that this unit or a later one is active, exact where it is tiny too."""
    with np.errstate(divide="ignore"):  # log 0: a unit that is always active
        return -np.expm1(np.cumsum(np.log1p(-q)[:, ::-1], axis=1)[:, ::-1])


def _first_of_the_rest(features: SparseFeatures) -> np.ndarray:
    """Probability (n_rows, n_units) that x lies on no line, and that its first active unit is this one."""
    q = np.minimum(features.unit_probability, 1)
    follows = np.concatenate([_any_from(q)[:, 1:], np.zeros((len(q), 1))], 1)
    return q * _none_before(q) * np.where(_lines(features), follows, 1.0)


def strata_of(features: SparseFeatures) -> Strata:
    """The strata of these features' distribution.

    A member of a correlated set of two or more is never alone; one of an anticorrelated set has no company
    from it.
    """
    units, q = features.units, np.minimum(features.unit_probability, 1)
    size = np.diff(units.start)
    of_unit = _lines(features) * q * _none_before(q) * _none_before(q[:, ::-1])[:, ::-1] / size
    alone = np.empty((len(q), features.n_features))
    alone[:, units.members] = np.repeat(of_unit, size, axis=1)
    return Strata(alone, _first_of_the_rest(features).sum(1))


def given_rest(features: SparseFeatures, row: int) -> np.ndarray:
    """For `draws.draw`: inputs with active features, but not those with one alone."""
    first = _first_of_the_rest(features)[row]
    q = np.minimum(features.unit_probability[row : row + 1], 1)
    return np.stack([np.cumsum(first) / first.sum(), _any_from(q)[0]])


def _barred(model: ToyModel, features: SparseFeatures) -> str:
    """Why inputs with one active feature cannot be integrated; empty if they can."""
    kind = type(model).__name__
    if own := beyond_flags(model):
        return f"{kind} has {', '.join(own)} of its own"
    if known_target(model) is None:
        return f"{kind} has its own target"
    return "" if (strata_of(features).rest > 0).all() else "never are two units active"


def possible(model: ToyModel, features: SparseFeatures) -> bool:
    """Whether inputs with one active feature can be integrated."""
    return not _barred(model, features)


def in_strata(model: ToyModel, features: SparseFeatures, settings: Settings) -> tuple[np.ndarray, str]:
    """For every row of the features' settings whether its inputs are stratified, and why.

    "auto" does so where it pays. The noise that is left has the variance of as many sampled inputs times the
    square of the rest's share of all that is not empty; what it costs is a sampled input for every line.
    Raises: ValueError for data "strata" where it cannot be had.
    """
    n_rows = len(features.unit_probability)
    if settings.data == "sampled":
        return np.zeros(n_rows, bool), "sampled: asked for"
    barred = _barred(model, features) or ("" if settings.skip_empty else "skip_empty is False")
    if barred and settings.data == "strata":
        refuse(f"data must be 'sampled' or 'auto' where {barred}", "'strata'")
    if barred:
        return np.zeros(n_rows, bool), f"sampled: {barred}"
    if settings.data == "strata":
        return np.ones(n_rows, bool), "strata: asked for"
    strata = strata_of(features)
    n_lines = (strata.alone > 0).sum(1) * (2 if features.signed else 1)
    noise = (strata.rest / features.active_probability) ** 2 * (1 + n_lines / settings.batch_size)
    words = f"variance of the gradient times time, over that of sampling: {noise.min():.2g}"
    return noise < 1, words + (f" to {noise.max():.2g}" if len(noise) > 1 else "")


class Shares(NamedTuple):
    """What stands for which share of the inputs that are not empty, by row of the features' settings.

    Shapes: in_strata (n_rows,), whether lines are integrated; sampled (n_rows,), the share that the sampled
            inputs stand for; lines (n_rows, n_lines), those of the lines, e_i first and then -e_i; empty
            (n_rows,), that of the empty input; active (n_rows,), probability that an input is not empty, or 1
            where empty ones are sampled too.
    """

    in_strata: np.ndarray
    sampled: np.ndarray
    lines: np.ndarray
    empty: np.ndarray
    active: np.ndarray


def shares(model: ToyModel, features: SparseFeatures, settings: Settings) -> Shares:
    """See `Shares`."""
    chosen, _ = in_strata(model, features, settings)
    active = features.active_probability if settings.skip_empty else np.ones(len(chosen))
    strata = strata_of(features)
    lines = chosen[:, None] * strata.alone / active[:, None]
    lines = np.concatenate([lines / 2, lines / 2], 1) if features.signed else lines
    return Shares(chosen, np.where(chosen, strata.rest / active, 1.0), lines, (1 - active) / active, active)


def given(features: SparseFeatures, row: int, settings: Settings, share: Shares) -> np.ndarray:
    """For `draws.draw`: which inputs are sampled."""
    if share.in_strata[row]:
        return given_rest(features, row)
    return features.given_active(row) if settings.skip_empty else AS_THEY_COME


def mean_and_error(
    total: np.ndarray, squares: np.ndarray, n_inputs: int, n_parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and its standard error, from sums over parts of the inputs; NaN for a single part.

    Shapes: total (n_instances,), of the loss; squares (n_instances,), of each part's sum squared, over its
            number of inputs.
    """
    mean = total / n_inputs
    spread = np.maximum(squares - total * mean, 0)
    with np.errstate(invalid="ignore"):
        return mean, np.sqrt(spread / np.float64(n_parts - 1) / n_inputs)
