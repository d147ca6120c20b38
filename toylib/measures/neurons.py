"""Where neurons matter: what each gives back of each feature, and how many features share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..checks import a_number, checked, must, refuse
from ..features import SparseFeatures
from ..inspection import check_match, check_weights_tell
from ..models import ToyModel
from .directions import weights

DEAD, MONOSEMANTIC, POLYSEMANTIC = 0, 1, 2
KINDS = ("dead", "monosemantic", "polysemantic")
THETA = 0.25  # a neuron has the features that contribute more than this share of its largest
DEAD_BELOW = 0.05  # of a unit feature: a neuron that reconstructs less than this of any has none


def _contributions(name: str, value: Any) -> Tensor:
    weights(name, value)
    if (value < 0).any():
        refuse(f"{name} must be 0 or more", value[value < 0][0].item())
    return value


def _kinds(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 2:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        refuse(f"{name} must be a tensor (n_instances, n_hidden)", shape)
    if (unknown := value[(value < DEAD) | (value > POLYSEMANTIC)]).numel():
        refuse(f"{name} must be {DEAD}, {MONOSEMANTIC} or {POLYSEMANTIC}", unknown[0].item())
    return value


def _target_moves(
    model: ToyModel, features: SparseFeatures
) -> list[tuple[float, Float[Tensor, "#n_instances n_features n_features"]]]:
    """For each sign of the features, how the target moves when feature i goes from 0 to a whole unit.

    Shapes: (sign, [..., i, k]), the move of output k; where features do not mix, i alone moves.
    Raises: ValueError if the target is not finite there.
    """
    eye = torch.eye(model.n_features, dtype=model.b_final.dtype, device=model.b_final.device)[None]
    moves = []
    for sign in (1.0, -1.0) if features.signed else (1.0,):
        x = torch.cat([sign * eye, torch.zeros_like(eye[:, :1])], 1)
        y = model.target(x)
        if not y.isfinite().all():
            refuse(f"target must be finite at 0 and at {sign:g}", y.flatten()[:3].tolist())
        moves.append((sign, y[:, :-1] - y[:, -1:]))
    return moves


def _turns(model: ToyModel, rotation: Tensor | None) -> None:
    square = (model.n_hidden, model.n_hidden)
    if rotation is not None and rotation.shape not in (square, (model.n_instances, *square)):
        refuse(f"rotation must be {square}, or {model.n_instances} of them", tuple(rotation.shape))


@torch.no_grad()
@checked(check_match, check_weights_tell, _turns)
def contributions(
    model: ToyModel,
    features: SparseFeatures,
    *,
    rotation: Float[Tensor, "*each n_hidden n_hidden"] | None = None,
) -> Float[Tensor, "n_instances n_hidden n_features"]:
    """How much of a unit feature i comes back through neuron j.

        C_ji = max(0, W_out_ij h_j(e_i))     and, for signed features, the same for -e_i added

    With another target y than x, W_out_ij stands for what the neuron adds along the target's own move
    t = y(e_i) - y(0), as a share of it: sum_k W_out_kj t_k / |t|^2. Where the target stays, nothing can come
    back, and that sign adds 0.

    A rotation looks at the same hidden layer along other axes than its neurons: the control that asks
    whether the neurons are special. What one rotation shows depends on which it is: give each model its own.

    Shapes: rotation (n_hidden, n_hidden), or one for each instance along a leading axis.
    Units:  of the target's move; a well represented feature's C_ji sum over j to about 1 for each sign at
            which the target moves.
    Raises: ValueError if model and features do not match, the model has methods, parameters or hooks of its
            own, of which its weights say nothing, rotation is of another shape, or the target is not finite.
    """
    total = torch.zeros_like(model.W_in)
    for sign, move in _target_moves(model, features):
        response = sign * model.W_in
        if model.hidden_relu:
            response = response.relu()
        size = move.square().sum(2, keepdim=True)
        with torch.autocast(move.device.type, enabled=False):  # it would round the products
            # the zeros of a diagonal move add nothing: for x and |x| this is W_out or -W_out, bit for bit
            out = model.W_out.mT @ torch.where(size > 0, move / size, 0.0).mT
            if rotation is not None:
                response, out = rotation @ response, rotation @ out
        total += (response * out).relu()
    return total


def _shares(C: Tensor) -> Tensor:
    total = C.sum(2, keepdim=True)
    return torch.where(total > 0, C / total, 0.0)  # no bound to divide by: shares do not depend on the scale


@checked(C=_contributions)
def participation_ratio(
    C: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, "n_instances n_hidden"]:
    """Features per neuron, counted smoothly: (sum_i C_i)^2 / sum_i C_i^2.

    Units:  features; k equal contributions count k, a neuron with none counts 0.
    Raises: ValueError if C is not 3-D, not finite or negative.
    """
    square = _shares(C).square().sum(2)
    return torch.where(square > 0, 1 / square.clamp(min=1e-30), 0.0)


@checked(C=_contributions)
def exp_entropy(C: Float[Tensor, "n_instances n_hidden n_features"]) -> Float[Tensor, "n_instances n_hidden"]:
    """Features per neuron as the Hill number of order 1: exp of the entropy of the shares. 0 for none.

    Source: Hill 1973.
    """
    p = _shares(C)
    entropy = -(p * p.clamp(min=1e-30).log()).sum(2)
    return torch.where(p.sum(2) > 0, entropy.exp(), 0.0)


@checked(C=_contributions)
def maximum_share(
    C: Float[Tensor, "n_instances n_hidden n_features"],
) -> Float[Tensor, "n_instances n_hidden"]:
    """Share of a neuron's largest contribution: 1 if it has one feature, 0 if it has none."""
    return _shares(C).amax(2)


@checked(C=_contributions, theta=a_number(at_least=0, at_most=0.999), dead_below=a_number(at_least=0))
def features_of_neurons(
    C: Float[Tensor, "n_instances n_hidden n_features"],
    *,
    theta: float = THETA,
    dead_below: float = DEAD_BELOW,
) -> Bool[Tensor, "n_instances n_hidden n_features"]:
    """Which features a neuron has: those above theta times its largest; none if that is below dead_below.

    Raises: ValueError if C is not 3-D or negative, theta is outside [0, 1) or dead_below is negative.
    """
    largest = C.amax(2, keepdim=True)
    return (theta * largest < C) & (largest > dead_below)


def features_per_neuron(
    C: Float[Tensor, "n_instances n_hidden n_features"],
    *,
    theta: float = THETA,
    dead_below: float = DEAD_BELOW,
) -> Int[Tensor, "n_instances n_hidden"]:
    """Number of features a neuron has, by `features_of_neurons`."""
    return features_of_neurons(C, theta=theta, dead_below=dead_below).sum(2)


def neuron_kinds(
    C: Float[Tensor, "n_instances n_hidden n_features"],
    *,
    theta: float = THETA,
    dead_below: float = DEAD_BELOW,
) -> Int[Tensor, "n_instances n_hidden"]:
    """DEAD, MONOSEMANTIC (one feature) or POLYSEMANTIC (two or more), as 0, 1 or 2 for every neuron."""
    return features_per_neuron(C, theta=theta, dead_below=dead_below).clamp(max=2)


@checked(kinds=_kinds)
def polysemantic_fraction(kinds: Int[Tensor, "n_instances n_hidden"]) -> Float[Tensor, " n_instances"]:
    """Polysemantic share of the neurons that are not dead; NaN for a model whose neurons are all dead.

    Raises: ValueError if kinds is not 2-D, or holds another code.
    """
    alive = (kinds != DEAD).sum(1)
    return (kinds == POLYSEMANTIC).sum(1).double() / alive


@checked(kinds=_kinds)
def holds_both_kinds(kinds: Int[Tensor, "n_instances n_hidden"]) -> Bool[Tensor, " n_instances"]:
    """Whether a layer holds at least one monosemantic and at least one polysemantic neuron.

    Raises: ValueError if kinds is not 2-D, or holds another code.
    """
    return (kinds == MONOSEMANTIC).any(1) & (kinds == POLYSEMANTIC).any(1)


@torch.no_grad()
@checked(check_match, above=a_number())
def represented(
    model: ToyModel, features: SparseFeatures, *, above: float = 0.5
) -> Bool[Tensor, "n_instances n_features"]:
    """Whether the model reads feature i at all: x'_i(e_i) - x'_i(0) > above.

    Without subtracting the output at the empty input, features that only the bias predicts would count.
    With another target y than x, the output's move is measured along the target's own, as a share of it:

        sum (x'(s e_i) - x'(0)) . (y(s e_i) - y(0)) / sum |y(s e_i) - y(0)|^2 > above

    over the signs s that the features have, +1 and -1 for signed ones. So |x| must be read at both signs, and
    ReLU(x), which ignores one, at the other; where a target mixes features (R x), all that feature i moves
    counts. A feature at which the target never moves cannot be read, and is not represented.

    Raises: ValueError if model and features do not match, above is not a finite number, or the target is not
            finite.
    """
    moves = _target_moves(model, features)
    eye = torch.eye(model.n_features, dtype=model.b_final.dtype, device=model.b_final.device)[None]
    rest = model(torch.zeros_like(eye[:, :1]))
    gain = torch.zeros_like(model.b_final)
    size = torch.stack([move.square().sum(2) for _, move in moves]).sum(0)
    for sign, move in moves:
        moved = model(sign * eye) - rest
        gain += (moved * move).sum(2) / size  # 0 / 0, NaN, where the target never moves: above nothing
    return gain > above


_one_layer = must(
    lambda has, represented: has.ndim == 2 and represented.shape == has.shape[1:],
    "has must be (n_hidden, n_features) and represented (n_features,); "
    "got {has:shape} and {represented:shape}",
)


@checked(_one_layer)
def regime(
    has: Bool[Tensor, "n_hidden n_features"], represented: Bool[Tensor, " n_features"]
) -> list[tuple[int, int]]:
    """The layer's parts, as (features, neurons) of every connected group, largest first.

    [(3, 2), (1, 1), (1, 1)] is two neurons that hold three features between them, and two clean ones.
    Neurons without a represented feature, and features without a neuron, belong to no part.

    Raises: ValueError if the shapes do not match.
    """
    edges = (has & represented).cpu().numpy()
    n_hidden, n_features = edges.shape
    graph = np.zeros((n_hidden + n_features,) * 2, bool)
    graph[:n_hidden, n_hidden:] = edges
    _, part = connected_components(graph, directed=False)
    parts = [
        (int((part[n_hidden:] == p).sum()), int((part[:n_hidden] == p).sum()))
        for p in range(part.max() + 1)
        if (part[:n_hidden] == p).any() and (part[n_hidden:] == p).any()
    ]
    return sorted(parts, reverse=True)
