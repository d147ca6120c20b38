"""What claims about neurons are judged by: layers in streams, shares and rates of them, the choice of models.

Fed with what the chapters measured these give quantities that their rules accept; fed with a null (untrained
models, a rotated hidden layer, a hidden layer without ReLU) in place of the trained models they must not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer, Real
from torch import Tensor

from .. import evidence, measures
from ..checks import a_whole_number, an_array, array, checked, must, refuse
from ..evidence import Interval, Streams
from ..models import PLAIN, ToyModel


class Layers(NamedTuple):
    """Something measured of every layer of a sample, and which layers saw the same inputs.

    Layers of one stream of inputs are not independent: every interval below is over streams.
    """

    value: Real[np.ndarray, " n_layers"] | Bool[np.ndarray, " n_layers"]
    stream: Integer[np.ndarray, " n_layers"]


@checked(
    must(
        lambda value, numbers: numbers is None or len(numbers) == len(value),
        "numbers must be None, or one for each value; got {numbers}",
    ),
    models_per_stream=a_whole_number(),
)
def in_streams(value: Any, models_per_stream: int, numbers: Any = None) -> Layers:
    """Layers of models of which every models_per_stream in a row saw the same inputs.

    Where `value` has a choice of the models alone, say by `best_of_streams`, numbers are theirs among all.

    Raises: ValueError if models_per_stream is below 1, or value and numbers are not equally long.
    """
    layers = np.asarray(value)
    return Layers(layers, np.asarray(range(len(layers)) if numbers is None else numbers) // models_per_stream)


def polysemantic_share(
    C: Float[Tensor, "n_instances n_hidden n_features"], *, theta: float = measures.THETA
) -> Float[np.ndarray, " n_instances"]:
    """Share of each layer's live neurons that have two features or more; 0 if all are dead.

    Raises: ValueError as `measures.neuron_kinds` does.
    """
    kinds = measures.neuron_kinds(C, theta=theta)
    return measures.polysemantic_fraction(kinds).nan_to_num(0).numpy()


def contrast(sparse: Layers, dense: Layers, **options: Any) -> Interval:
    """Mean of the sparse layers' values less that of the dense layers', with a bootstrap interval."""
    streams = (sparse.stream, dense.stream)
    return evidence.difference(sparse.value, dense.value, paired=False, clusters=streams, **options)


def rate(layers: Layers) -> Interval:
    """Share of layers of which something is true.

    The interval is the wider of two: the bootstrap's over streams, which knows that layers of one stream
    are alike, and Wilson's, which knows that none in fifty is not yet never.
    """
    values = array("value", layers.value, ndim=1)
    if (neither := values[~np.isin(values, (0, 1))]).size:
        refuse("value must be True or False for every layer", neither[0])
    wilson = evidence.share_of(values)
    streams = evidence.bootstrap(values, clusters=[layers.stream])
    wider = Interval(wilson.estimate, min(wilson.low, streams.low), max(wilson.high, streams.high))
    return wider.over(_with_counts(streams, layers))


def _with_counts(found: Interval, layers: Layers) -> Streams:
    """The streams of a share, and how many layers of each hold."""
    assert found.streams is not None
    place = np.unique(layers.stream, return_inverse=True)[1]
    counts = np.stack([np.bincount(place, layers.value), np.bincount(place)])
    return replace(found.streams, counts=counts)


def _whole_streams(loss: np.ndarray, models_per_stream: int) -> None:
    if loss.shape[-1] % models_per_stream:
        refuse(f"models_per_stream must divide the {loss.shape[-1]} models", models_per_stream)


@checked(_whole_streams, models_per_stream=a_whole_number(at_least=2), loss=an_array(ndim=(1, 2, 3)))
def best_of_streams(
    loss: Float[np.ndarray, "*settings n_models"], models_per_stream: int
) -> Int[np.ndarray, "*settings n_chosen"]:
    """The two models of lowest loss among every models_per_stream in a row, which see the same inputs.

    The best of all would mostly come from one lucky stream, where all models find the same solution.

    Shapes: -> indices (..., n_models // models_per_stream * 2), stream by stream.
    Raises: ValueError if streams are not whole, or of fewer than two.
    """
    per = models_per_stream
    ranked = loss.reshape(*loss.shape[:-1], -1, per).argsort(-1)[..., :2]
    first = per * np.arange(loss.shape[-1] // per)[:, None]
    return (ranked + first).reshape(*loss.shape[:-1], -1)


@torch.no_grad()
@checked(
    must(lambda model: model.tied, "model must be tied: one W; got {model:type}"), times=a_whole_number()
)
def dealt(model: ToyModel, times: int = 1) -> ToyModel:
    """Copies of a tied model whose features each have their weights dealt anew among the neurons.

    A null for what neurons hold: every feature keeps its weights, but features no longer share or avoid
    each other's neurons.

    Shapes: -> times * n_instances instances, the first n_instances dealt from one instance each, and so on.
    Raises: ValueError if the model has two weight matrices.
    """
    copy = model.select(np.tile(np.arange(model.n_instances), times))
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(copy.W.shape, generator=generator, **PLAIN).argsort(1)
    copy.W.copy_(copy.W.gather(1, order))
    return copy


def less(a: Interval, b: Interval) -> Interval:
    """The difference of two estimates that are independent: each side's distances add up as squares."""
    estimate = a.estimate - b.estimate
    found = Interval(
        estimate,
        estimate - float(np.hypot(a.estimate - a.low, b.high - b.estimate)),
        estimate + float(np.hypot(a.high - a.estimate, b.estimate - b.low)),
    )
    if a.streams is None or b.streams is None:
        return found
    return found.over(Streams(estimate, a.streams.groups + tuple(-each for each in b.streams.groups)))


_layers = must(
    lambda has, represented: has.ndim == 3 and represented.shape == (has.shape[0], has.shape[2]),
    "has must be (n_instances, n_hidden, n_features) and represented (n_instances, n_features); "
    "got {has:shape} and {represented:shape}",
)


@checked(_layers, neurons_per_feature=a_whole_number())
def clean_and_shared(
    has: Bool[Tensor, "n_instances n_hidden n_features"],
    represented: Bool[Tensor, "n_instances n_features"],
    *,
    neurons_per_feature: int = 1,
) -> Bool[np.ndarray, " n_instances"]:
    """Whether a layer has a part of its own for some feature, and another part that features share.

    Parts are those of `measures.regime`. A clean part holds one feature. A shared part holds more features
    than its neurons could hold one by one: more than neurons / neurons_per_feature of them.

    Raises: ValueError if the shapes do not match or neurons_per_feature is below 1.
    """
    result = np.zeros(len(has), bool)
    for k in range(len(has)):
        parts = measures.regime(has[k], represented[k])
        clean = any(n_features == 1 for n_features, _ in parts)
        shared = any(
            n_features > 1 and n_features * neurons_per_feature > n_neurons for n_features, n_neurons in parts
        )
        result[k] = clean and shared
    return result


def describe(parts: list[tuple[int, int]]) -> str:
    """A regime in words: '3 in 2 + 3 clean' for three features in two neurons and three clean neurons."""
    groups = [f"{f} in {n}" for f, n in parts if (f, n) != (1, 1)]
    counted = [f"{groups.count(g)} x {g}" if groups.count(g) > 1 else g for g in dict.fromkeys(groups)]
    n_clean = parts.count((1, 1))
    return " + ".join(counted + ([f"{n_clean} clean"] if n_clean else [])) or "nothing"
