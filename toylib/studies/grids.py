"""Models of several seeds at every density, or at every point of a plane, trained in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from .. import checks, measures
from ..features import SparseFeatures
from ..models import AbsoluteValueModel, ReLUOutputModel, ToyModel
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
    (n_densities, n_seeds), has a row for each density. Absolute-value models get signed features.

    Raises: ValueError for densities, importances or seeds that are none or of another form, and what
            `train` refuses.
    """
    p = checks.array("densities", densities, ndim=1)
    weight = checks.array("importance", importance, ndim=1)
    each = checks.seeds("seeds", seeds)
    signed = issubclass(model_class, AbsoluteValueModel)
    at = np.repeat(p, len(each))
    features = SparseFeatures(len(weight), at, weight, signed=signed)
    model = model_class(len(weight), n_hidden, np.tile(each, len(p)))
    return train(model, features, **settings)


@checks.checked(
    n_features=checks.a_whole_number(),
    densities=checks.an_array(ndim=1),
    importances=checks.an_array(ndim=1),
    n_starts=checks.a_whole_number(),
    first_seed=checks.a_seed(bits=31),
)
def train_plane(
    n_features: int,
    n_hidden: int,
    *,
    densities: Real[np.ndarray, " n_densities"] | Sequence[float],
    importances: Real[np.ndarray, " n_importances"] | Sequence[float],
    n_starts: int = 10,
    first_seed: int = 0,
    **settings: Any,
) -> TrainingRun:
    """ReLU output models at every point of a phase diagram of the last feature's importance and the density.

    The other features have importance 1. What has a value for each instance, reshaped to (n_importances,
    n_densities, n_starts), is the diagram with the starts of each point. The 640 seeds from first_seed on
    return all over it.

    Raises: ValueError for densities, importances, n_starts or first_seed that are none or of another form,
            and what `train` refuses.
    """
    at = np.tile(np.repeat(densities, n_starts), len(importances))
    importance = np.ones((len(at), n_features))
    importance[:, -1] = np.repeat(importances, len(densities) * n_starts)
    model = ReLUOutputModel(n_features, n_hidden, first_seed + np.arange(len(at)) % 640)
    return train(model, SparseFeatures(n_features, at, importance), **settings)


@checks.checked(checks.must(lambda runs: len(runs) > 0, "runs must be one or more; got {runs:len}"))
def beside_reference(
    runs: Sequence[TrainingRun], n_represented: int
) -> tuple[Float[np.ndarray, " n_models"], Float[Tensor, "n_models n_hidden n_features"]]:
    """Loss of the models of all runs over the best without superposition, and their contributions.

    n_represented is the number of features that a model can represent without superposition.

    Raises: ValueError for no runs, and as `measures.no_superposition_loss` and `measures.contributions` do.
    """
    loss = [run.loss / measures.no_superposition_loss(run.features, n_represented) for run in runs]
    return np.concatenate(loss), torch.cat([measures.contributions(run.model, run.features) for run in runs])
