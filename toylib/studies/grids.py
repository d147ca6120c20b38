"""Models of several seeds at every one of several densities, trained in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Real

from .. import checks
from ..features import SparseFeatures
from ..models import AbsoluteValueModel, ToyModel
from ..training import TrainingRun, train


def train_grid(
    model_class: type[ToyModel],
    *,
    n_hidden: int,
    importance: Real[np.ndarray, " n_features"] | Sequence[float],
    densities: Real[np.ndarray, " n_densities"] | Sequence[float],
    seeds: Iterable[int],
    **settings: Any,
) -> TrainingRun:
    """A model of each seed at each density, trained by `train`, which gets the other settings.

    Instance d * n_seeds + s is seed s at density d: what has a value for each instance, reshaped to
    (n_densities, n_seeds), has a row for each density. Absolute-value models get signed features, and
    output biases that start at the features' mean absolute value.

    Raises: ValueError for densities, importances or seeds that are none or of another form, and what
            `train` refuses.
    """
    p = checks.array("densities", densities, ndim=1)
    weight = checks.array("importance", importance, ndim=1)
    each = checks.seeds("seeds", seeds)
    signed = issubclass(model_class, AbsoluteValueModel)
    at = np.repeat(p, len(each))
    features = SparseFeatures(len(weight), at, weight, signed=signed)
    model = model_class(len(weight), n_hidden, np.tile(each, len(p)), b_init=at / 2 if signed else 0.0)
    return train(model, features, **settings)
