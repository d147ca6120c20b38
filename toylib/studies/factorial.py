"""A factorial of what could make neurons polysemantic: its layers, its cells, and what each cell shows.

Problem knobs say what is asked: task, room, output ReLU, loss exponent, density. Training knobs say how it
is learned: weight decay, and a start near a clean layer. What must be shared is asked of a problem's layers,
however they were trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from .. import measures
from ..checks import a_bool, a_number, a_whole_number, checked, one_of
from ..features import SparseFeatures
from ..measures import THETA
from ..models import AbsoluteValueModel, ToyModel
from .verdicts import polysemantic_share

N_GRID = 400
GRID = (np.arange(N_GRID) + 0.5) / N_GRID
PER_STREAM = 8  # seeds that share a stream of inputs, of which the last two may start near a clean layer


def starts_near(seeds: Integer[np.ndarray, " n_seeds"]) -> Bool[np.ndarray, " n_seeds"]:
    """Which of these seeds start near a clean layer, in a model that is told to."""
    return seeds % PER_STREAM >= PER_STREAM - 2


# --- layers ------------------------------------------------------------------------------------------------


class Layer(ToyModel):
    """x' = W^T ReLU(W x) + b, through a ReLU or not: copies its input.

    With near_clean, instances whose seed leaves 6 or 7 when divided by 8 start near a clean layer: with three
    tenths of the usual weights, added to those of `clean`, and biases of 0 where that layer answers.

    Raises: ValueError as ToyModel does, or for an output_relu or near_clean that is no bool.
    """

    hidden_relu = True
    signed = False
    neurons = 1.0  # that a clean layer takes for each feature

    @checked(output_relu=a_bool(), near_clean=a_bool())
    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        seeds: Any = 0,
        *,
        output_relu: bool = True,
        near_clean: bool = False,
        b_init: Any = 0.0,
    ) -> None:
        super().__init__(n_features, n_hidden, seeds, b_init=b_init)
        self.output_relu = output_relu
        if near_clean:
            self._move(torch.from_numpy(starts_near(self.seeds)).float())

    @torch.no_grad()
    def _move(self, near: Float[Tensor, " n_instances"]) -> None:
        """Those that are near, 1 and not 0, to where they start."""
        W_in, W_out = self.clean(self.n_features, self.n_hidden)
        own = near[:, None, None]
        for weights, clean in ((self.W_in, W_in), (self.W_out, W_out))[: 1 if self.tied else 2]:
            weights.mul_(1 - 0.7 * own).add_(own * clean)
        self.b_final.mul_(1 - near[:, None] * W_out.any(1))

    @staticmethod
    def clean(
        n_features: int, n_hidden: int
    ) -> tuple[Float[Tensor, "n_hidden n_features"], Float[Tensor, "n_features n_hidden"]]:
        """Weights of a layer whose neurons have one feature each, and answer as many as there is room for."""
        W = torch.eye(n_hidden, n_features)
        return W, W.T.clone()

    @staticmethod
    def feature_density(density: float) -> float:
        """Density of the features at which the density dial stands here."""
        return density

    @staticmethod
    def target_law(density: float) -> tuple[float, Float[np.ndarray, " n"]]:
        """How often a target is not 0, and the weights of its values then, on an even grid of (0, 1)."""
        return density, np.full(N_GRID, 1 / N_GRID)


class Untied(Layer):
    """x' = W2 ReLU(W1 x) + b, through a ReLU or not: copies its input with two matrices."""

    tied = False
    output_scale = AbsoluteValueModel.output_scale


class Absolute(Untied):
    """Answers |x|: two neurons for each feature."""

    signed = True
    neurons = 2.0
    target = AbsoluteValueModel.target  # the one that all engines know

    @staticmethod
    def clean(n_features: int, n_hidden: int) -> tuple[Tensor, Tensor]:
        """A neuron for each sign of each feature."""
        W = torch.eye(n_features).repeat_interleave(2, 0)[:n_hidden]
        W[1::2] *= -1
        return W, W.abs().T.clone()


class Rectified(Untied):
    """Answers ReLU(x) of signed features. torch trains it."""

    signed = True

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The positive part."""
        return x.relu()

    @staticmethod
    def target_law(density: float) -> tuple[float, Float[np.ndarray, " n"]]:
        """Half of the active features are positive."""
        return density / 2, np.full(N_GRID, 1 / N_GRID)


class Conjunction(Untied):
    """Answers the smaller of features 2k and 2k + 1 at both of these outputs. torch trains it.

    Without sharing that takes two neurons: min(a, b) = ReLU(a) - ReLU(a - b). The dial of density is the
    conjunctions': both features are active with probability `density`.
    """

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The smaller of each pair, twice."""
        return x.unflatten(-1, (-1, 2)).amin(-1).repeat_interleave(2, -1)

    @staticmethod
    def clean(n_features: int, n_hidden: int) -> tuple[Tensor, Tensor]:
        """Two neurons for each conjunction; an odd one is left out."""
        W_in, W_out = torch.zeros(n_hidden, n_features), torch.zeros(n_features, n_hidden)
        for k in range(min(n_features, n_hidden) // 2):
            pair = [2 * k, 2 * k + 1]
            W_in[pair, 2 * k] = 1.0
            W_in[2 * k + 1, 2 * k + 1] = -1.0
            W_out[pair, 2 * k], W_out[pair, 2 * k + 1] = 1.0, -1.0
        return W_in, W_out

    @staticmethod
    def feature_density(density: float) -> float:
        """Its root: two features must meet."""
        return float(density) ** 0.5

    @staticmethod
    def target_law(density: float) -> tuple[float, Float[np.ndarray, " n"]]:
        """The smaller of two uniform numbers has density 2 (1 - v)."""
        return density, 2 * (1 - GRID) / N_GRID


TASKS: dict[str, type[Layer]] = {
    "copy, tied": Layer, "copy": Untied, "|x|": Absolute, "ReLU(x)": Rectified, "conjunction": Conjunction,
}  # fmt: skip

# --- cells -------------------------------------------------------------------------------------------------

KNOBS: dict[str, tuple[Any, ...]] = {
    "task": tuple(TASKS),
    "room": (0.5, 1.0),
    "output ReLU": (True, False),
    "loss exponent": (1.5, 2.0, 2.5, 4.0, 8.0),
    "weight decay": (-0.1, 0.0, 0.3),
    "density": (0.5, 0.25, 0.1, 0.03, 0.01),
}
TRAINING = "weight decay"  # the one that is no part of the problem
N_FEATURES = 10
SCHEDULE: dict[str, Any] = dict(
    n_steps=2000, batch_size=16, lr=0.03, warmup=100, revival=0.5, data="sampled", n_records=1,
    n_evaluation=8192, models_per_stream=PER_STREAM,
)  # fmt: skip


@checked(
    task=one_of(*TASKS),
    room=a_number(above=0),
    density=a_number(above=0, at_most=1),
    exponent=a_number(at_least=1, at_most=8),
    n_features=a_whole_number(at_least=2),
)
def setting(
    task: str,
    room: float,
    output_relu: bool,
    exponent: float,
    weight_decay: float,
    density: float,
    *,
    near_clean: bool = True,
    n_features: int = N_FEATURES,
    **train: Any,
) -> dict[str, Any]:
    """A cell's setting for `runs.sweep`, with `TASKS[task]` as its class.

    room is the number of neurons over the number that a clean layer takes. Output biases start at the
    target's mean.

    Raises: ValueError for another task, or numbers out of bounds.
    """
    layer = TASKS[task]
    often, weights = layer.target_law(density)
    model = dict(
        n_features=n_features,
        n_hidden=max(1, round(room * layer.neurons * n_features)),
        output_relu=output_relu,
        near_clean=near_clean,
        b_init=often * float(GRID @ weights),
    )
    return {
        "feature_probability": layer.feature_density(density),
        "signed": layer.signed,
        "model": model,
        "train": {"loss_exponent": exponent, "weight_decay": weight_decay, **train},
    }


def cells(knobs: Mapping[str, Sequence[Any]] = KNOBS) -> Iterator[tuple[Any, ...]]:
    """Every combination of levels, the last knob fastest."""
    return product(*knobs.values())


@checked(task=one_of(*TASKS), density=a_number(above=0, at_most=1), exponent=a_number(at_least=1, at_most=8))
def constant_loss(task: str, density: float, exponent: float, n_features: int = N_FEATURES) -> float:
    """Loss of the best answer that is always the same, the null that losses are measured by.

    Units: of the loss, over all n_features outputs; by sums over 400 values of the target and of the answer.
    Raises: ValueError for another task, or numbers out of bounds.
    """
    often, weights = TASKS[task].target_law(density)
    answers = np.concatenate([[0.0], GRID])
    active = (np.abs(GRID - answers[:, None]) ** exponent) @ weights
    return float(n_features * ((1 - often) * answers**exponent + often * active).min())


# --- what a cell shows -------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """Of every layer of a cell: polysemantic shares by threshold, the share of targets answered, losses."""

    shares: Float[np.ndarray, "n_thetas n_layers"]
    represented: Float[np.ndarray, " n_layers"]
    loss: Float[np.ndarray, " n_layers"]


@torch.no_grad()
def target_contributions(
    model: ToyModel, features: SparseFeatures
) -> Float[Tensor, "n_instances n_hidden n_targets"]:
    """What each neuron adds to each target at the input that turns it on: of x_i e_i, for a pair e_i + e_j.

    `measures.contributions`, and for conjunctions max(0, W_out_kj h_j(e_2k + e_2k+1)), one for each pair.
    """
    if not isinstance(model, Conjunction):
        return measures.contributions(model, features)
    pairs = torch.eye(model.n_features).unflatten(0, (-1, 2)).sum(1)[None]
    h = model.hidden(pairs)  # (n_instances, n_pairs, n_hidden)
    out = model.W_out.unflatten(1, (-1, 2)).mean(2)
    return (h * out).relu().mT


@torch.no_grad()
def answered(model: ToyModel, features: SparseFeatures) -> Float[np.ndarray, " n_instances"]:
    """Share of targets that a layer answers.

    `measures.represented`; for a conjunction its output at both features must exceed that at either one by
    more than one half.
    """
    if not isinstance(model, Conjunction):
        return measures.represented(model, features).double().mean(1).numpy()
    eye = torch.eye(model.n_features)
    both = model(eye.unflatten(0, (-1, 2)).sum(1)[None])[:, :, ::2].diagonal(dim1=1, dim2=2)
    alone = model(eye[None])[:, :, ::2].unflatten(1, (-1, 2)).diagonal(dim1=1, dim2=3).amax(1)
    return (both - alone > 0.5).double().mean(1).numpy()


THETAS = (0.05, THETA, 0.5)


def show(model: ToyModel, features: SparseFeatures, loss: np.ndarray) -> Shown:
    """Measure the layers of a cell."""
    C = target_contributions(model, features)
    shares = np.stack([polysemantic_share(C, theta=theta) for theta in THETAS])
    return Shown(shares, answered(model, features), loss)
