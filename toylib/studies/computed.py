"""Whether a hidden layer computes or only stores: what naive layers lose, and tests of the layer itself.

A layer computes *in superposition* if it loses less than every naive one of its size: the clean layer, which
answers as many targets as there is room for and the rest by a constant; the best affine map through as many
dimensions; and a trained layer without a hidden ReLU, which can only store what it reads (its output ReLU
may still compute).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from ..checks import a_kind, a_number, a_seed, a_whole_number, an_array, checked, must, one_of
from ..features import SparseFeatures
from ..models import PLAIN, ToyModel
from .factorial import GRID, N_FEATURES, TASKS, Conjunction, Layer, Rectified, constant_loss

# --- naive layers ------------------------------------------------------------------------------------------


@checked(
    task=one_of(*TASKS),
    density=a_number(above=0, at_most=1),
    n_hidden=a_whole_number(),
    n_features=a_whole_number(),
    exponent=a_number(at_least=1, at_most=8),
)
def clean_loss(
    task: str, density: float, n_hidden: int, n_features: int = N_FEATURES, *, exponent: float = 2.0
) -> float:
    """Loss of a layer that answers as many targets as it has clean neurons for, and the rest by a constant.

    A target takes one neuron or two (`Layer.clean`); a conjunction two, for two outputs.

    Units: of the loss, over all n_features outputs of equal importance.
    Raises: ValueError for another task, or numbers out of bounds.
    """
    layer = TASKS[task]
    outputs = 2 if layer is Conjunction else 1  # that a target has
    answered = outputs * int(n_hidden // (outputs * layer.neurons))
    return constant_loss(task, density, exponent, n_features) * max(0.0, 1 - answered / n_features)


@torch.no_grad()
@checked(
    task=one_of(*TASKS),
    density=a_number(above=0, at_most=1),
    n_hidden=a_whole_number(),
    n_features=a_whole_number(at_least=2),
)
def clean_layer(task: str, density: float, n_hidden: int, n_features: int = N_FEATURES) -> Layer:
    """The layer that `clean_loss` tells of, for squared errors: one instance, with an output ReLU.

    Raises: ValueError for another task, or numbers out of bounds.
    """
    layer = TASKS[task]
    model = layer(n_features, n_hidden)
    W_in, W_out = layer.clean(n_features, n_hidden)
    if not model.tied and layer.neurons == 2 and n_hidden < 2 * n_features and n_hidden % 2:
        W_in[-1], W_out[:, -1] = 0, 0  # a neuron without its pair answers half a target
    model.W_in.copy_(W_in)
    model.W_out.copy_(W_out)
    often, weights = layer.target_law(density)
    model.b_final.copy_(~W_out.any(1) * often * float(weights @ GRID))
    return model


@checked(task=one_of(*TASKS), density=a_number(above=0, at_most=1))
def moments(task: str, density: float) -> tuple[float, float, float]:
    """Variance of a feature, variance of a target, and their covariance where the feature is the target's.

    Raises: ValueError for another task, or a density out of bounds.
    """
    layer = TASKS[task]
    p = layer.feature_density(density)
    often, weights = layer.target_law(density)
    mean, square = often * float(weights @ GRID), often * float(weights @ GRID**2)
    of_feature = p / 3 - (0 if layer.signed else p**2 / 4)
    if layer is Conjunction:  # E[min(a, b) a] = E[min(a, b) max(a, b) + min(a, b)^2] / 2 for a, b on
        together = density * (1 / 4 + 1 / 6) / 2
        return of_feature, square - mean**2, together - mean * p / 2
    if layer is Rectified:
        return of_feature, square - mean**2, p / 6
    return of_feature, square - mean**2, 0.0 if layer.signed else of_feature


@checked(
    must(
        lambda cross: cross.ndim == 2 and len(cross) > 0,
        "cross must be (n_targets, n_features); got {cross:shape}",
    ),
    cross=an_array(ndim=2),
    of_feature=a_number(above=0),
    of_targets=a_number(at_least=0),
    rank=a_whole_number(at_least=0),
)
def affine_loss(
    cross: Real[np.ndarray, "n_targets n_features"], *, of_feature: float, of_targets: float, rank: int
) -> float:
    """Mean squared error of the best affine map of a rank, from independent features of equal variance.

    Rank 0 is the constant answer: an offset alone. cross: covariance of every target with every feature;
    of_targets: sum of the targets' variances.

    Raises: ValueError for no targets, or numbers out of bounds.
    Source: reduced-rank regression, Izenman 1975.
    """
    explained = np.linalg.svd(cross, compute_uv=False) ** 2 / of_feature
    return float(of_targets - explained[:rank].sum())


def linear_loss(task: str, density: float, rank: int, n_features: int = N_FEATURES) -> float:
    """Squared error of the best affine map of a rank in a task, over all n_features outputs.

    Raises: ValueError for another task, or numbers out of bounds.
    """
    of_feature, of_target, with_feature = moments(task, density)
    group = 2 if TASKS[task] is Conjunction else 1  # features that a target hangs on, and its outputs
    cross = with_feature * np.kron(np.eye(n_features // group), np.ones((group, group)))
    return affine_loss(cross, of_feature=of_feature, of_targets=n_features * of_target, rank=rank)


class Mixed(Rectified):
    """Answers ReLU(x) + M x: labels with a mixing matrix, as a residual stream's noise gives them.

    M is Gaussian, symmetric, with zeros on its diagonal; its entries have standard deviation `mixing`.

    Raises: ValueError as Layer does, or for a mixing below 0.
    Source: Bhagat et al. 2026 (arXiv 2606.14673), of the residual model of Braun et al. 2025.
    """

    @checked(mixing=a_number(at_least=0))
    def __init__(
        self, n_features: int, n_hidden: int, seeds: Any = 0, *, mixing: float = 0.0, **own: Any
    ) -> None:
        super().__init__(n_features, n_hidden, seeds, **own)
        drawn = torch.randn(n_features, n_features, generator=torch.Generator().manual_seed(0), **PLAIN).triu(
            1
        )
        self.M = mixing * (drawn + drawn.T)

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The positive part, and the others' share."""
        return x.relu() + x @ self.M


# --- the layer itself --------------------------------------------------------------------------------------

a_layer = a_kind(ToyModel, "a ToyModel", "{:type}")


@torch.no_grad()
@checked(model=a_layer)
def codes(
    model: ToyModel,
) -> tuple[Float[Tensor, "n_instances n_targets n_hidden"], Float[Tensor, "n_instances n_targets n_hidden"]]:
    """The hidden layer at each target's own input, at full strength, and what each neuron gives to a target.

    The input of a target is its feature at 1, or both features of its pair.
    """
    eye, out = torch.eye(model.n_features), model.W_out
    if isinstance(model, Conjunction):
        eye, out = eye.unflatten(0, (-1, 2)).sum(1), out.unflatten(1, (-1, 2)).mean(2)
    return model.hidden(eye[None].to(out.dtype)), out


class Swaps(NamedTuple):
    """What transplanted codes answer in every layer: pairs tried, and those that follow the positions.

    Shapes: tried, followed (n_instances,).
    """

    tried: Int[np.ndarray, " n_instances"]
    followed: Int[np.ndarray, " n_instances"]

    @property
    def share(self) -> Float[np.ndarray, " n_instances"]:
        """Of the pairs tried; NaN where there were none."""
        return np.where(self.tried, self.followed / np.maximum(self.tried, 1), np.nan)


@torch.no_grad()
@checked(model=a_layer, theta=a_number(at_least=0, at_most=1))
def swap_codes(model: ToyModel, *, theta: float = 0.05) -> Swaps:
    """Put the values of one target's code at the neurons of another's: does the other's answer come out?

    A code is the neurons that a target's input turns on, above theta times the largest, and their values.
    For every two targets with as many neurons, whose own codes give their own answers most, the values of
    the first, in the order of the neurons, are put at the neurons of the second. If the second's answer is
    the largest, the layer tells targets apart by *which* neurons are on. If a layer stores targets as
    directions that all neurons take part in, the code moves nowhere and the first's answer stays.

    Raises: ValueError for what is no ToyModel, or theta outside [0, 1].
    Source: the transplant of github.com/FranciscoHS/toy-model-cis-code, which takes every neuron above 0.
    """
    h, out = codes(model)
    strength = h.abs()
    on = strength > theta * strength.amax(2, keepdim=True)
    right = (h @ out.mT).argmax(2) == torch.arange(h.shape[1])
    tried, followed = np.zeros(len(h), int), np.zeros(len(h), int)
    for k in range(len(h)):
        sizes = on[k].sum(1)
        for size in sizes[sizes > 0].unique().tolist():
            alike = torch.nonzero((sizes == size) & right[k])[:, 0]
            places = on[k, alike].nonzero()[:, 1].reshape(len(alike), size)
            n, follows = _transplanted(h[k, alike], places, out[k], alike)
            tried[k], followed[k] = tried[k] + n, followed[k] + follows
    return Swaps(tried, followed)


def _transplanted(
    h: Float[Tensor, "n n_hidden"], places: Tensor, out: Float[Tensor, "n_targets n_hidden"], targets: Tensor
) -> tuple[int, int]:
    """Pairs of targets with equally many neurons, and those whose transplant answers by its places."""
    n, values = len(h), h.gather(1, places)
    moved = torch.zeros(n, n, h.shape[1], dtype=h.dtype)  # whose values, at whose places
    moved.scatter_(2, places.expand(n, -1, -1), values[:, None].expand(-1, n, -1))
    follows = (moved @ out.T).argmax(2) == targets
    return n * (n - 1), int(follows.sum() - follows.diagonal().sum())


@torch.no_grad()
@checked(model=a_layer, noise=a_number(at_least=0), seed=a_seed(bits=53), n_samples=a_whole_number())
def noisy_loss(
    model: ToyModel, features: SparseFeatures, *, noise: float, seed: int = 0, n_samples: int = 4096
) -> Float[np.ndarray, " n_instances"]:
    """Mean squared error on sampled inputs with Gaussian noise in the hidden layer, before its ReLU.

    noise: its standard deviation, in units of what a neuron's strongest single target gives it: so it hangs
    on what neurons hold, and not on their scale.

    Raises: ValueError for what is no ToyModel, or numbers out of bounds.
    """
    h, _ = codes(model)
    scale = noise * h.abs().amax(1)
    x = features.sample(n_samples, np.full(model.n_instances, seed))
    generator = torch.Generator().manual_seed(seed)
    added = torch.randn(1, n_samples, model.n_hidden, generator=generator, **PLAIN)
    before = x @ model.W_in.mT + scale[:, None] * added
    o = (before.relu() if model.hidden_relu else before) @ model.W_out.mT + model.b_final[:, None]
    error = (o.relu() if model.output_relu else o) - model.target(x)
    weight = torch.as_tensor(features.importance, dtype=error.dtype)
    return (error.square().mean(1) * weight).sum(1).numpy()
