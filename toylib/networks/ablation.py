"""What a network says otherwise without one neuron, beside a direction of its layer that varies as much.

A unit is a direction of length 1 in the space of a layer's neurons: an axis, which is a neuron, or another.
Taken out, it stays at its mean over all that is shown. To compare like with like, neurons are grouped with
those that vary about as much, and directions are drawn within a group: its neurons and the axes of a rotation
of it have the same variance in sum, so that as much is taken out of the layer by the one as by the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from ..checks import a_seed, a_whole_number, checked, must, refuse
from ..measures import random_rotation
from .language import LanguageModel
from .reader import Reader
from .vision import VisionNetwork

READ_BY = {  # what turns a layer's neurons into what it adds to the stream, by the reader's name
    "SmolLM2": "blk.{}.ffn_down.",
    "MiniLM": "encoder.layer.{}.output.dense.",
    "Whisper": "decoder/layer_{}/ffn/linear_1/",
}


class Units(NamedTuple):
    """Units to take out: a neuron of each group, and a direction of the group.

    Shapes: neurons (n_groups, n_neurons) and directions (n_groups, n_neurons), rows of length 1.
    """

    neurons: Float[np.ndarray, "n_groups n_neurons"]
    directions: Float[np.ndarray, "n_groups n_neurons"]


@checked(
    must(
        lambda variance, n_groups, size: variance.ndim == 1 and len(variance) >= 2 * n_groups * size,
        "variance must be of twice as many neurons as the groups hold; got {variance:shape}",
    ),
    n_groups=a_whole_number(),
    size=a_whole_number(at_least=2),
    seed=a_seed(),
)
def units(
    variance: Float[np.ndarray, " n_neurons"], *, n_groups: int = 16, size: int = 16, seed: int = 0
) -> Units:
    """A neuron and a direction of each of some groups of neurons that vary about as much.

    Groups are neighbours in variance, evenly spaced among the half of the neurons that vary more. The neuron
    does not depend on the seed, which draws the directions.

    Raises: ValueError for fewer neurons than twice those of all groups.
    """
    ranked = np.argsort(-variance, kind="stable")[: len(variance) // 2]
    starts = np.linspace(0, len(ranked) - size, n_groups).astype(int)
    chosen = np.random.default_rng(0).integers(size, size=n_groups)
    neurons, directions = np.zeros((2, n_groups, len(variance)), np.float32)
    for k, start in enumerate(starts):
        group = ranked[start : start + size]
        neurons[k, group[chosen[k]]] = 1
        directions[k, group] = random_rotation(size, seed + k).numpy()[0]
    return Units(neurons, directions)


# --- readers ------------------------------------------------------------------------------------------


def without(reader: Reader, layer: int, unit: Float[Tensor, " d_mlp"], mean: float) -> Reader:
    """The reader whose layer writes what it would with a unit kept at its mean.

    Raises: ValueError for a reader whose layers are not known here.
    """
    if reader.name not in READ_BY:
        refuse(f"reader must be one of {', '.join(READ_BY)}", reader.name)
    name = READ_BY[reader.name].format(layer)
    W = reader.weights[f"{name}weight"]
    written = W @ unit
    bias = reader.weights.get(f"{name}bias", torch.zeros(len(W))) + mean * written
    other = copy.copy(reader)
    edited = {f"{name}weight": W - torch.outer(written, unit), f"{name}bias": bias}
    other.weights = {**reader.weights, **edited}
    if isinstance(model := getattr(reader, "model", None), LanguageModel):
        other.model = LanguageModel(  # type: ignore[attr-defined]
            other.weights, reader.tokenizer, n_heads=model.n_heads, rope_base=model.rope_base, eps=model.eps
        )
    return other


def _said(reader: Reader, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """What the last layer hands on, and what scores are read by; an encoder has no scores."""
    if reader.name == "SmolLM2":
        model: LanguageModel = reader.model  # type: ignore[attr-defined]
        return model._norm(x, model.weights["output_norm.weight"]), model.weights["token_embd.weight"]
    if reader.name == "Whisper":
        return reader._norm("decoder", x), reader.weights["decoder/projection/weight"]  # type: ignore[attr-defined]
    return x, None


def _apart(p: Tensor | None, change: Tensor, readout: Tensor | None) -> Tensor:
    """How far predictions move by a change of what is read, by position."""
    if p is None or readout is None:
        return change.square().sum(-1)
    scores = linear(change, readout)
    mean = (p * scores).sum(-1)
    return ((p * scores.square_()).sum(-1) - mean**2).clamp(min=0) / 2


@torch.no_grad()
def changes(
    reader: Reader,
    tokens: Int[Tensor, "n_passages n_tokens"],
    layer: int,
    choose: Callable[[Float[np.ndarray, " d_mlp"]], Float[np.ndarray, "n_units d_mlp"]],
) -> Iterator[Float[np.ndarray, "n_passages n_tokens"]]:
    """What is said otherwise at each position without each of the units that `choose` makes of the variances.

    Of a decoder half the variance of its scores' change, under its own prediction: to second order the
    divergence of the new prediction from the old one, in nats, and exact where changes are small. Of an
    encoder the squared change of the vector that it gives the token.
    """
    start, end = (torch.tensor(ends).expand(len(tokens), -1) for ends in (reader.start, reader.end))
    own = slice(len(reader.start), len(reader.start) + tokens.shape[1])
    x = reader.begin(torch.cat([start, tokens, end], 1).long())
    for k in range(layer):
        x, _ = reader.step(k, x)

    def after(first: Reader) -> Tensor:
        y, _ = first.step(layer, x)
        for k in range(layer + 1, reader.n_layers):
            y, _ = reader.step(k, y)
        return y[:, own]

    neurons = reader.step(layer, x)[1][:, own].flatten(0, 1)
    before, readout = _said(reader, after(reader))
    p = None if readout is None else linear(before, readout).softmax(-1)
    for unit in torch.from_numpy(choose(neurons.var(0).numpy())).float():
        taken = without(reader, layer, unit, float((neurons @ unit).mean()))
        change = _said(reader, after(taken))[0] - before
        parts = (None,) * len(tokens) if p is None else p
        moved = [_apart(one, c, readout) for one, c in zip(parts, change, strict=True)]
        yield torch.stack(moved).numpy()


def spread(amounts: Float[np.ndarray, "n_units n"]) -> Float[np.ndarray, " n_units"]:
    """Over how many, as a share of all, amounts are spread: the participation ratio over their number."""
    return amounts.sum(1) ** 2 / (amounts**2).sum(1) / amounts.shape[1]


# --- vision networks ----------------------------------------------------------------------------------


def class_changes(
    network: VisionNetwork,
    pixels: Tensor,
    path: str,
    choose: Callable[[Float[np.ndarray, " channels"]], Float[np.ndarray, "n_units channels"]],
    *,
    batch_size: int = 16,
) -> Iterator[Float[np.ndarray, "n_images n_classes"]]:
    """Squared change of every class's score, image by image, without each unit of what a module reads.

    path: of the module that reads the layer. A unit is taken out at all places of an image. Scores are taken
    about their mean over classes, to which a softmax is blind.

    Raises: ValueError for a path that the network does not have.
    """
    modules = dict(network.module.named_modules())
    if path not in modules:
        refuse(f"path must name a module of {network.name}", repr(path))
    batches = [network.normalise(batch) for batch in pixels.split(batch_size)]
    read: list[Tensor] = []

    def run(hook: Callable[[nn.Module, tuple[Tensor]], Tensor | None]) -> Tensor:
        handle = modules[path].register_forward_pre_hook(hook)
        try:
            with torch.no_grad():
                scores = torch.cat([network.module(batch) for batch in batches])
        finally:
            handle.remove()
        return scores - scores.mean(1, keepdim=True)

    def watch(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        read.append(inputs[0].movedim(1, -1).flatten(0, -2))

    before = run(watch)
    activity = torch.cat(read)
    for unit in torch.from_numpy(choose(activity.var(0).numpy())).float():
        mean = (activity @ unit).mean()

        def take_out(_module: nn.Module, inputs: tuple[Tensor], unit=unit, mean=mean) -> Tensor:
            along = torch.einsum("bchw,c->bhw", inputs[0], unit) - mean
            return inputs[0] - unit[:, None, None] * along[:, None]

        yield (run(take_out) - before).square().numpy()
