"""Training by the compiled loops: who goes into which block, and the way in and out of their arrays.

Two layouts, described in loops.py: many models side by side (engine "kernel"), or one model at a time with
its inputs side by side (engine "single"). `cheapest` says which is expected to be faster, or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import torch

from .features import TRAINING, SparseFeatures, draw, new_stream
from .loops import LANES, WIDTH, losses_side_by_side, steps_one_by_one, steps_side_by_side
from .models import ToyModel, beyond_flags, known_target

if TYPE_CHECKING:
    from .training import Settings

TILES = 2  # in a block of instances, at most: they share the inputs that are drawn
INPUT_BYTES = 2**19  # inputs drawn at a time, about


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


def refusal_to_train(model: ToyModel) -> str | None:
    """Why the compiled loops cannot train this model, or None if they can."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return refusal(model) or (f"it moves all parameters; {', '.join(frozen)} is frozen" if frozen else None)


def cheapest(model: ToyModel, features: SparseFeatures, settings: Settings) -> str:
    """The engine that is expected to be fastest: kernel, single, or torch where neither knows the model.

    Costs are nanoseconds per input, drawn and trained on, measured on one core for 2 to 400 features. The
    kernel pays for every lane of a tile, filled or not; the other loop for sizes filled up to fours.
    """
    if refusal_to_train(model):
        return "torch"
    n, m, density = model.n_features, model.n_hidden, features.feature_probability.mean()
    n_tiles = sum(-(-len(group) // LANES) for group in _groups(model, features, settings))
    side_by_side = n_tiles * (30 + 15 * n + (6 + 3 * density) * n * m)
    one_by_one = model.n_instances * (20 + 1.2 * n + (0.08 + 0.22 * density) * _fours(n) * _fours(m))
    return "kernel" if side_by_side < one_by_one else "single"


def pays_to_evaluate(model: ToyModel) -> bool:
    """Whether the kernel can measure these instances' loss on shared inputs, and faster than torch.

    Only the ratio of the two measured costs counts.
    """
    n, n_weights = model.n_features, model.n_features * model.n_hidden
    in_kernel = -(-model.n_instances // LANES) * LANES * (10 + 0.3 * n_weights)
    return refusal(model) is None and in_kernel < model.n_instances * (100 + 15 * n + 0.15 * n_weights)


def _groups(model: ToyModel, features: SparseFeatures, settings: Settings) -> list[np.ndarray]:
    """Instances that see the same inputs."""
    _, stream = features.streams(model.seeds, settings.models_per_stream)
    order = np.argsort(stream, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(stream[order])) + 1)


def blocks(
    model: ToyModel, features: SparseFeatures, settings: Settings, workers: int, engine: str
) -> list[np.ndarray]:
    """Instances that see the same inputs, in blocks of a tile or two, and enough blocks for the workers."""
    groups = _groups(model, features, settings)
    tiles = 1 if len(groups) < workers else TILES
    if engine == "single":
        largest = max(len(group) for group in groups)
        size = min(LANES, -(-largest // workers)) if len(groups) < workers else LANES
    else:
        size = LANES * tiles
    return [group[k : k + size] for group in groups for k in range(0, len(group), size)]


def _lanes(value: np.ndarray, n_tiles: int) -> np.ndarray:
    """(n_instances, ...) -> (n_tiles, ..., LANES), zero where there is no instance."""
    padded = np.zeros((n_tiles * LANES, *value.shape[1:]), np.float32)
    padded[: len(value)] = value
    return np.ascontiguousarray(np.moveaxis(padded.reshape(n_tiles, LANES, *value.shape[1:]), 1, -1))


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


def _packed(model: ToyModel, n_tiles: int) -> np.ndarray:
    """The parameters (n_tiles, rows, LANES)."""
    return _lanes(_flat(model), n_tiles)


def _fours(size: int) -> int:
    return -(-size // 4) * 4


def _places(model: ToyModel) -> np.ndarray:
    """Where `_flat` goes in a row that is filled up to multiples of four."""
    n, m = _fours(model.n_features), _fours(model.n_hidden)
    inside = (np.arange(n) < model.n_features)[:, None] & (np.arange(m) < model.n_hidden)
    weights = [inside.ravel()] * (1 if model.tied else 2)
    return np.flatnonzero(np.concatenate([*weights, np.arange(n) < model.n_features]))


def _work(model: ToyModel) -> tuple[np.ndarray, ...]:
    return (
        np.empty((model.n_hidden, 8 * LANES), np.float32),
        np.empty(4 * LANES, np.float32),
        np.zeros((model.n_features, 4), np.float32),
    )


def _work_of_one(model: ToyModel) -> tuple[np.ndarray, ...]:
    n, m = _fours(model.n_features), _fours(model.n_hidden)
    return (
        np.empty((WIDTH, m), np.float32),
        np.empty((m // 4, 4 * WIDTH), np.float32),
        np.empty((m // 4, 4 * WIDTH), np.float32),
        np.empty(4 * WIDTH, np.float32),
        np.zeros((n, WIDTH), np.float32),
    )


def _kind(model: ToyModel) -> tuple[bool, bool, np.float32, np.float32]:
    absolute = known_target(model) == "|x|"
    return not model.tied, absolute, np.float32(not model.hidden_relu), np.float32(not model.output_relu)


def _room(n_inputs: int, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays for inputs in sparse form: how many features are active, which, and their values."""
    return (
        np.empty(n_inputs, np.int32),
        np.empty((n_inputs, n_features), np.int32),
        np.empty((n_inputs, n_features), np.float32),
    )


def _drawn(
    room: tuple[np.ndarray, ...],
    n_inputs: int,
    features: SparseFeatures,
    row: int,
    random: np.ndarray,
    cdf: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """The next inputs of a stream, in the first part of this room."""
    inputs = tuple(part[:n_inputs] for part in room)
    draw(random, features.unit_probability[row], cdf, *features.units, features.signed, *inputs)
    return inputs


def held_out_loss(
    model: ToyModel,
    importance: np.ndarray,
    features: SparseFeatures,
    row: int,
    random: np.ndarray,
    n_inputs: int,
    stopped: Event,
) -> np.ndarray:
    """Mean loss (n_instances,) on the stream's next n_inputs non-empty inputs; once stopped, anything.

    Shapes: importance (n_instances, n_features).
    """
    n_tiles = -(-model.n_instances // LANES)
    parameters, weight, work = _packed(model, n_tiles), _lanes(importance, n_tiles), _work(model)
    cdf, total = features.first_active_cdf(row), np.zeros((n_tiles, LANES))
    at_once = 512 * max(1, INPUT_BYTES // (8 * model.n_features * 512))
    room = _room(min(at_once, n_inputs), model.n_features)
    for start in range(0, n_inputs, at_once):
        if stopped.is_set():
            break
        inputs = _drawn(room, min(at_once, n_inputs - start), features, row, random, cdf)
        losses_side_by_side(parameters, weight, inputs, work, _kind(model), total)
    return total.reshape(-1)[: model.n_instances] / n_inputs


@torch.no_grad()
def train_block(
    model: ToyModel,
    features: SparseFeatures,
    settings: Settings,
    bounds: Sequence[int],
    report: Callable[[int, np.ndarray], bool],
    stopped: Event,
    *,
    engine: str,
) -> None:
    """Train a block of `blocks` in place; at every bound report the step and the mean loss since the last.

    Stops when `report` says that no instance goes on, and within a few steps once `stopped` is set.
    """
    n_features, n_instances = model.n_features, model.n_instances
    streams, _ = features.streams(model.seeds, settings.models_per_stream)
    [(row, stream)] = streams.tolist()
    random = new_stream(stream, TRAINING + settings.data_seed)
    cdf = features.first_active_cdf(row) if settings.skip_empty else np.empty(0)
    active = float(features.active_probability[row]) if settings.skip_empty else 1.0
    importance = np.broadcast_to(features.importance, (n_instances, n_features))
    one_by_one = engine == "single"

    if one_by_one:
        places, size = _places(model), _fours(n_features)
        weight = np.zeros((n_instances, size), np.float32)
        weight[:, :n_features] = importance
        size += (1 if model.tied else 2) * size * _fours(model.n_hidden)
        state = np.zeros((4, n_instances, size), np.float32)
        state[0][:, places] = _flat(model)
        work, total = _work_of_one(model), np.zeros(n_instances)
    else:
        n_tiles = -(-n_instances // LANES)
        weight, parameters = _lanes(importance, n_tiles), _packed(model, n_tiles)
        state = np.zeros((4, *parameters.shape), np.float32)
        state[0] = parameters
        work, total = _work(model), np.zeros((n_tiles, LANES))
    run = steps_one_by_one if one_by_one else steps_side_by_side
    kind = _kind(model)
    constants = (*settings.betas, settings.eps, settings.activity_cost, (1 - active) / active)
    at_once = max(1, INPUT_BYTES // (8 * n_features * settings.batch_size))
    room = _room(min(at_once, settings.n_steps) * settings.batch_size, n_features)
    for low, high in pairwise(bounds):
        total[:] = 0
        for start in range(low, high, at_once):
            if stopped.is_set():
                return
            steps = np.arange(start, min(high, start + at_once))
            inputs = _drawn(room, len(steps) * settings.batch_size, features, row, random, cdf)
            run(
                state, weight, inputs, work, kind, constants, steps, settings.rates(steps),
                settings.slopes(steps), total,
            )  # fmt: skip
        if one_by_one:
            _set(model, state[0][:, places])
        else:
            _set(model, np.moveaxis(state[0], -1, 1).reshape(n_tiles * LANES, -1)[:n_instances])
        if not report(high, total.reshape(-1)[:n_instances] / (high - low) * active):
            break
