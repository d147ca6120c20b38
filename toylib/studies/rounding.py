"""The same models by every engine, and how far apart rounding has taken them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import checked, must
from ..features import SparseFeatures
from ..models import ReLUHiddenModel
from ..training import train


def trained_by(
    engine: str, features: SparseFeatures, seeds: Any, *, n_hidden: int = 5, **settings: Any
) -> ReLUHiddenModel:
    """Third models of these seeds, trained by this engine; `train` gets the other settings.

    Raises: ValueError as `train` does, and for an engine that cannot train them.
    """
    model = ReLUHiddenModel(features.n_features, n_hidden, seeds)
    train(model, features, engine=engine, progress=False, n_evaluation=1, **settings)
    return model


@torch.no_grad()
@checked(
    must(
        lambda a, b: a.shape == b.shape,
        "a and b must be weights of the same models; got {a:shape} and {b:shape}",
    )
)
def weight_gap(a: Float[Tensor, "n_models n m"], b: Float[Tensor, "n_models n m"]) -> tuple[float, float]:
    """Largest difference of a weight between the same models trained twice: the median model's, the worst's.

    Raises: ValueError if the shapes differ.
    """
    largest = (a - b).abs().amax((1, 2))
    return float(largest.median()), float(largest.max())
