"""How many clean neurons a layer of a levelled task can have: the lowest losses that masks leave.

A neuron is clean in a *unit* (a feature, a sense or a token) if it reads that unit's inputs alone, contexts
aside, and writes to that unit's outputs alone. Masks hold it there while the layer trains. What the others
must share then follows from the losses, as in `sharing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import a_number, a_seed, a_whole_number, an_array, checked, must, one_of, refuse
from ..evidence import Interval, bootstrap
from .levelled import Draw, LevelledModel, Streams, relative_loss, train_levels
from .sharing import needed_share


class Task(NamedTuple):
    """A task of one level, and what a neuron may read and write that is clean in one of its units.

    start: the input weights of a neuron that gives the unit back alone; to its outputs it has weights 1.
    """

    draw: Draw
    reads: Bool[Tensor, "n_units n_inputs"]
    writes: Bool[Tensor, "n_units n_outputs"]
    start: Float[Tensor, "n_units n_inputs"]


def _contexts(u: Tensor, n_contexts: int) -> Tensor:
    """One context in each row, from a uniform number: (..., 1) -> (..., n_contexts)."""
    return (u * n_contexts).floor() == torch.arange(n_contexts)


_reachable = must(
    lambda density, below, n_contexts: below / n_contexts <= density <= 1 / n_contexts,
    "density must be from below / n_contexts to 1 / n_contexts; got {density}, below = {below}",
)


@checked(
    _reachable,
    density=a_number(above=0),
    below=a_number(above=0, at_most=0.99),
    n_features=a_whole_number(),
    n_contexts=a_whole_number(at_least=2),
)
def level_task(density: float, *, below: float = 0.02, n_features: int = 18, n_contexts: int = 3) -> Task:
    """A feature is present if its parent is, or a fresh input, and its context: f = (parent or e) and c.

    Inputs are parents, fresh inputs, contexts. Parents have the density `below`; fresh inputs have the one
    that gives the features `density`. Units are features.

    Raises: ValueError for a density that no fresh input gives, or sizes too small.
    """
    fresh = 1 - (1 - n_contexts * density) / (1 - below)
    n, of_feature = n_features, torch.arange(n_features) % n_contexts

    def draw(batch_size: int, streams: Streams) -> tuple[list[Tensor], list[Tensor]]:
        u = streams.rand(batch_size, 2 * n + 1)
        parent, e, on = u[..., :n] < below, u[..., n : 2 * n] < fresh, _contexts(u[..., 2 * n :], n_contexts)
        present = (parent | e) & on[..., of_feature]
        return [torch.cat([parent, e, on], -1).float()], [present.float()]

    own, others = torch.eye(n, dtype=torch.bool), of_feature[:, None] != torch.arange(n_contexts)
    reads = torch.cat([own, own, torch.ones_like(others)], 1)
    start = torch.cat([own, own, -2.0 * others], 1)
    return Task(draw, reads, own, start)


@checked(
    p=a_number(above=0, at_most=0.99),
    n_tokens=a_whole_number(),
    n_contexts=a_whole_number(at_least=2),
    by=one_of("sense", "token"),
)
def senses_task(p: float, *, n_tokens: int = 8, n_contexts: int = 4, by: str = "sense") -> Task:
    """Independent tokens, each present with probability p, in one context; an output for each sense.

    Units are senses, a token in a context each, or tokens.

    Raises: ValueError for a p that is no probability, sizes too small, or another unit.
    """
    n, k = n_tokens, n_contexts

    def draw(batch_size: int, streams: Streams) -> tuple[list[Tensor], list[Tensor]]:
        u = streams.rand(batch_size, n + 1)
        token, context = (u[..., :n] < p).float(), _contexts(u[..., n:], k).float()
        return [torch.cat([token, context], -1)], [(token[..., None] * context[..., None, :]).flatten(-2)]

    tokens, contexts = torch.eye(n, dtype=torch.bool), torch.eye(k, dtype=torch.bool)
    if by == "token":
        writes, start = tokens.repeat_interleave(k, 1), torch.cat([tokens, torch.zeros(n, k)], 1)
    else:
        writes, tokens = torch.eye(n * k, dtype=torch.bool), tokens.repeat_interleave(k, 0)
        start = torch.cat([tokens, -1.0 * ~contexts.repeat(n, 1)], 1)
    return Task(draw, torch.cat([tokens, torch.ones(len(tokens), k, dtype=torch.bool)], 1), writes, start)


def masked(
    task: Task, n_hidden: int, clean: Sequence[int], seeds: Any, *, init_scale: float = 0.5
) -> tuple[LevelledModel, tuple[Tensor, Tensor]]:
    """Untrained layers, those of all seeds for every number of clean neurons, and their masks.

    The first neurons are clean in the first units, and start as such beside small weights.

    Shapes: masks (n_clean * n_seeds, n_hidden, n_inputs) and (.., n_outputs, n_hidden), 0 or 1.
    Raises: ValueError for more clean neurons than neurons or units.
    """
    n_units, n_inputs = task.reads.shape
    if not len(clean) or not all(0 <= c <= min(n_hidden, n_units) for c in clean):
        refuse(f"clean must be numbers from 0 to {min(n_hidden, n_units)}", clean)
    n_outputs, n_seeds = task.writes.shape[1], len(seeds)
    model = LevelledModel(
        [n_inputs], [n_hidden], [n_outputs], np.tile(seeds, len(clean)), init_scale=init_scale
    )
    reads, writes = torch.ones_like(model.W_in[0]), torch.ones_like(model.W_out[0])
    with torch.no_grad():
        for k, c in enumerate(clean):
            own = slice(k * n_seeds, (k + 1) * n_seeds)
            reads[own, :c] = task.reads[:c].float()
            writes[own, :, :c] = task.writes[:c].T.float()
            model.W_in[0][own, :c] = task.start[:c]
            model.W_out[0][own, :, :c] = task.writes[:c].T.float()
    return model, (reads, writes)


_whole_streams = must(
    lambda first_seed, per_stream: first_seed % per_stream == 0,
    "first_seed must be a multiple of per_stream = {per_stream}; got {first_seed}",
)


@checked(
    _whole_streams,
    n_hidden=a_whole_number(),
    first_seed=a_seed(bits=31),
    n_streams=a_whole_number(),
    per_stream=a_whole_number(),
    n_steps=a_whole_number(),
    polish=a_whole_number(),
)
def least_losses(
    task: Task,
    n_hidden: int,
    clean: Sequence[int],
    *,
    first_seed: int,
    n_streams: int = 8,
    per_stream: int = 8,
    n_steps: int = 500,
    polish: int = 4000,
    n_inputs: int = 2**15,
) -> Float[np.ndarray, "n_streams n_clean"]:
    """Lowest loss over the null predictor's in every stream of inputs, by the number of clean neurons.

    per_stream starts are trained for n_steps, and the best of them for `polish` steps on other inputs. From
    the one with most clean neurons down, each layer found then starts the next as well, whose masks leave it
    more, for a quarter of `polish` steps: what fewer clean neurons can do, more need not do better. The lower
    of the two by held-out inputs is kept, and its loss is that on others. All numbers of clean neurons see
    the same inputs, in training and after it.

    Raises: ValueError for more clean neurons than neurons or units, sizes below 1, or a first_seed in the
            middle of a stream.
    """
    seeds = first_seed + np.arange(n_streams * per_stream)
    model, masks = masked(task, n_hidden, clean, seeds)
    common: dict[str, Any] = {"models_per_stream": per_stream, "progress": False, "warmup": 50}
    first: dict[str, Any] = {"n_steps": n_steps, "batch_size": 64, "lr": 0.03, "data_seed": first_seed}
    loss = train_levels(model, task.draw, masks=[masks], **first, **common)
    best = loss.reshape(-1, per_stream).argmin(1) + per_stream * np.arange(len(clean) * n_streams)
    model, masks = model.select(best), (masks[0][best], masks[1][best])
    then: dict[str, Any] = {"batch_size": 128, "lr": 0.015, "leak": 0.0} | common
    train_levels(model, task.draw, masks=[masks], n_steps=polish, data_seed=first_seed + 1, **then)

    def losses(layers: LevelledModel, sample: int) -> Float[np.ndarray, " n_layers"]:
        return relative_loss(layers, task.draw, seed=first_seed + sample, n_inputs=n_inputs)[:, 0]

    kept = losses(model, 2)
    rows = np.arange(len(best)).reshape(len(clean), n_streams)[np.argsort(clean)[::-1]]
    for more, fewer in pairwise(rows):
        freed = model.select(more)
        own, steps = [(masks[0][fewer], masks[1][fewer])], -(-polish // 4)
        train_levels(freed, task.draw, masks=own, n_steps=steps, data_seed=first_seed + 2, **then)
        lower = losses(freed, 2) < kept[fewer]
        with torch.no_grad():
            for weights, other in zip(model.parameters(), freed.parameters(), strict=True):
                weights[fewer[lower]] = other[lower]
    return losses(model, 3).reshape(len(clean), n_streams).T


_as_many = must(
    lambda loss, clean: loss.shape[-1] == len(clean),
    "loss must have a column for each of {clean}; got {loss:shape}",
)


@checked(
    _as_many,
    loss=an_array(ndim=2),
    n_hidden=a_whole_number(),
    margin=a_number(at_least=0),
    floor=a_number(at_least=0),
)
def needed_of(
    loss: Float[np.ndarray, "n_streams n_clean"],
    clean: Sequence[int],
    n_hidden: int,
    *,
    margin: float = 0.05,
    floor: float = 1e-4,
) -> float:
    """Share of neurons that must be shared (`sharing.needed_share`), where some numbers c were not tried.

    A layer with more clean neurons is one with c of them as well, so its loss stands in.

    Raises: ValueError for losses that do not match the numbers tried.
    """
    lowest = dict(zip(clean, loss.min(0), strict=True))
    worst = max(lowest.values()) + 1.0  # than any that was tried
    tried = [min([lowest[k] for k in clean if k >= c], default=worst) for c in range(n_hidden + 1)]
    return needed_share(np.array(tried), null=1.0, margin=margin, floor=floor)


def needed_per_decade(
    losses: Float[np.ndarray, "n_densities n_streams n_clean"],
    densities: Sequence[float],
    clean: Sequence[int],
    n_hidden: int,
    *,
    margin: float = 0.05,
    floor: float = 1e-4,
) -> Interval:
    """By how much the needed share rises for a tenth of the density, with an interval over streams.

    Raises: ValueError as `needed_of` does.
    """
    decades = -np.log10(densities)

    def slope(streams: np.ndarray) -> float:
        each = streams.swapaxes(0, 1)
        shares = [needed_of(loss, clean, n_hidden, margin=margin, floor=floor) for loss in each]
        # shares are counts: what is left of 0 by rounding must not pass for a rise
        return round(float(np.polyfit(decades, shares, 1)[0]), 9)

    return bootstrap(np.asarray(losses).swapaxes(0, 1), statistic=slope, n_resamples=1000)


def trained_again(stored: Mapping[str, Any], task: Task, *, n_streams: int = 2) -> float:
    """How far losses trained here are from a toy's in book/data/needed.json, at the last of its densities.

    The median size of the logarithm of their ratio, over the first streams and numbers of clean neurons.
    """
    search = stored["search"] | {"n_streams": n_streams, "first_seed": stored["seed"]}
    here = least_losses(task, stored["n_hidden"], stored["clean"], **search)
    return float(np.median(np.abs(np.log(here / np.array(stored["loss"][-1])[:n_streams]))))


def went_on(stored: Mapping[str, Any]) -> dict[str, float | str]:
    """What longer training did to a toy of book/data/needed.json at both ends, as `Claim.judge` has it.

    The median share that went of the losses, and how far the needed share's rise per decade moved.
    """
    longer, sizes = stored["longer"], (stored["clean"], stored["n_hidden"])
    n, ends = longer["search"]["n_streams"], longer["densities"]
    before = np.array([stored["loss"][stored["densities"].index(d)][:n] for d in ends])
    after = np.array(longer["loss"])
    first, then = (needed_per_decade(losses, ends, *sizes).estimate for losses in (before, after))
    times = longer["search"]["polish"] / stored["search"]["polish"]
    words = {"training": f"{times:g} times as long, at both ends of the dial"}
    return words | {"loss": float(np.median(1 - after / before)), "measure": then - first}
