"""Toys with several inputs and levels: networks of ReLU neurons whose features we know, trained many at once.

A level is a layer of neurons and a readout of that level's features:

    h_l = ReLU(W_in_l (y_(l-1), x_l)),    y_l = ReLU(W_out_l h_l + b_l)

The next level reads the features y_l and inputs x_l of its own. With one level it is a single hidden layer
like the third model's, but with a task other than the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import measures
from ..checks import a_bool, a_number, a_seed, a_whole_number, checked, refuse, some_seeds, whole_number
from ..engines.settings import learning_rates
from ..inspection import check_plain, trainable
from ..models import PLAIN, select
from ..progress import progress_bar


class Streams:
    """Streams of random numbers, one a seed: every draw is made in all of them, on the first axis.

    What a stream gives depends on its own seed, not on its neighbours. torch reads a seed's lower 32 bits.
    Raises: ValueError for bad seeds, or a `high` below 1.
    """

    @checked(seeds=some_seeds(bits=53))
    def __init__(self, seeds: Any = 0) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __len__(self) -> int:
        return len(self.generators)

    def rand(self, *shape: int) -> Tensor:
        """Uniform on [0, 1): (n_streams, *shape)."""
        return torch.stack([torch.rand(shape, generator=g, **PLAIN) for g in self.generators])

    @checked(high=a_whole_number())
    def randint(self, high: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to high - 1: (n_streams, *shape)."""
        return torch.stack([torch.randint(high, shape, generator=g, device="cpu") for g in self.generators])


# draw(batch_size, streams) -> the inputs and the targets of every level, each (n_streams, batch, n)
Draw = Callable[[int, Streams], tuple[list[Tensor], list[Tensor]]]


def _levels(n_inputs: Any, n_hidden: Any, n_features: Any) -> None:
    sizes = {"n_inputs": n_inputs, "n_hidden": n_hidden, "n_features": n_features}
    given = [isinstance(size, Sequence) and len(size) for size in sizes.values()]
    if not given[0] or given != given[:1] * 3:
        refuse("n_inputs, n_hidden, n_features must have one entry per level", sizes)
    for name, size in sizes.items():
        for level, number in enumerate(size):
            whole_number(f"{name}[{level}]", number)


class LevelledModel(nn.Module):
    """Levels of neurons, each with a readout that the next level reads.

    Shapes: n_inputs[l], n_hidden[l], n_features[l] for level l. Then W_in[l] (n_instances, n_hidden[l],
            n_features[l - 1] + n_inputs[l]), W_out[l] (n_instances, n_features[l], n_hidden[l]),
            b[l] (n_instances, n_features[l]). Columns of W_in: the level below first, then inputs.
    Raises: ValueError for sizes below 1, lists of unequal length, or bad seeds.

    Instance k is initialised from seeds[k] alone: Xavier-normal times init_scale, biases 0. At full size the
    output ReLUs die; a tenth of it trains.
    """

    @checked(_levels, seeds=some_seeds(), init_scale=a_number(above=0))
    def __init__(
        self,
        n_inputs: Sequence[int],
        n_hidden: Sequence[int],
        n_features: Sequence[int],
        seeds: Any = 0,
        *,
        init_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_inputs, self.n_hidden, self.n_features = (
            [int(number) for number in size] for size in (n_inputs, n_hidden, n_features)
        )
        self.seeds = seeds
        generators = [torch.Generator().manual_seed(int(seed)) for seed in self.seeds]
        self.W_in, self.W_out, self.b = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        below = [0, *self.n_features[:-1]]
        for k, m, n in zip(
            map(sum, zip(below, self.n_inputs, strict=True)), self.n_hidden, self.n_features, strict=True
        ):
            for weights, rows, columns in ((self.W_in, m, k), (self.W_out, n, m)):
                std = init_scale * (2 / (rows + columns)) ** 0.5
                empty = torch.empty(len(generators), rows, columns, **PLAIN)
                for matrix, generator in zip(empty, generators, strict=True):
                    matrix.normal_(0, std, generator=generator)
                weights.append(nn.Parameter(empty))
            self.b.append(nn.Parameter(torch.zeros(len(self.seeds), n, **PLAIN)))

    @property
    def n_levels(self) -> int:
        return len(self.n_hidden)

    def _columns(self, inputs: Sequence[Tensor], leak: float) -> tuple[list[Tensor], list[Tensor]]:
        """forward with the stimuli as columns, (n, batch): on these shapes products are many times faster."""
        hidden: list[Tensor] = []
        features: list[Tensor] = []
        for number, x in enumerate(inputs):
            W_in, n_below = self.W_in[number], self.W_in[number].shape[2] - self.n_inputs[number]
            h = W_in[:, :, n_below:] @ x
            if n_below:
                h = torch.baddbmm(h, W_in[:, :, :n_below], features[-1])
            h = torch.relu(h)
            o = torch.baddbmm(self.b[number][:, :, None], self.W_out[number], h)
            hidden.append(h)
            features.append(nn.functional.leaky_relu(o, leak) if leak else torch.relu(o))
        return hidden, features

    def forward(self, inputs: Sequence[Tensor], *, leak: float = 0.0) -> tuple[list[Tensor], list[Tensor]]:
        """Neurons and features of all levels; leak is the slope of the output ReLUs below 0.

        Shapes: inputs[l] (batch, n_inputs[l]) -> h_l (n_instances, batch, n_hidden[l]), y_l (n_instances,
                batch, n_features[l]).
        Raises: ValueError unless there is one input per level, of the right width.
        """
        widths = [x.shape[-1] if x.ndim == 2 else x.shape for x in inputs]
        if widths != self.n_inputs:
            refuse(f"inputs must be (batch, n) with n = {self.n_inputs} by level", widths)
        hidden, features = self._columns([x.T.contiguous() for x in inputs], leak)
        return [h.mT for h in hidden], [y.mT for y in features]

    def select(self, index: Any) -> LevelledModel:
        """A copy of these instances, in this order."""
        return select(self, index)


def _null_losses(model: LevelledModel, draw: Draw, stream: Streams) -> list[float]:
    """Loss of predicting every level's mean, from a draw whose shapes are checked."""
    inputs, targets = draw(20_000, stream)
    for name, part, widths in (("inputs", inputs, model.n_inputs), ("targets", targets, model.n_features)):
        shapes = [tuple(level.shape) for level in part]
        if [shape[::2] for shape in shapes if len(shape) == 3] != [(1, width) for width in widths]:
            refuse(
                f"draw must give {name} (n_streams, batch, n) with n = {widths} by level",
                f"{shapes} from one stream",
            )
    nulls = [float(level[0].var(0, correction=0).sum()) for level in targets]
    if not min(nulls) > 0:  # NaN is not either
        refuse("draw must give targets that vary at every level", f"variances {nulls}")
    return nulls


@torch.no_grad()
def _masked(
    model: LevelledModel, masks: Sequence[tuple[Tensor, Tensor]]
) -> list[tuple[nn.Parameter, Tensor]]:
    """Weights with their masks, once they are 0 where these are."""
    if not masks:
        return []
    weights = [own for level in zip(model.W_in, model.W_out, strict=True) for own in level]
    given = [mask for level in masks for mask in level]
    if [tuple(mask.shape) for mask in given] != [tuple(own.shape) for own in weights]:
        refuse(
            f"masks must have the shapes of the weights, {[tuple(own.shape) for own in weights]}",
            [tuple(mask.shape) for mask in given],
        )
    for own, mask in zip(weights, given, strict=True):
        own *= mask
    return list(zip(weights, given, strict=True))


@torch.enable_grad()
@checked(
    n_steps=a_whole_number(),
    batch_size=a_whole_number(),
    lr=a_number(above=0),
    warmup=a_whole_number(at_least=0),
    leak=a_number(at_least=0, at_most=1),
    activity_cost=a_number(at_least=0),
    models_per_stream=a_whole_number(),
    data_seed=a_seed(bits=31),
    progress=a_bool(),
)
def train_levels(
    model: LevelledModel,
    draw: Draw,
    *,
    n_steps: int = 2000,
    batch_size: int = 256,
    lr: float = 3e-3,
    warmup: int = 100,
    leak: float = 0.3,
    activity_cost: float = 0.0,
    models_per_stream: int = 10,
    data_seed: int = 0,
    masks: Sequence[tuple[Tensor, Tensor]] = (),
    progress: bool = True,
) -> Float[np.ndarray, "n_instances n_levels"]:
    """Train every instance in place with Adam; return its held-out loss per level, the null predictor's as 1.

    The loss is the sum over levels of the squared error plus activity_cost times the activity sum_j h_j,
    each level's divided by the error of predicting the mean. The learning rate rises for
    `warmup` steps and falls to 0 along a cosine. The output ReLUs leak with slope `leak`, falling to 0 by
    half-way: with closed ReLUs from the start, deep levels do not learn. Instances whose seeds agree in
    seed // models_per_stream see the same inputs. masks hold 0 or 1 for the weights W_in[l] and W_out[l] of
    each level; where they hold 0, weights become 0 and stay it.

    Raises: ValueError, before any work, naming the argument and what is allowed.
    """
    check_plain("model", model, LevelledModel)
    learned = list(trainable(model).values())
    held = _masked(model, masks)
    rates = learning_rates(n_steps, lr, warmup, "cosine")
    leaks = leak * np.maximum(0, 1 - 2 * np.arange(n_steps) / n_steps)
    streams = model.seeds // models_per_stream
    nulls = _null_losses(model, draw, Streams([data_seed]))
    # streams of seed s and data_seed d must not meet those of other s and d
    numbers, stream_of = np.unique(streams, return_inverse=True)
    rows = torch.from_numpy(stream_of)  # indexing by it copies number by number, many times slower
    random = Streams([int(s) * 1_000_003 + data_seed + 1 for s in numbers])
    optimiser = torch.optim.Adam(learned, lr=0.0, fused=True)
    for step in progress_bar(range(n_steps), shown=progress, desc="train", unit="step"):
        inputs, targets = (
            [level.mT.contiguous().index_select(0, rows) for level in part]
            for part in draw(batch_size, random)
        )
        neurons, features = model._columns(inputs, float(leaks[step]))
        # the loss is a square: its gradient is written down, the rest is left to autograd
        slopes = [
            (y.detach() - target) * (2 / (null * batch_size))
            for y, target, null in zip(features, targets, nulls, strict=True)
        ]
        if activity_cost:
            features = features + neurons
            slopes += [
                torch.full_like(h, activity_cost / (null * batch_size))
                for h, null in zip(neurons, nulls, strict=True)
            ]
        optimiser.zero_grad()
        torch.autograd.backward(features, slopes)
        for weights, mask in held:
            if weights.grad is not None:
                weights.grad *= mask
        optimiser.param_groups[0]["lr"] = float(rates[step])
        optimiser.step()
    return relative_loss(model, draw, seed=data_seed)


@torch.no_grad()
@checked(seed=a_seed(bits=31), n_inputs=a_whole_number())
def relative_loss(
    model: LevelledModel, draw: Draw, *, seed: int = 0, n_inputs: int = 8192
) -> Float[np.ndarray, "n_instances n_levels"]:
    """Squared error of every level on n_inputs fresh inputs, divided by the error of predicting the mean."""
    # apart from the seeds of training; a generator reads the lower 32 bits alone
    stream = Streams([2**31 + seed])
    nulls = _null_losses(model, draw, stream)
    inputs, targets = ([level[0] for level in part] for part in draw(n_inputs, stream))
    loss = np.zeros((len(model.seeds), model.n_levels))
    for k in range(len(model.seeds)):
        _, features = model.select([k])(inputs)
        for level, (y, target) in enumerate(zip(features, targets, strict=True)):
            loss[k, level] = (y[0] - target).square().sum() / (nulls[level] * len(target))
    return loss


def features_per_neuron(
    C: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[np.ndarray, " n_instances"]:
    """Mean participation ratio of each layer's neurons, less those that hold nothing; 0 if all do.

    Raises: ValueError as `measures.participation_ratio` does.
    """
    ratio = measures.participation_ratio(C)
    return (ratio.sum(1) / (ratio > 0).sum(1).clamp(min=1)).numpy()
