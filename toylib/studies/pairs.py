"""Two features and one dimension: what it costs to leave one out, and to store the two opposite each other.

In the ReLU output model both losses are known in closed form for independent features of one density. So is
the importance from which on a feature is better stored opposite another than left out. Costs are a feature's
own, for an importance of 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ..checks import checked
from ..values import refuse

N_BIASES = 4001  # at which the cost of a pair is looked at
Densities = float | Float[np.ndarray, "*n"]
Costs = Float[np.ndarray, "*n"]


def _densities(name: str, value: Any) -> np.ndarray:
    try:
        p = np.asarray(value, float)
    except (TypeError, ValueError):
        refuse(f"{name} must be a density or an array of them", repr(value))
    if not ((p > 0) & (p <= 1)).all():
        refuse(f"{name} must be above 0 and at most 1", repr(value))
    return p


@checked(p=_densities)
def variance(p: Densities) -> Costs:
    """What leaving a feature of density p out costs: its variance, as its mean is the best that can be said.

    Raises: ValueError for a density that is not above 0 and at most 1.
    """
    return np.asarray(p / 3 - p**2 / 4)


@checked(p=_densities)
def interference(p: Densities) -> tuple[Costs, Costs]:
    """What each of two features of density p costs if W = [1, -1], with the best bias; and that bias.

    With a bias of 0 it is p^2 / 6; the best is positive, since interference is negative on average.
    Raises: ValueError as `variance`.
    """
    p, b = np.asarray(p)[..., None], np.linspace(0, 1, N_BIASES)
    square = b**3 / 3 + (1 - b) ** 3 / 3 - (1 - b) ** 4 / 6  # both active
    cost = (1 - p) * b**2 + p * (1 - p) * b**3 / 3 + p**2 * square
    return np.asarray(cost.min(-1)), np.asarray(b[cost.argmin(-1)])


@checked(p=_densities)
def least_ratio(p: Densities) -> Costs:
    """The importance, as a share of its partner's, from which on storing a feature opposite it is better.

    It is r where (1 + r) interference(p) = r variance(p); infinite where a pair costs more than it serves.
    Raises: ValueError as `variance`.
    """
    left_out, shared = variance(p), interference(p)[0]
    with np.errstate(divide="ignore"):
        return np.where(left_out > shared, shared / np.maximum(left_out - shared, 0), np.inf)
