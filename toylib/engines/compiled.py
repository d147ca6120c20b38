"""Training by the compiled loops: who goes into which block, and the way in and out of their arrays.

Two layouts: many models side by side (side_by_side.py), or one model at a time, as products of matrices
(tiles.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..features import SparseFeatures
from ..inspection import beyond_flags, known_target
from ..models import ToyModel
from .errors import PANEL
from .inputs import Inputs, groups_of, held_out, steps_at_once
from .registers import LANES as LANES_OF_ONE
from .settings import Settings
from .side_by_side import INPUTS, LANES, losses_side_by_side, steps_side_by_side
from .strata import mean_and_error
from .tiles import BLOCK, row_of, rows_of, steps_in_tiles
from .vectors import zeros

TILES, TOGETHER = 4, 32  # tiles, or single models, of a block at most: they share the inputs that are drawn


def refusal(model: ToyModel) -> str | None:
    """Why the compiled loops cannot compute this model, or None if they can."""
    kind = type(model)
    if model.b_final.device.type != "cpu" or model.b_final.dtype != torch.float32:
        return f"it works in float32 on a CPU; got {model.b_final.dtype} on {model.b_final.device}"
    if known_target(model) is None:
        return f"it knows the targets x and |x|; {kind.__name__} has its own"
    if own := beyond_flags(model):
        return f"it reads a model's flags only; {kind.__name__} has {', '.join(own)} of its own"
    return None


def pays_to_measure(model: ToyModel) -> bool:
    """Whether the compiled loops can measure these instances' loss on shared inputs, faster than torch.

    Only the ratio of the two measured costs counts.
    """
    n, n_weights = model.n_features, model.n_features * model.n_hidden
    compiled = -(-model.n_instances // LANES) * LANES * (5 + 0.1 * n_weights)
    return refusal(model) is None and compiled < model.n_instances * (100 + 15 * n + 0.15 * n_weights)


class Packed(NamedTuple):
    """A block of models as a loop takes them: state, weight, work, total as in their loops."""

    state: np.ndarray
    weight: np.ndarray
    work: tuple[np.ndarray, ...]
    total: np.ndarray


class _Compiled(ABC):
    """What both layouts share. Costs are nanoseconds per input, measured on a core for 2 to 400 features."""

    name: str
    steps: Callable[..., None]

    def __init__(self, settings: Settings, why: str) -> None:
        self.settings, self.why = settings, why

    @staticmethod
    def refusal(model: ToyModel) -> str | None:
        """Why the compiled loops cannot train this model, or None if they can."""
        frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        return refusal(model) or (
            f"it moves all parameters; {', '.join(frozen)} is frozen" if frozen else None
        )

    def blocks(self, model: ToyModel, features: SparseFeatures, workers: int) -> list[np.ndarray]:
        """Instances that see the same inputs, in blocks of a tile or two, enough of them for the workers."""
        groups = groups_of(model, features, self.settings)
        size = self._block_size(max(map(len, groups)), workers, few=len(groups) < workers)
        return [group[k : k + size] for group in groups for k in range(0, len(group), size)]

    @abstractmethod
    def _block_size(self, largest: int, workers: int, *, few: bool) -> int: ...

    @abstractmethod
    def pack(self, model: ToyModel, importance: np.ndarray) -> Packed:
        """Arrays of this layout for a block of models."""

    @abstractmethod
    def unpack(self, packed: Packed, model: ToyModel) -> None:
        """Set the models' parameters to those of the arrays."""

    @torch.no_grad()
    def train(
        self,
        model: ToyModel,
        features: SparseFeatures,
        bounds: Sequence[int],
        report: Callable[[int, np.ndarray], bool],
        stopped: Event,
    ) -> None:
        """Train a block in place; at every bound report the step and the mean loss since the last.

        Stops when `report` says that no instance goes on, and within a few steps once `stopped` is set.
        """
        settings, n_instances = self.settings, model.n_instances
        inputs = Inputs(model, features, settings)
        importance = np.broadcast_to(features.importance, (n_instances, model.n_features))
        packed, kind = self.pack(model, importance), _kind(model)
        constants = (
            *settings.betas, settings.eps, settings.activity_cost, inputs.empty, settings.weight_decay,
            settings.loss_exponent, inputs.sampled,
        )  # fmt: skip
        for low, high in pairwise(bounds):
            packed.total[:] = 0
            for start in range(low, high, inputs.at_once):
                if stopped.is_set():
                    return
                steps = np.arange(start, min(high, start + inputs.at_once))
                drawn, noise = inputs.draw(len(steps))
                type(self).steps(
                    packed.state, packed.weight, drawn, inputs.lines, noise, packed.work, kind, constants,
                    steps, settings.rates(steps), settings.slopes(steps), packed.total,
                )  # fmt: skip
            self.unpack(packed, model)
            loss = packed.total.reshape(-1)[:n_instances] / (high - low) * inputs.active
            if not report(high, loss):
                break

    @staticmethod
    def loss(
        model: ToyModel,
        importance: Tensor,
        features: SparseFeatures,
        row: int,
        random: np.ndarray,
        n_inputs: int,
        given: np.ndarray,
        loss_exponent: float,
        stopped: Event,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean loss (n_instances,) on a stream's next n_inputs inputs of those given, and its standard error.

        Once stopped, anything. Shapes: importance (n_instances, n_features).
        """
        n_tiles = -(-model.n_instances // LANES)
        parameters, weight = _lanes(_flat(model), n_tiles), _lanes(importance.numpy(), n_tiles)
        work, sums = _work(model), np.zeros((2, n_tiles, LANES))
        part = 4 << int(
            np.clip(np.log2(max(1, n_inputs) / 256), 0, 7)
        )  # 4 to 512 inputs, in 64 parts or more
        for inputs in held_out(n_inputs, features, row, random, given):
            if stopped.is_set():
                break
            losses_side_by_side(parameters, weight, inputs, work, _kind(model), loss_exponent, part, sums)
        total, squares = sums.reshape(2, -1)[:, : model.n_instances]
        return mean_and_error(total, squares, n_inputs, -(-n_inputs // part))


class SideBySide(_Compiled):
    """Many models side by side."""

    name = "kernel"
    steps = steps_side_by_side

    @staticmethod
    def cost(model: ToyModel, features: SparseFeatures, settings: Settings) -> float:
        """Every lane of a tile is paid for, filled or not. Between what AVX-512 and AVX2 take."""
        n, m, density = model.n_features, model.n_hidden, float(features.feature_probability.mean())
        n_tiles = sum(-(-len(group) // LANES) for group in groups_of(model, features, settings))
        return n_tiles * (15 + 2 * n + (1 + min(density, 0.5)) * n * m)

    def _block_size(self, largest: int, workers: int, *, few: bool) -> int:
        return LANES * (min(TILES, -(-largest // (LANES * workers))) if few else TILES)

    def pack(self, model: ToyModel, importance: np.ndarray) -> Packed:
        """Arrays of this layout for a block of models."""
        n_tiles = -(-model.n_instances // LANES)
        weight, parameters = _lanes(importance, n_tiles), _lanes(_flat(model), n_tiles)
        state = zeros(4, *parameters.shape)
        state[0] = parameters
        return Packed(state, weight, _work(model), np.zeros((n_tiles, LANES)))

    def unpack(self, packed: Packed, model: ToyModel) -> None:
        """Set the models' parameters to those of the arrays."""
        parameters = np.moveaxis(packed.state[0], -1, 1)
        _set(model, parameters.reshape(-1, parameters.shape[2])[: model.n_instances])


class OneByOne(_Compiled):
    """One model at a time, as products of matrices."""

    name = "single"
    steps = steps_in_tiles

    @staticmethod
    def cost(model: ToyModel, features: SparseFeatures, settings: Settings) -> float:
        """Up to a density of a quarter, by the features that are active; from there on, all are touched."""
        n, m, density = model.n_features, model.n_hidden, float(features.feature_probability.mean())
        return model.n_instances * (20 + 0.5 * n + (0.02 + 0.08 * min(density, 0.25)) * n * m)

    def _block_size(self, largest: int, workers: int, *, few: bool) -> int:
        return min(TOGETHER, -(-largest // workers)) if few else TOGETHER

    def pack(self, model: ToyModel, importance: np.ndarray) -> Packed:
        """Arrays of this layout for a block of models."""
        rows = rows_of(model.n_features)
        weight = np.zeros((model.n_instances, rows), np.float32)
        weight[:, : model.n_features] = importance
        places = _places(model)
        state = zeros(4, model.n_instances, places.size)
        state[0][:, places] = _flat(model)
        work = _work_of_one(model, self.settings.batch_size)
        return Packed(state, weight, work, np.zeros(model.n_instances))

    def unpack(self, packed: Packed, model: ToyModel) -> None:
        """Set the models' parameters to those of the arrays."""
        _set(model, packed.state[0][:, _places(model)])


def _lanes(value: np.ndarray, n_tiles: int) -> np.ndarray:
    """(n_instances, ...) -> (n_tiles, ..., LANES), zero where there is no instance."""
    padded = np.zeros((n_tiles * LANES, *value.shape[1:]), np.float32)
    padded[: len(value)] = value
    lanes = zeros(n_tiles, *value.shape[1:], LANES)
    lanes[:] = np.moveaxis(padded.reshape(n_tiles, LANES, *value.shape[1:]), 1, -1)
    return lanes


def _views(model: ToyModel) -> list[torch.Tensor]:
    """Views of the parameters as the kernel orders them: (n_instances, n_features, n_hidden), and biases."""
    weights = [model.W_in.mT] if model.tied else [model.W_in.mT, model.W_out]
    return [*weights, model.b_final]


def _flat(model: ToyModel) -> np.ndarray:
    """The parameters (n_instances, rows), in the order of `_views`."""
    flat = [view.detach().numpy().reshape(model.n_instances, -1) for view in _views(model)]
    return np.concatenate(flat, 1)


def _set(model: ToyModel, flat: np.ndarray) -> None:
    for view in _views(model):
        size = view[0].numel()
        view.copy_(torch.from_numpy(np.ascontiguousarray(flat[:, :size]).reshape(view.shape)))
        flat = flat[:, size:]


def _places(model: ToyModel) -> np.ndarray:
    """Which places (size,) of a row of the state hold `_flat`; the others fill up tiles and vectors."""
    rows, row = rows_of(model.n_features), row_of(model.n_hidden)
    inside = (np.arange(rows) < model.n_features)[:, None] & (np.arange(row) < model.n_hidden)
    biases = np.arange(-(-rows // LANES_OF_ONE) * LANES_OF_ONE) < model.n_features
    return np.concatenate([*[inside.ravel()] * (1 if model.tied else 2), biases])


def _work(model: ToyModel) -> tuple[np.ndarray, ...]:
    n, m, block = model.n_features, model.n_hidden, INPUTS * LANES
    return (
        zeros(m, block),
        zeros(m, block),
        zeros(n, block),
        zeros(n, INPUTS),
        zeros(INPUTS),
        zeros(3, block),
    )


def _work_of_one(model: ToyModel, batch_size: int) -> tuple[np.ndarray, ...]:
    n, row = rows_of(model.n_features), row_of(model.n_hidden)
    n_panels = steps_at_once(model.n_features, batch_size) * -(-batch_size // PANEL)
    return (
        zeros(n_panels, n * PANEL),
        zeros(n * PANEL),
        zeros(PANEL),
        zeros(n * LANES_OF_ONE),
        zeros(LANES_OF_ONE),
        zeros(PANEL * row),
        zeros(row * PANEL),
        zeros(row * PANEL),
        zeros(BLOCK * PANEL),
        zeros(PANEL),
        zeros(PANEL),
    )


def _kind(model: ToyModel) -> tuple[bool, bool, np.float32, np.float32]:
    absolute = known_target(model) == "|x|"
    return not model.tied, absolute, np.float32(not model.hidden_relu), np.float32(not model.output_relu)
