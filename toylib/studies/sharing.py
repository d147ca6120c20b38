"""Whether neurons must be shared: the least share among layers of nearly the least loss, and its theory.

A neuron is *clean* here if it has one weight that is not zero. What must be shared is asked of losses: how
many clean neurons can a layer have, and lose no more than the best layer found does, within a margin?

At first order, that is on inputs with one active feature, the answer is known. There the third model,
x' = ReLU(W^T ReLU(W x) + b), can lose nothing if and only if b = 0, the positive part of every feature's
weights has length 1, and the *supports* of these, the neurons that a feature excites, form an antichain: none
holds another. See `first_order_model` for why.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from ..checks import a_number, a_whole_number, an_array, checked, depending, must
from ..evidence import Interval, bootstrap
from ..features import SparseFeatures
from ..measures import no_superposition_loss
from ..models import ReLUHiddenModel
from ..training import train
from .grids import train_grid
from .verdicts import best_of_streams

# --- what lines need ---------------------------------------------------------------------------------------


@checked(n_hidden=a_whole_number())
def first_order_capacity(n_hidden: int) -> int:
    """Most features that n_hidden neurons copy without loss on inputs with one active feature.

    The largest antichain of sets of neurons: C(m, floor(m / 2)).

    Raises: ValueError if n_hidden < 1.
    Source: Sperner 1928.
    """
    return comb(n_hidden, n_hidden // 2)


_carried = must(
    lambda n_features, n_hidden: n_features <= first_order_capacity(n_hidden),
    "n_features must be what n_hidden = {n_hidden} neurons can carry at first order or fewer; "
    "got {n_features}",
)


@checked(_carried, n_features=a_whole_number(), n_hidden=a_whole_number())
def least_shared(n_features: int, n_hidden: int) -> int:
    """Fewest neurons that must be shared to copy n_features without loss on inputs with one active feature.

    A clean neuron has a feature of its own; the supports of all other features lie in the k neurons that are
    not clean. So n - (m - k) <= C(k, floor(k / 2)), and k is the least with C(k, floor(k / 2)) - k >= n - m.

    Raises: ValueError for sizes below 1, or more features than `first_order_capacity`.
    """
    excess = n_features - n_hidden
    if excess <= 0:
        return 0
    return next(k for k in range(1, n_hidden + 1) if comb(k, k // 2) - k >= excess)


@torch.no_grad()
@checked(_carried, n_features=a_whole_number(), n_hidden=a_whole_number())
def first_order_model(n_features: int, n_hidden: int) -> ReLUHiddenModel:
    """A third model (one instance) without loss on inputs with one active feature, as clean as can be.

    On the input v e_i neuron j is at v r_ij, r_i being the positive part of W's column i, and output k is
    ReLU(v W_k . r_i + b_k). For k = i it is v at every v only if |r_i| = 1 and b_i = 0, since W_i . r_i =
    |r_i|^2. For k != i it is 0 only if W_k . r_i <= 0. If the support of r_k holds that of r_i, W_k . r_i =
    r_k . r_i > 0. Otherwise some neuron excited by i is not by k, and feature k can have a negative weight
    there: large enough, it makes the product 0. Here it just does.

    Raises: ValueError for sizes below 1, or more features than `first_order_capacity`.
    """
    k = least_shared(n_features, n_hidden)
    n_clean = min(n_hidden - k, n_features)
    n_packed = n_features - n_clean
    model = ReLUHiddenModel(n_features, n_hidden)
    model.W.zero_()
    model.W[0, :n_clean, :n_clean] = torch.eye(n_clean)
    if n_packed:
        size = k // 2
        sets = list(combinations(range(k), size))[:n_packed]
        has = torch.zeros(k, n_packed)
        for i, members in enumerate(sets):
            has[list(members), i] = 1
        # two sets of one size share size - 1 neurons at most, and leave one out at least
        model.W[0, n_clean:, n_clean:] = (has - (size - 1) * (1 - has)) / size**0.5
    return model


# --- what losses say must be shared ------------------------------------------------------------------------


_fall = must(
    lambda importance: (np.diff(importance) <= 0).all(),
    "importance must not rise; got {importance}",
)
_room = must(
    lambda importance, n_clean: n_clean <= len(importance),
    "n_clean must be {importance:len} features or fewer; got {n_clean}",
)


@checked(
    _fall,
    _room,
    densities=an_array(ndim=1),
    importance=an_array(ndim=1),
    n_hidden=a_whole_number(),
    n_clean=depending(lambda n_hidden: a_whole_number(at_least=0, at_most=n_hidden)),
    n_streams=a_whole_number(),
    per_stream=a_whole_number(at_least=2),
    first_stream=a_whole_number(at_least=0),
    n_steps=a_whole_number(),
    polish=a_whole_number(),
)
def block_losses(
    n_clean: int,
    *,
    n_hidden: int,
    densities: Real[np.ndarray, " n_densities"] | list[float],
    importance: Real[np.ndarray, " n_features"] | list[float],
    n_streams: int = 16,
    per_stream: int = 32,
    first_stream: int = 0,
    n_steps: int = 400,
    polish: int = 2000,
    **settings: Any,
) -> Float[np.ndarray, "n_densities n_streams"]:
    """Lowest loss in every stream of inputs of a third model whose first n_clean neurons copy a feature each.

    They copy the most important ones exactly; the others are left to the other neurons, a model of its own:
    a *block*. per_stream starts are trained for n_steps at learning rate 0.1, which finds lower losses than
    0.03 where features are sparse, and the best two of them for `polish` steps at 0.03, on other inputs.

    Raises: ValueError for more clean neurons than neurons or features, importance that rises, sizes below 1,
            and what `train` refuses, which gets the other settings.
    """
    p, rest, n_left = np.asarray(densities, float), np.asarray(importance)[n_clean:], n_hidden - n_clean
    if not len(rest):
        return np.zeros((len(p), n_streams))
    if not n_left:
        null = no_superposition_loss(SparseFeatures(len(rest), p, rest), 0)
        return np.repeat(null[:, None], n_streams, 1)
    seeds = range(first_stream * per_stream, (first_stream + n_streams) * per_stream)
    common: dict[str, Any] = {"batch_size": 32, "models_per_stream": per_stream, **settings}
    grid: dict[str, Any] = {"densities": p, "importance": rest, "seeds": seeds, "n_evaluation": 2**13}
    run = train_grid(ReLUHiddenModel, n_hidden=n_left, n_steps=n_steps, lr=0.1, **grid, **common)
    best = best_of_streams(run.loss, per_stream)
    features = SparseFeatures(len(rest), np.repeat(p, 2 * n_streams), rest)
    polished = train(
        run.model.select(best), features, n_steps=polish, lr=0.03, data_seed=1, n_evaluation=2**16, **common
    )
    return polished.loss.reshape(len(p), n_streams, 2).min(2)


class PartlyClean(ReLUHiddenModel):
    """The third model whose first n_clean neurons have one weight each, for a feature each.

    Other neurons may have these features as well: what a block cannot do. torch trains it. The clean neurons'
    weights start at 1.

    Raises: ValueError as ToyModel does, and for more clean neurons than neurons or features.
    """

    @checked(n_clean=depending(lambda n_features, n_hidden: a_whole_number(
        at_least=0, at_most=min(n_features, n_hidden))))  # fmt: skip
    def __init__(self, n_features: int, n_hidden: int, seeds: Any = 0, *, n_clean: int = 0) -> None:
        super().__init__(n_features, n_hidden, seeds)
        self.n_clean = n_clean
        with torch.no_grad():
            self.W[:, range(n_clean), range(n_clean)] = 1.0

    @property
    def W_in(self) -> Float[Tensor, "n_instances n_hidden n_features"]:
        """W, with zeros for the weights that a clean neuron may not have."""
        kept = torch.ones_like(self.W[0])
        kept[: self.n_clean] = torch.eye(self.n_features, dtype=kept.dtype)[: self.n_clean]
        return self.W * kept

    @property
    def W_out(self) -> Float[Tensor, "n_instances n_features n_hidden"]:
        """Its transpose."""
        return self.W_in.mT


@checked(
    loss=an_array(ndim=(1, 2)),
    null=a_number(above=0),
    margin=a_number(at_least=0),
    floor=a_number(at_least=0),
)
def needed_share(
    loss: Float[np.ndarray, "*n_streams n_clean"], *, null: float, margin: float = 0.05, floor: float = 1e-4
) -> float:
    """Share of neurons that must be shared for a loss within a margin of the least.

    (m - c) / m for the largest number c of clean neurons whose lowest loss is at most (1 + margin) times the
    lowest of all, plus floor times the null predictor's.

    Shapes: loss ([n_streams,] m + 1): the lowest found with c = 0, 1, .. m clean neurons.
    Raises: ValueError for losses that are none, a null's loss that is not positive, or a margin or floor < 0.
    """
    lowest = loss if loss.ndim == 1 else loss.min(0)
    n_hidden = len(lowest) - 1
    cheap = np.flatnonzero(lowest <= (1 + margin) * lowest.min() + floor * null)
    return (n_hidden - int(cheap.max())) / max(n_hidden, 1)


@checked(n_hidden=a_whole_number())
def needed_rise(
    n_hidden: int,
    *,
    dense: float,
    sparse: float,
    importance: Real[np.ndarray, " n_features"] | list[float],
    margin: float = 0.05,
    **settings: Any,
) -> Interval:
    """Share of a third model's neurons that must be shared at density `sparse`, less that at `dense`.

    By blocks of every number of clean neurons (`block_losses`, which gets the settings), with an interval
    over streams of inputs.

    Raises: ValueError as `block_losses` and `needed_share` do.
    """
    densities = [dense, sparse]
    where: dict[str, Any] = {"n_hidden": n_hidden, "densities": densities, "importance": importance}
    blocks = np.stack([block_losses(c, **where, **settings) for c in range(n_hidden + 1)], 2)
    null = no_superposition_loss(SparseFeatures(len(importance), densities, importance), 0)

    def rise(streams: np.ndarray) -> float:
        at = [needed_share(streams[:, d], null=float(null[d]), margin=margin) for d in range(2)]
        return at[1] - at[0]

    return bootstrap(blocks.swapaxes(0, 1), statistic=rise)


class Sharing(NamedTuple):
    """The mean share of neurons that layers share, in three parts that add up to it."""

    needed: float
    trapped: float
    free: float


@checked(
    must(
        lambda found, loss: len(found) == len(loss) > 0,
        "found and loss must be equally long, 1 or more; got {found:len} and {loss:len}",
    ),
    found=an_array(ndim=1),
    loss=an_array(ndim=1),
    needed=a_number(at_least=0, at_most=1),
    allowed=a_number(at_least=0),
)
def split(
    found: Real[np.ndarray, " n"], loss: Real[np.ndarray, " n"], *, needed: float, allowed: float
) -> Sharing:
    """What layers share, split into needed and incidental; the latter by whether it costs.

    Of a layer's share, as much as is needed counts as needed. The rest is *free* if the layer's loss is at
    most `allowed`, and *trapped* if it is above.

    Shapes: found, loss (n_layers,).
    Raises: ValueError for lengths that differ or are 0, `needed` outside [0, 1], or `allowed` below 0.
    """
    more, costs = np.maximum(found - needed, 0), loss > allowed
    return Sharing(
        float(np.minimum(found, needed).mean()), float((more * costs).mean()), float((more * ~costs).mean())
    )
