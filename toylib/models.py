"""The toy models: parameters and forward, nothing else.

Every model maps x to h to x': h is a linear map of the input, through a ReLU if the model has
neurons; x' is a linear map of h plus a bias, through a ReLU if the output has one. Many instances
live side by side along a leading axis. W has shape (n_instances, n_hidden, n_features), so that the
code reads like the paper's W^T W x; the authors' notebook stores its transpose.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .checks import (
    a_number,
    a_whole_number,
    array,
    checked,
    depending,
    must,
    refuse,
    some_rows,
    some_seeds,
)

Model = TypeVar("Model", bound=nn.Module)

PLAIN: Any = {"dtype": torch.float32, "device": "cpu"}  # what is drawn, whatever torch's defaults are


@checked(index=depending(lambda model: some_rows(len(model.seeds))))
def select(model: Model, index: Any) -> Model:
    """A copy of these instances of a model, in this order, with all else that the model holds.

    Every parameter has the instances along its first axis; `model.seeds` names them.
    Raises: ValueError for an index that chooses none, or one that is not there.
    """
    seeds: Any = model.seeds
    chosen = deepcopy(model)
    chosen.seeds = seeds[index]
    for parameter in chosen.parameters():
        parameter.data, parameter.grad = parameter.data[index], None
    return chosen


def _single(name: str, value: Any) -> Tensor:
    """A number, or a list of them, as a column (n, 1) in single precision."""
    column = torch.from_numpy(array(name, value, ndim=(0, 1))).float().reshape(-1, 1)
    if not torch.isfinite(column).all():
        refuse(f"{name} must be finite in single precision", repr(value))
    return column


_one_or_each = must(
    lambda seeds, b_init: len(b_init) in (1, len(seeds)),
    "b_init must be a number or one per instance ({seeds:len}); got {b_init:len}",
)
_fits = must(
    lambda self, x: (
        isinstance(x, Tensor)
        and x.ndim == 3
        and x.shape[0] in (1, self.n_instances)
        and x.shape[2] == self.n_features
    ),
    "x must be a tensor (1 or {self.n_instances}, batch, {self.n_features}); got {x:tensor}",
)


class ToyModel(nn.Module):
    """What the four models share; use one of them, not this.

    Shapes: W_in (n_instances, n_hidden, n_features), W_out (n_instances, n_features, n_hidden),
            b_final (n_instances, n_features), seeds (n_instances,).
    Raises: ValueError for sizes below 1, seeds that are not whole numbers, a scale that is not positive.

    Instance k is initialised from seeds[k] alone: it does not matter how many stand beside it. Weights
    are Xavier-normal for one (n_hidden, n_features) matrix, times init_scale; biases are 0.
    """

    hidden_relu = False
    output_relu = True
    tied = True

    output_scale = 1.0

    @checked(
        _one_or_each,
        n_features=a_whole_number(),
        n_hidden=a_whole_number(),
        seeds=some_seeds(),
        init_scale=a_number(above=0),
        b_init=_single,
    )
    def __init__(
        self, n_features: int, n_hidden: int, seeds: Any = 0, *, init_scale: float = 1.0, b_init: Any = 0.0
    ) -> None:
        super().__init__()
        self.n_features, self.n_hidden, self.seeds = n_features, n_hidden, seeds
        std = init_scale * (2 / (n_features + n_hidden)) ** 0.5
        n_matrices = 1 if self.tied else 2
        shape = (self.n_instances, n_matrices, self.n_hidden, self.n_features)
        try:
            drawn = torch.empty(shape, **PLAIN)
        except (RuntimeError, TypeError):  # torch's words are of bytes
            refuse("n_features, n_hidden and seeds must fit into memory", shape)
        for k, seed in enumerate(self.seeds):
            drawn[k].normal_(0, std, generator=torch.Generator().manual_seed(int(seed)))
        if self.tied:
            self.W = nn.Parameter(drawn[:, 0].clone())
        else:
            self.W1 = nn.Parameter(drawn[:, 0].clone())
            self.W2 = nn.Parameter(drawn[:, 1].mT.contiguous() * self.output_scale)
        self.b_final = nn.Parameter(b_init.repeat(self.n_instances // len(b_init), n_features))

    @property
    def n_instances(self) -> int:
        return len(self.seeds)

    @property
    def W_in(self) -> Float[Tensor, "n_instances n_hidden n_features"]:
        """Input weights of every hidden unit."""
        return self.W if self.tied else self.W1

    @property
    def W_out(self) -> Float[Tensor, "n_instances n_features n_hidden"]:
        """Output weights of every hidden unit; W^T where the model is tied."""
        return self.W.mT if self.tied else self.W2

    @checked(_fits)
    def hidden(
        self, x: Float[Tensor, "#n_instances batch n_features"]
    ) -> Float[Tensor, "n_instances batch n_hidden"]:
        """Hidden activations; an x with one instance is seen by all.

        Raises: ValueError for an x of another shape.
        """
        h = x @ self.W_in.mT
        return torch.relu(h) if self.hidden_relu else h

    def forward(
        self, x: Float[Tensor, "#n_instances batch n_features"]
    ) -> Float[Tensor, "n_instances batch n_features"]:
        """The model's output; an x with one instance is seen by all."""
        o = self.hidden(x) @ self.W_out.mT + self.b_final[:, None]
        return torch.relu(o) if self.output_relu else o

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the output should be: the input itself."""
        return x

    def select(self: Model, index: Any) -> Model:
        """A copy of these instances, in this order; see `select`."""
        return select(self, index)


class LinearModel(ToyModel):
    """x' = W^T W x + b. Keeps the n_hidden most important directions, as PCA does.

    Source: Elhage et al. 2022, 'Experiment Setup', 'The linear model'.
    """

    output_relu = False


class ReLUOutputModel(ToyModel):
    """x' = ReLU(W^T W x + b). Superposition appears with sparsity; no privileged basis.

    Source: Elhage et al. 2022, 'Experiment Setup', 'The ReLU output model'.
    """


class ReLUHiddenModel(ToyModel):
    """x' = ReLU(W^T ReLU(W x) + b), the paper's third model: hidden units are neurons.

    Source: Elhage et al. 2022, 'Superposition in a Privileged Basis'.
    """

    hidden_relu = True


class AbsoluteValueModel(ToyModel):
    """y' = ReLU(W2 ReLU(W1 x) + b) with the target y = |x|: neurons that must compute.

    W2 starts at a twentieth of Xavier's size: at full size most output ReLUs die on sparse data, and the
    loss stalls near half of what predicting the mean would give.

    Source: Elhage et al. 2022, 'Computation in Superposition'.
    """

    hidden_relu = True
    tied = False
    output_scale = 0.05

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the output should be: the absolute value of each feature."""
        return x.abs()
