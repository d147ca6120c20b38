"""Where directions matter: lengths, interference and dimensions of features in the hidden space."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import checked, refuse


def weights(name: str, value: Any) -> Tensor:
    """A rule: weights of many models, all of them numbers."""
    if not isinstance(value, Tensor) or value.ndim != 3 or 0 in value.shape:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        refuse(f"{name} must be a tensor (n_instances, n_hidden, n_features), not empty", shape)
    if not value.is_floating_point() or not torch.isfinite(value).all():
        odd = "NaN" if value.isnan().any() else "an infinity" if value.isinf().any() else "finite numbers"
        refuse(f"{name} must be finite, of a floating type", f"{value.dtype} with {odd}")
    return value


@checked(W=weights)
def feature_norm(
    W: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, "n_instances n_features"]:
    """Length of each feature's direction: about 1 if it is represented, 0 if it is not.

    Raises: ValueError if W is not 3-D; the message shows W's shape.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    return W.detach().norm(dim=1)


def _squared_overlaps(W: Tensor) -> Tensor:
    """(unit W_i . W_j)^2, with 0 for a feature i that has no direction."""
    W = W.detach()
    norm = W.norm(dim=1, keepdim=True)
    unit = torch.where(norm > 1e-6, W / norm.clamp(min=1e-6), 0.0)
    return (unit.mT @ W).square()


@checked(W=weights)
def interference(
    W: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, "n_instances n_features"]:
    """How much the other features project on each feature's direction.

        sum over j != i of (W_i/|W_i| . W_j)^2

    Units:  dimensionless; 0 if feature i has its direction to itself, or has none.
    Raises: ValueError if W is not 3-D.
    Source: Elhage et al. 2022, 'Basic Results'.
    """
    overlaps = _squared_overlaps(W)
    return overlaps.sum(2) - overlaps.diagonal(dim1=1, dim2=2)


@checked(W=weights)
def feature_dimensionality(
    W: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, "n_instances n_features"]:
    """Share of a hidden dimension that each feature gets.

        D_i = |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2

    Units:  dimensionless, in [0, 1]; an unlearned (zero) feature has 0.
    Raises: ValueError if W is not 3-D.
    Source: Elhage et al. 2022, 'Feature Dimensionality'; equal to the capacity of Scherlis et al. 2022.
    """
    return W.detach().norm(dim=1).square() / _squared_overlaps(W).sum(2).clamp(min=1e-12)


@checked(W=weights)
def dimensions_per_feature(
    W: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, " n_instances"]:
    """Hidden dimensions per represented feature, D* = n_hidden / |W|_F^2.

    Units:  dimensionless; 1 without superposition, 1/2 for antipodal pairs, inf if nothing is represented.
    Raises: ValueError if W is not 3-D.
    Source: Elhage et al. 2022, 'Is There Geometric Structure in Superposition?'.
    """
    return W.shape[1] / W.detach().square().sum((1, 2))
