"""Layers that pack features into few neurons, and what they lose where two features meet.

At first order (`sharing`) an antichain of supports loses nothing, so the least number of shared neurons is a
matter of counting. At second order, on inputs with two active features, packed features disturb each other,
and the more neurons they are spread over the less. With biases of 0 the third model is homogeneous: on
v_i e_i + v_j e_j its error is v_i^2 f(v_j / v_i), so that the mean over uniform values is one integral.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import a_number, a_whole_number, checked, must
from ..models import ReLUHiddenModel
from .sharing import first_order_capacity

N_RATIOS = 64  # points of the integral over the ratio of two values

_carried = must(
    lambda n_features, n_hidden: n_features <= first_order_capacity(n_hidden),
    "n_features must be what n_hidden = {n_hidden} neurons can carry at first order or fewer; "
    "got {n_features}",
)


@checked(_carried, n_features=a_whole_number(), n_hidden=a_whole_number())
def supports(n_features: int, n_hidden: int) -> Bool[np.ndarray, "n_hidden n_features"]:
    """Which neurons each feature excites, in as many groups of four neurons as the excess can use.

    Four neurons hold six features, a pair each: two more than they are. Where there are not neurons enough
    for that, groups are fewer and larger, and hold pairs or, where these are too few, sets of half their
    neurons. Neurons in no group have a feature of their own.

    Raises: ValueError for sizes below 1, or more features than `first_order_capacity`.
    """
    excess = max(n_features - n_hidden, 0)
    for n_groups in range(min(-(-excess // 2), n_hidden // 4), 0, -1):
        sizes, spare = [4] * n_groups, n_hidden - 4 * n_groups
        while _beyond(sizes) < excess and spare:
            sizes[int(np.argmin(sizes))] += 1
            spare -= 1
        if _beyond(sizes) >= excess:
            return _grouped(n_features, n_hidden, sizes)
    return _grouped(n_features, n_hidden, [n_hidden] if excess else [])


def _beyond(sizes: list[int]) -> int:
    """How many features more than neurons groups of these sizes hold."""
    return sum(first_order_capacity(size) - size for size in sizes)


def _grouped(n_features: int, n_hidden: int, sizes: list[int]) -> np.ndarray:
    """Supports in groups of these sizes, the excess dealt out in turn; the other neurons are clean."""
    held, left, k = list(sizes), max(n_features - n_hidden, 0), 0
    while left:
        if held[k % len(sizes)] < first_order_capacity(sizes[k % len(sizes)]):
            held[k % len(sizes)] += 1
            left -= 1
        k += 1
    has = np.zeros((n_hidden, n_features), bool)
    row = column = 0
    for size, n_held in zip(sizes, held, strict=True):
        sets = combinations(range(row, row + size), 2 if n_held <= comb(size, 2) else size // 2)
        for i, members in zip(range(column, column + n_held), sets, strict=False):
            has[list(members), i] = True
        row, column = row + size, column + n_held
    clean = min(n_hidden - row, n_features - column)
    has[row : row + clean, column : column + clean] = np.eye(clean, dtype=bool)
    return has


@torch.no_grad()
@checked(_carried, n_features=a_whole_number(), n_hidden=a_whole_number())
def packed_model(n_features: int, n_hidden: int) -> ReLUHiddenModel:
    """A third model (one instance) whose features have these supports, and no loss where one is active.

    A feature's weights on its support are alike, of length 1. Where its r neurons hold s of the q of another
    feature, it has the weight -s / (sqrt(r) (q - s)) on the other q - s: with that its output is 0 there, and
    less would not do.

    Raises: ValueError as `supports` does.
    """
    model = ReLUHiddenModel(n_features, n_hidden)
    has = torch.from_numpy(supports(n_features, n_hidden)).float()
    size = has.sum(0)
    overlap = has.T @ has
    apart = (size[:, None] - overlap).clamp(min=1)  # [i, k]: of feature i's neurons, those that k lacks
    # by neuron and k, the most of all i
    asked = (has[:, :, None] * (overlap / (size.sqrt() * apart))).amax(1)
    model.W.copy_((has / size.sqrt() - (1 - has) * asked)[None])
    return model


_no_bias = must(
    lambda model: bool((model.b_final == 0).all()), "model must have biases of 0; got {model.b_final}"
)


@torch.no_grad()
@checked(_no_bias)
def pair_losses(model: ReLUHiddenModel) -> Float[Tensor, "n_instances n_pairs"]:
    """Mean squared error where features i and j are active, uniform on [0, 1], for every i < j.

    The error is homogeneous in the values: its mean over them is a quarter of the integrals of f over the
    ratio of the smaller to the larger, for either order. By midpoints.

    Raises: ValueError for a model with biases.
    """
    n = model.n_features
    ratio = (torch.arange(N_RATIOS) + 0.5) / N_RATIOS
    found = []
    for i in range(n - 1):
        others = torch.arange(i + 1, n)
        x = torch.zeros(2, len(others), N_RATIOS, n)  # i is the larger, and the other is
        x[0, :, :, i], x[1, :, :, i] = 1.0, ratio
        for place, j in enumerate(others):
            x[0, place, :, j], x[1, place, :, j] = ratio, 1.0
        flat = x.flatten(0, 2)
        error = torch.stack([(model.select([k])(flat[None])[0] - flat).square().sum(1)
                             for k in range(model.n_instances)])  # fmt: skip
        found.append(error.unflatten(1, x.shape[:3]).mean(3).sum(1) / 4)
    return torch.cat(found, 1) if found else torch.zeros(model.n_instances, 0)


@checked(density=a_number(above=0, at_most=1))
def second_order_loss(model: ReLUHiddenModel, density: float) -> Float[np.ndarray, " n_instances"]:
    """What a model without loss on single features loses, to second order in the density p.

    p^2 (1 - p)^(n - 2) times the sum of `pair_losses`; inputs with three active features or more are left
    out.

    Raises: ValueError for a density outside (0, 1], or a model with biases.
    """
    meet = density**2 * (1 - density) ** max(model.n_features - 2, 0)
    return meet * pair_losses(model).sum(1).double().numpy()
