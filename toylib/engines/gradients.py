"""Loss and gradients of the toy models in torch, by hand: of single inputs, and of whole lines of them.

A model that its flags do not describe (`inspection.beyond_flags`) is called as it is, and autograd follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import refuse
from ..features import SparseFeatures
from ..inspection import beyond_flags, form, trainable
from ..models import ToyModel
from .arithmetic import RAY, RAY_WEIGHT

BLOCK_BYTES = 2**27  # working memory of one block of instances, about


def errors(
    model: ToyModel,
    x: Float[Tensor, "#n_instances batch n_features"],
    *,
    seen: Tensor | None = None,
    loss_exponent: float = 2.0,
) -> Float[Tensor, "n_instances batch n_features"]:
    """|x'_i - y_i|^q of the model's output, called as it is, hooks and all, and the target of x.

    With `seen` the model is given that in the place of x.

    Raises: ValueError for an output of another shape, which would be spread over the features in silence.
    """
    output = model(x if seen is None else seen)
    wanted = (model.n_instances, *x.shape[1:])
    if form(output) != form(x.expand(wanted)):
        refuse(f"model must give outputs of shape {wanted}, {x.dtype}", form(output))
    residual = output - model.target(x)
    return residual.square() if loss_exponent == 2 else residual.abs() ** loss_exponent


def _powers(residual: Tensor, weight: Tensor, q: float) -> tuple[Tensor, Tensor]:
    """weight |r|^q and its slope by r."""
    if q == 2:
        weighted = residual * weight
        return weighted * residual, 2 * weighted
    slope = weight * residual.abs() ** (q - 1) * residual.sign()
    return slope * residual, q * slope


def _by_autograd(
    model: ToyModel,
    x: Tensor,
    importance: Tensor,
    empty_weight: Tensor | float,
    activity_cost: float,
    loss_exponent: float,
    learned: dict[str, torch.nn.Parameter],
) -> tuple[Tensor, dict[str, Tensor]]:
    """`loss_and_gradients` of a model that is called as it is."""
    with torch.enable_grad():
        each = errors(model, x, loss_exponent=loss_exponent) * importance[:, None]
        nothing = torch.zeros_like(model.b_final)[:, None]
        empty = errors(model, nothing, loss_exponent=loss_exponent)[:, 0]
        loss = each.sum(2).mean(1) + (empty_weight * importance * empty).sum(1)
        if activity_cost:
            loss = loss + activity_cost * model.hidden(x).abs().sum(2).mean(1)
        found: Sequence[Tensor | None] = [None] * len(learned)
        if loss.requires_grad:
            found = torch.autograd.grad(loss.sum(), list(learned.values()), allow_unused=True)
    if all(g is None for g in found):
        refuse("model must depend on what it learns", f"a loss without {', '.join(learned)}")
    zeros = {name: torch.zeros_like(p) for name, p in learned.items()}
    given = zip(zeros, found, strict=True)
    return loss.detach(), {n: zeros[n] if g is None else g.contiguous() for n, g in given}


@torch.no_grad()
def loss_and_gradients(
    model: ToyModel,
    x: Float[Tensor, "n_instances batch n_features"],
    importance: Float[Tensor, "rows n_features"],
    *,
    empty_weight: Tensor | float = 0.0,
    revival: float = 0.0,
    activity_cost: float = 0.0,
    loss_exponent: float = 2.0,
    noise: Float[Tensor, "#n_instances batch n_hidden"] | None = None,
) -> tuple[Float[Tensor, " n_instances"], dict[str, Tensor]]:
    """Loss of every instance, and its gradient by parameter name, without autograd; frozen ones have none.

    A model with parameters, methods or hooks of its own (`inspection.beyond_flags`) has gradients from
    autograd.

    empty_weight adds the loss on the empty input, that many times: only the biases feel it. revival is
    the slope given to output ReLUs that are shut, in the gradient alone. activity_cost adds that many
    times the mean of sum_j |h_j|. loss_exponent is q in |x' - y|^q. noise is added to the hidden layer before
    its ReLU; a model that is called as it is (see above) has no place for it.

    Shapes: importance (1 or n_instances, n_features); empty_weight a number or (n_instances, 1).
    Raises: ValueError for an x that does not fit the model, or outputs that do not fit x.
    """
    learned = trainable(model)
    if x.ndim != 3 or x.shape[::2] != (model.n_instances, model.n_features):
        refuse(f"x must be ({model.n_instances}, batch, {model.n_features})", tuple(x.shape))
    if beyond_flags(model):
        return _by_autograd(model, x, importance, empty_weight, activity_cost, loss_exponent, learned)
    scale = 1 / x.shape[1]
    h = x @ model.W_in.mT
    if noise is not None:
        h = h + noise
    if model.hidden_relu:
        h = torch.relu(h)
    o = torch.baddbmm(model.b_final[:, None], h, model.W_out.mT)
    nothing, empty_o = torch.zeros_like(model.b_final), model.b_final  # the empty input
    residual = (torch.relu(o) if model.output_relu else o) - model.target(x)
    empty_residual = (torch.relu(empty_o) if model.output_relu else empty_o) - model.target(nothing)
    each, slope = _powers(residual, importance[:, None], loss_exponent)
    empty_each, grad_empty = _powers(empty_residual, empty_weight * importance, loss_exponent)
    loss = each.sum((1, 2)) * scale + empty_each.sum(1)
    grad_o = slope * scale
    if model.output_relu:
        grad_o = torch.where(o > 0, grad_o, grad_o * revival if revival else 0.0)
        grad_empty = grad_empty * (empty_o > 0)
    if activity_cost:
        loss = loss + activity_cost * scale * h.abs().sum((1, 2))
    cost = activity_cost * scale if activity_cost else None
    gradients = _backwards(model, x, h, grad_o, grad_o.sum(1) + grad_empty, cost)
    return loss, {name: gradients[name] for name in learned}


def _backwards(
    model: ToyModel, x: Tensor, h: Tensor, grad_o: Tensor, grad_bias: Tensor, cost: float | Tensor | None
) -> dict[str, Tensor]:
    """Gradients of all parameters, from those at the output and a cost of hidden activity."""
    grad_h = grad_o @ model.W_out
    if cost is not None:
        grad_h = grad_h + cost * h.sign()
    if model.hidden_relu:
        grad_h = grad_h * (h > 0)
    grad_in = grad_h.mT @ x
    if model.tied:
        return {"b_final": grad_bias, "W": grad_in + h.mT @ grad_o}
    return {"b_final": grad_bias, "W1": grad_in, "W2": grad_o.mT @ h}


# --- inputs with one active feature, without sampling -------------------------------------------------------


def units(features: SparseFeatures, like: Tensor) -> Float[Tensor, "1 n_lines n_features"]:
    """The ends e_i of all lines, and -e_i of signed features after them."""
    eye = torch.eye(features.n_features, dtype=like.dtype, device=like.device)[None]
    return torch.cat([eye, -eye], 1) if features.signed else eye


@torch.no_grad()
def line_losses(
    model: ToyModel, features: SparseFeatures, importance: Tensor, loss_exponent: float
) -> Float[np.ndarray, "n_instances n_lines"]:
    """Mean loss of every instance along the line of every feature: inputs v e_i, v uniform on [0, 1].

    Shapes: importance (n_instances, n_features); lines as in `units`.
    """
    x = units(features, model.b_final)
    n_parts = -(-model.n_instances * x.numel() * 64 // BLOCK_BYTES)
    found = []
    for part in np.array_split(np.arange(model.n_instances), min(model.n_instances, n_parts)):
        chosen = model.select(part)
        a, b = chosen.hidden(x) @ chosen.W_out.mT, chosen.b_final[:, None]
        each, _, _ = _along(a, b, model.target(x), loss_exponent, model.output_relu, 0.0)
        found.append((each @ importance[part, :, None])[..., 0])
    return torch.cat(found).double().cpu().numpy()


@torch.no_grad()
def line_loss_and_gradients(
    model: ToyModel,
    features: SparseFeatures,
    importance: Tensor,
    weight: Tensor,
    *,
    revival: float = 0.0,
    activity_cost: float = 0.0,
    loss_exponent: float = 2.0,
) -> tuple[Float[Tensor, " n_instances"], dict[str, Tensor]]:
    """As `loss_and_gradients`, summed over the lines of all features, each times its weight.

    Shapes: importance (1 or n_instances, n_features); weight (1 or n_instances, n_lines).
    """
    x = units(features, model.b_final)
    h = model.hidden(x)
    a = h @ model.W_out.mT
    each, grad_o, grad_b = (
        part * (weight[:, :, None] * importance[:, None])
        for part in _along(
            a, model.b_final[:, None], model.target(x), loss_exponent, model.output_relu, revival
        )
    )
    loss, cost = each.sum((1, 2)), None
    if activity_cost:
        cost = activity_cost / 2 * weight[:, :, None]  # the mean of v is a half
        loss = loss + (cost * h.abs()).sum((1, 2))
    gradients = _backwards(model, x.expand(len(h), -1, -1), h, grad_o, grad_b.sum(1), cost)
    return loss, {name: gradients[name] for name in trainable(model)}


def _along(
    a: Tensor, b: Tensor, t: Tensor, q: float, output_relu: bool, revival: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over v of |o(a v + b) - t v|^q, and its slopes by a and b, v uniform on [0, 1].

    The output is open where a v + b > 0, from `low` to `high`. There the residual is r = c v + b with
    c = a - t; where it is shut, r = -t v.
    """
    if output_relu:
        end = (-b / a).clamp(0, 1)
        low = torch.where(a > 0, end, 0.0)
        high = torch.where(a > 0, 1.0, torch.where(a < 0, end, (b > 0).to(a.dtype)))
    else:
        low, high = torch.zeros_like(a), torch.ones_like(a)
    c = a - t
    # of v^0, v^1, .. over the open part; and over the shut one, where the residual needs them
    if q == 2:
        m0, m1, m2 = high - low, (high**2 - low**2) / 2, (high**3 - low**3) / 3
        by_a, by_b = c * m2 + b * m1, c * m1 + b * m0
        loss = c * by_a + b * by_b
    else:
        by_a, by_b, loss = _by_quadrature(c, b, low, high, q)
    shut0, shut1 = (t.abs() ** (q - 1) * (1 - high**k + low**k) / k for k in (q, q + 1))
    loss = loss + t.abs() * shut1
    return loss, q * (by_a - revival * t.sign() * shut1), q * (by_b - revival * t.sign() * shut0)


def _by_quadrature(
    c: Tensor, b: Tensor, low: Tensor, high: Tensor, q: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Integrals of s v, s and |r|^q from low to high, r = c v + b, s = |r|^(q-1) sign(r)."""
    zero = torch.minimum(torch.maximum(torch.nan_to_num(-b / c, nan=0.0), low), high)
    by_a, by_b, loss = (torch.zeros_like(c + b) for _ in range(3))
    for y, weight in zip(RAY, RAY_WEIGHT, strict=True):
        for end, sign in ((high, 1.0), (low, -1.0)):
            v, part = zero + (end - zero) * y, sign * weight * (end - zero)
            r = c * v + b
            s = part * r.abs() ** (q - 1) * r.sign()
            by_a, by_b, loss = by_a + s * v, by_b + s, loss + s * r
    return by_a, by_b, loss
