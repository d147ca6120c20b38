"""The compiled inner loop: many small models trained at once, side by side in the lanes of an array.

A tile is LANES models that see the same inputs. Every array of a tile ends in an axis of LANES, and
every inner loop runs over that axis: the compiler turns it into vector instructions, and a model gets
the same arithmetic in every lane, whoever its neighbours are. Four inputs are worked on together, so
that a weight is loaded once for four. Only the active features of an input are touched where it enters.

Three things keep the inner loops fast. Rows of one array lie a constant apart (_1 to _7): otherwise the
compiler guards each loop against rows that overlap. Offsets are unsigned: otherwise it guards against
negative indices. The number of lanes is read from an array: a loop of known length is unrolled before it
can become vector instructions. Together they are worth a factor of two to four.

The inputs are drawn before the call: the machine code cached for this file depends on this file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from .compiled import compiled
from .features import TRAINING, SparseFeatures, draw, new_stream
from .models import AbsoluteValueModel, ToyModel

if TYPE_CHECKING:
    from .training import Settings

LANES = 32
TILES = 2  # in a block of instances, at most: they share the inputs that are drawn
INPUT_BYTES = 2**19  # inputs drawn at a time, about

_1, _2, _3, _4, _5, _6, _7 = (np.uint64(k * LANES) for k in range(1, 8))
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


@compiled(inline="always")
def _leaky(z, leak):  # a ReLU for leak 0, the identity for leak 1; passes NaN on
    return leak * z if z <= _ZERO else z


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _batch(
    w_in,
    w_out,
    b,
    importance,
    count,
    index,
    value,
    absolute,
    leaks,
    cost,
    learn,
    g_in,
    g_out,
    g_b,
    loss,
    work,
):
    """Add a batch's loss and, to learn, its gradients, times the batch size, to loss and g_in, g_out, g_b.

    Shapes: w_in, w_out, g_in, g_out (n_features, n_hidden, LANES); b, importance, g_b (n_features, LANES);
            loss (LANES,); count (batch,), index, value (batch, n_features). work: hidden (n_hidden,
            8 LANES), h of four inputs and its gradient; output (4 LANES,); target (n_features, 4).
    """
    n_features, n_hidden = w_in.shape[0], w_in.shape[1]
    hidden, output, target = work
    hidden_leak, output_leak, output_slope = leaks
    lanes, four = np.uint64(loss.size), np.uint64(4 * loss.size)
    n_inputs = count.size
    for first in range(0, n_inputs, 4):
        n_here = min(4, n_inputs - first)
        for j in range(n_hidden):
            row = hidden[j]
            for lane in range(four + four):
                row[lane] = _ZERO
        for k in range(n_here):
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = abs(v) if absolute else v
                for j in range(n_hidden):
                    row, w = hidden[j, k * LANES :], w_in[i, j]
                    for lane in range(lanes):
                        row[lane] += v * w[lane]
        for j in range(n_hidden):
            row = hidden[j]
            for lane in range(four):
                row[lane] = _leaky(row[lane], hidden_leak)
        # one where there is an input, zero where the last four are not all there
        k1, k2, k3 = np.float32(n_here > 1), np.float32(n_here > 2), np.float32(n_here > 3)
        for i in range(n_features):
            bias, weight, grad_bias = b[i], importance[i], g_b[i]
            for lane in range(lanes):
                output[lane] = bias[lane]
                output[lane + _1] = bias[lane]
                output[lane + _2] = bias[lane]
                output[lane + _3] = bias[lane]
            for j in range(n_hidden):
                row, w = hidden[j], w_out[i, j]
                for lane in range(lanes):
                    output[lane] += w[lane] * row[lane]
                    output[lane + _1] += w[lane] * row[lane + _1]
                    output[lane + _2] += w[lane] * row[lane + _2]
                    output[lane + _3] += w[lane] * row[lane + _3]
            t0, t1, t2, t3 = target[i, 0], target[i, 1], target[i, 2], target[i, 3]
            for lane in range(lanes):
                o0, o1, o2, o3 = output[lane], output[lane + _1], output[lane + _2], output[lane + _3]
                r0 = _leaky(o0, output_leak) - t0
                r1 = (_leaky(o1, output_leak) - t1) * k1
                r2 = (_leaky(o2, output_leak) - t2) * k2
                r3 = (_leaky(o3, output_leak) - t3) * k3
                loss[lane] += weight[lane] * ((r0 * r0 + r1 * r1) + (r2 * r2 + r3 * r3))
                double = _TWO * weight[lane]
                r0 *= double * (output_slope if o0 <= _ZERO else _ONE)
                r1 *= double * (output_slope if o1 <= _ZERO else _ONE)
                r2 *= double * (output_slope if o2 <= _ZERO else _ONE)
                r3 *= double * (output_slope if o3 <= _ZERO else _ONE)
                output[lane], output[lane + _1], output[lane + _2], output[lane + _3] = r0, r1, r2, r3
                grad_bias[lane] += (r0 + r1) + (r2 + r3)
            for j in range(n_hidden if learn else 0):
                row, w, grad = hidden[j], w_out[i, j], g_out[i, j]
                for lane in range(lanes):
                    r0, r1, r2, r3 = output[lane], output[lane + _1], output[lane + _2], output[lane + _3]
                    grad[lane] += (r0 * row[lane] + r1 * row[lane + _1]) + (
                        r2 * row[lane + _2] + r3 * row[lane + _3]
                    )
                    row[lane + _4] += w[lane] * r0
                    row[lane + _5] += w[lane] * r1
                    row[lane + _6] += w[lane] * r2
                    row[lane + _7] += w[lane] * r3
        for j in range(n_hidden):
            row = hidden[j]
            if cost > _ZERO:
                for lane in range(lanes):
                    loss[lane] += cost * (
                        (abs(row[lane]) + abs(row[lane + _1])) + (abs(row[lane + _2]) + abs(row[lane + _3]))
                    )
                for lane in range(four):
                    row[lane + _4] += cost * np.sign(row[lane])
            for lane in range(four):
                row[lane + _4] *= hidden_leak if row[lane] <= _ZERO else _ONE
        for k in range(n_here):
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = _ZERO
                for j in range(n_hidden if learn else 0):
                    row, grad = hidden[j, (4 + k) * LANES :], g_in[i, j]
                    for lane in range(lanes):
                        grad[lane] += v * row[lane]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _adam(parameters, mean, square, gradient, scale, lr, beta1, beta2, eps, step):
    """One step of Adam on flat arrays; the gradient is `scale` times what is given, and is cleared."""
    first, second = np.float32(beta1), np.float32(beta2)
    other1, other2 = np.float32(1 - beta1), np.float32(1 - beta2)
    size = np.float32(lr / (1 - beta1**step))
    root = np.float32(1 / np.sqrt(1 - beta2**step))
    small = np.float32(eps)
    for i in range(parameters.size):
        g = gradient[i] * scale
        gradient[i] = _ZERO
        mean[i] = first * mean[i] + other1 * g
        square[i] = second * square[i] + other2 * (g * g)
        parameters[i] -= size * mean[i] / (np.sqrt(square[i]) * root + small)


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _steps(state, importance, inputs, work, kind, constants, steps, lr, revival, total):
    """Train every tile for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_tiles, rows, LANES): parameters, Adam's two moments, gradient; rows are the input
            weights, the output weights if untied, the biases. importance (n_tiles, n_features, LANES);
            steps, lr, revival (n_steps,); total (n_tiles, LANES).
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    beta1, beta2, eps, activity_cost, empty_weight = constants
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p, g, weight = state[0, tile], state[3, tile], importance[tile]
        w_in, w_out, b = p[:size].reshape(shape), p[low:high].reshape(shape), p[high:]
        g_in, g_out, g_b = g[:size].reshape(shape), g[low:high].reshape(shape), g[high:]
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss[:] = _ZERO
            _batch(
                w_in, w_out, b, weight, count[first:last], index[first:last], value[first:last],
                absolute, leaks, np.float32(activity_cost), True, g_in, g_out, g_b, loss, work,
            )  # fmt: skip
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                for lane in range(LANES):
                    y = _leaky(b[i, lane], output_leak)
                    error = empties * weight[i, lane] * y
                    loss[lane] += error * y
                    g_b[i, lane] += _TWO * error * (output_leak if b[i, lane] <= _ZERO else _ONE)
            for lane in range(LANES):
                total[tile, lane] += loss[lane] * scale
            _adam(
                p.reshape(-1), state[1, tile].reshape(-1), state[2, tile].reshape(-1), g.reshape(-1),
                scale, lr[s], beta1, beta2, eps, steps[s] + 1,
            )  # fmt: skip


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _losses(parameters, importance, inputs, work, kind, total):
    """Add the summed loss on these inputs to total (n_tiles, LANES); shapes as for `_steps`."""
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    leaks, unused = (hidden_leak, output_leak, output_leak), np.zeros((n_features, LANES), np.float32)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p = parameters[tile]
        w_in, w_out = p[:size].reshape(shape), p[low:high].reshape(shape)
        for first in range(0, count.size, 512):  # single precision adds up few numbers only
            last = min(count.size, first + 512)
            loss[:] = _ZERO
            _batch(
                w_in, w_out, p[high:], importance[tile], count[first:last], index[first:last],
                value[first:last], absolute, leaks, _ZERO, False, w_in, w_out, unused, loss, work,
            )  # fmt: skip
            for lane in range(LANES):
                total[tile, lane] += loss[lane]


def refusal(model: ToyModel) -> str | None:
    """Why the kernel cannot train this model, or None if it can."""
    kind = type(model)
    if model.b_final.device.type != "cpu" or model.b_final.dtype != torch.float32:
        return f"it works in float32 on a CPU; got {model.b_final.dtype} on {model.b_final.device}"
    names = {name for name, _ in model.named_parameters()}
    if names != ({"W", "b_final"} if kind.tied else {"W1", "W2", "b_final"}):
        return f"it knows W or W1 and W2, and b_final; got the parameters {', '.join(sorted(names))}"
    if kind.target not in (ToyModel.target, AbsoluteValueModel.target):
        return f"it knows the targets x and |x|; {kind.__name__} has its own"
    changed = [name for name in ("hidden", "forward", "W_in", "W_out") if name in _own_names(kind)]
    if changed:
        return f"it reads a model's flags only; {kind.__name__} changes {', '.join(changed)}"
    return None


def _own_names(kind: type) -> set[str]:
    return {name for k in kind.__mro__[: kind.__mro__.index(ToyModel)] for name in vars(k)}


def _cost(model: ToyModel, n_tiles: int) -> tuple[float, float]:
    """Nanoseconds per input of training in the kernel and in torch, measured on one core of 2020.

    The kernel pays for every lane of a tile, filled or not. Evaluation is a third of either.
    """
    n_weights = model.n_features * model.n_hidden
    in_torch = model.n_instances * (100 + 15 * model.n_features + 0.15 * n_weights)
    return n_tiles * LANES * (10 + 0.3 * n_weights), in_torch


def pays(model: ToyModel, features: SparseFeatures, settings: Settings) -> bool:
    """Whether the kernel is expected to be faster than torch, which also pays 0.5 ms a step for its calls."""
    n_tiles = sum(-(-len(group) // LANES) for group in _groups(model, features, settings))
    in_kernel, in_torch = _cost(model, n_tiles)
    return in_kernel < in_torch + 500_000 / settings.batch_size


def pays_to_evaluate(model: ToyModel) -> bool:
    """Whether the kernel can measure these instances' loss on shared inputs, and faster than torch."""
    in_kernel, in_torch = _cost(model, -(-model.n_instances // LANES))
    return refusal(model) is None and in_kernel < in_torch


def _groups(model: ToyModel, features: SparseFeatures, settings: Settings) -> list[np.ndarray]:
    """Instances that see the same inputs."""
    _, stream = features.streams(model.seeds, settings.models_per_stream)
    order = np.argsort(stream, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(stream[order])) + 1)


def blocks(
    model: ToyModel, features: SparseFeatures, settings: Settings, workers: int = 1
) -> list[np.ndarray]:
    """Instances that see the same inputs, in blocks of a tile or two, and enough blocks for the workers."""
    groups = _groups(model, features, settings)
    size = LANES * (1 if len(groups) < workers else TILES)
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


def _packed(model: ToyModel, n_tiles: int) -> np.ndarray:
    """The parameters (n_tiles, rows, LANES)."""
    flat = [view.detach().numpy().reshape(model.n_instances, -1) for view in _views(model)]
    return _lanes(np.concatenate(flat, 1), n_tiles)


def _work(model: ToyModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.empty((model.n_hidden, 8 * LANES), np.float32),
        np.empty(4 * LANES, np.float32),
        np.zeros((model.n_features, 4), np.float32),
    )


def _kind(model: ToyModel) -> tuple[bool, bool, np.float32, np.float32]:
    absolute = type(model).target is AbsoluteValueModel.target
    return not model.tied, absolute, np.float32(not model.hidden_relu), np.float32(not model.output_relu)


def _drawn(
    n_inputs: int, features: SparseFeatures, row: int, random: np.ndarray, cdf: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The next inputs of a stream, in sparse form: how many features are active, which, and their values."""
    n_features = features.n_features
    inputs = (
        np.empty(n_inputs, np.int32),
        np.empty((n_inputs, n_features), np.int32),
        np.empty((n_inputs, n_features), np.float32),
    )
    draw(random, features.unit_probability[row], cdf, *features.units, features.signed, *inputs)
    return inputs


def held_out_loss(
    model: ToyModel,
    importance: np.ndarray,
    features: SparseFeatures,
    row: int,
    random: np.ndarray,
    n_inputs: int,
) -> np.ndarray:
    """Mean loss (n_instances,) on the stream's next n_inputs non-empty inputs.

    Shapes: importance (n_instances, n_features).
    """
    n_tiles = -(-model.n_instances // LANES)
    parameters, weight, work = _packed(model, n_tiles), _lanes(importance, n_tiles), _work(model)
    cdf, total = features.first_active_cdf(row), np.zeros((n_tiles, LANES))
    at_once = 512 * max(1, INPUT_BYTES // (8 * model.n_features * 512))
    for start in range(0, n_inputs, at_once):
        inputs = _drawn(min(at_once, n_inputs - start), features, row, random, cdf)
        _losses(parameters, weight, inputs, work, _kind(model), total)
    return total.reshape(-1)[: model.n_instances] / n_inputs


@torch.no_grad()
def train_block(
    model: ToyModel,
    features: SparseFeatures,
    settings: Settings,
    bounds: Sequence[int],
    report: Callable[[int, np.ndarray, ToyModel], None],
) -> None:
    """Train a block of `blocks` in place; at every bound report the step and the mean loss since the last."""
    n_features, n_instances = model.n_features, model.n_instances
    n_tiles = -(-n_instances // LANES)
    streams, _ = features.streams(model.seeds, settings.models_per_stream)
    [(row, stream)] = streams.tolist()
    random = new_stream(stream, TRAINING + settings.data_seed)
    cdf = features.first_active_cdf(row) if settings.skip_empty else np.empty(0)
    empty = float(features.empty_probability[row]) if settings.skip_empty else 0.0
    importance = np.broadcast_to(features.importance, (n_instances, n_features))

    weight = _lanes(importance, n_tiles)
    parameters = _packed(model, n_tiles)
    state = np.zeros((4, *parameters.shape), np.float32)
    state[0] = parameters
    work, kind = _work(model), _kind(model)
    constants = (*settings.betas, settings.eps, settings.activity_cost, empty / (1 - empty))
    at_once = max(1, INPUT_BYTES // (8 * n_features * settings.batch_size))
    for low, high in pairwise(bounds):
        total = np.zeros((n_tiles, LANES))
        for start in range(low, high, at_once):
            steps = np.arange(start, min(high, start + at_once))
            inputs = _drawn(len(steps) * settings.batch_size, features, row, random, cdf)
            lr, revival = settings.lr[steps], settings.revival[steps]
            _steps(state, weight, inputs, work, kind, constants, steps, lr, revival, total)
        trained = np.moveaxis(state[0], -1, 1).reshape(n_tiles * LANES, -1)[:n_instances]
        for view in _views(model):
            size = view[0].numel()
            view.copy_(torch.from_numpy(trained[:, :size].reshape(view.shape)))
            trained = trained[:, size:]
        report(high, total.reshape(-1)[:n_instances] / (high - low) * (1 - empty), model)
