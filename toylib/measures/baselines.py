"""What to compare a trained model with: a loss without superposition, and axes that are not neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import a_whole_number, checked, depending, seeds
from ..features import SparseFeatures


@checked(n_represented=depending(lambda features: a_whole_number(at_least=0, at_most=features.n_features)))
def no_superposition_loss(features: SparseFeatures, n_represented: int) -> Float[np.ndarray, " rows"]:
    """Loss when the n_represented costliest features are exact and the rest are at their mean.

        sum over the others of I_i Var(x_i),   Var = p/3 - p^2/4

    With n_represented = 0 it is the null predictor's loss. The same holds for the target |x| of signed
    features and for no other: where x itself is the target of those, Var is p/3, and a target of one's own
    has a variance of its own. Without superposition a model represents n_hidden features, or n_hidden / 2
    absolute values (two neurons each).

    Raises: ValueError if n_represented is not between 0 and n_features.
    """
    p = features.feature_probability
    cost = np.sort(features.importance * (p / 3 - p**2 / 4), axis=1)[:, ::-1]
    return cost[:, n_represented:].sum(1)


@checked(n=a_whole_number())
def random_rotation(n: int, seed: Any) -> Float[Tensor, "*n_seeds n n"]:
    """Rotations of n axes drawn uniformly: the same layer looked at along other axes than its neurons.

    Shapes: (n, n) for one seed; (n_seeds, n, n) for several.
    Raises: ValueError if n < 1 or the seeds are not whole numbers from 0 to 2**32 - 1.
    Source: Mezzadri 2007 (QR of a Gaussian matrix, signs put right).
    """
    drawn = []
    for number in seeds("seed", seed):
        generator = torch.Generator("cpu").manual_seed(int(number))
        q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, device="cpu", generator=generator))
        q = q * r.diagonal().sign()
        if torch.linalg.det(q) < 0:  # a rotation, not a reflection
            q[:, 0] = -q[:, 0]
        drawn.append(q.float())
    return drawn[0] if np.ndim(seed) == 0 else torch.stack(drawn)
