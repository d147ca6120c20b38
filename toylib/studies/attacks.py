"""Adversarial examples for toy models: two ways to find them, and training against them.

An attack adds a vector of a given L2 norm to the input; the output is still compared with the target of
the input before the attack. A strength is a norm, one for each instance.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ..checks import a_number, a_whole_number, array, checked, must, one_of, refuse
from ..engines.reference import errors
from ..engines.settings import learning_rates
from ..features import SparseFeatures
from ..inspection import check_match, check_weights_tell, trainable
from ..models import PLAIN, ToyModel


def _strength(strength: Any, model: ToyModel) -> Tensor:
    values = array("strength", strength, ndim=(0, 1))
    if values.min() < 0 or values.size not in (1, model.n_instances):
        refuse(
            f"strength must be 0 or more, one or one for each of {model.n_instances} instances",
            f"shape {values.shape}, least {values.min()}",
        )
    return torch.from_numpy(values).to(model.b_final).reshape(-1, 1, 1)


@torch.no_grad()
@checked(check_weights_tell)
def analytic_directions(model: ToyModel) -> Float[Tensor, "n_instances n_features n_features"]:
    """The unit vector that raises output i most, for every i: the analytic attack without its norm.

        J_i / |J_i|,   J_i = gradient of output i before its ReLU, at the input e_i

    Without a hidden ReLU J_i is (W^T W)_i at every input. With one, only the neurons that e_i opens count.
    An output that no hidden unit reaches has no direction: zeros.

    Shapes: [instance, attacked output, input].
    Raises: ValueError for a model with methods, parameters or hooks of its own (`inspection.beyond_flags`).
    Source: Elhage et al. 2022, 'Relationship to Adversarial Robustness'.
    """
    out = model.W_out * (model.W_in.mT > 0) if model.hidden_relu else model.W_out
    jacobian = out @ model.W_in
    return normalize(jacobian, dim=2)


def squared_error(
    model: ToyModel,
    x: Float[Tensor, "#n_instances batch n_features"],
    importance: Float[Tensor, "#n_instances #n_features"],
    attack: Tensor | float = 0.0,
) -> Float[Tensor, "n_instances batch"]:
    """sum_i I_i (y_i - y'_i)^2 of every input, with the model fed x + attack and y the target of x."""
    return (errors(model, x, seen=x + attack) * importance[:, None]).sum(2)


_along_inputs = must(
    lambda model, directions: (
        directions is None
        or (directions.ndim == 3 and directions.shape[::2] == (model.n_instances, model.n_features))
    ),
    "directions must be ({model.n_instances}, n_attacks, {model.n_features}); got {directions:shape}",
)


@torch.no_grad()
@checked(_along_inputs)
def analytic_attack(
    model: ToyModel,
    x: Float[Tensor, "#n_instances batch n_features"],
    importance: Float[Tensor, "#n_instances #n_features"],
    strength: Any,
    *,
    directions: Float[Tensor, "n_instances n_attacks n_features"] | None = None,
) -> Float[Tensor, "n_attacks n_instances batch"]:
    """Error of every input under every analytic attack, or under attacks along other directions.

    Raises: ValueError if strength is negative or does not match the instances, or directions do not fit.
    """
    norm = _strength(strength, model)
    chosen = analytic_directions(model) if directions is None else directions
    # one block for all: a result kept from each turn would lie where the next turn's inputs no longer fit
    error = norm.new_empty(chosen.shape[1], model.n_instances, x.shape[1])
    for k in range(chosen.shape[1]):
        error[k] = squared_error(model, x, importance, norm * chosen[:, k, None])
    return error


@torch.enable_grad()
@checked(n_steps=a_whole_number())
def gradient_attack(
    model: ToyModel,
    x: Float[Tensor, "#n_instances batch n_features"],
    importance: Float[Tensor, "#n_instances #n_features"],
    strength: Any,
    *,
    n_steps: int = 10,
    start: Float[Tensor, "#n_instances #batch n_features"] | float = 0.0,
) -> Float[Tensor, "n_instances batch n_features"]:
    """An attack on every input by projected gradient ascent on its error, in steps of 2.5 strength / n_steps.

    One step from the input itself is the fast gradient method, of the full norm. Where the gradient
    vanishes, as with all outputs shut, the attack stays where it is.

    Raises: ValueError if strength is negative or does not match the instances, or n_steps < 1.
    Source: Madry et al. 2018, in the L2 norm; Goodfellow et al. 2015 for one step.
    """
    norm = _strength(strength, model)
    attack = (torch.zeros_like(x) + start).expand(model.n_instances, -1, -1).clone()
    for _ in range(n_steps):
        attack.requires_grad_(True)
        (gradient,) = torch.autograd.grad(squared_error(model, x, importance, attack).sum(), attack)
        length = gradient.norm(dim=2, keepdim=True)
        step = norm * (2.5 / n_steps if n_steps > 1 else 1.0)
        attack = attack.detach() + torch.where(length > 0, step * gradient / length.clamp(min=1e-30), 0.0)
        attack = attack * (norm / attack.norm(dim=2, keepdim=True).clamp(min=1e-30)).clamp(max=1)
    return attack.detach()


@torch.enable_grad()
@checked(
    check_match,
    kind=one_of("analytic", "gradient", "random"),
    n_steps=a_whole_number(),
    batch_size=a_whole_number(),
    lr=a_number(above=0),
    made=a_whole_number(at_least=0, at_most=10**6),
)
def train_adversarially(
    model: ToyModel,
    features: SparseFeatures,
    strength: Any,
    *,
    kind: str = "analytic",
    n_steps: int = 1000,
    batch_size: int = 128,
    lr: float = 0.01,
    made: int = 0,
) -> None:
    """Train in place on attacked inputs, with Adam along a cosine.

    Each input is attacked along the "analytic" direction of a feature drawn at random, as in the paper;
    along one step of its own "gradient"; or along a "random" direction: the control. Attacks follow the
    weights as they change; no gradient goes through them. Empty inputs are drawn too. All instances meet the
    same features and random directions. `made` says how many steps came before, when a training goes on:
    what is drawn is other than what they met.

    Units:  strength: a norm, for one or every instance; 0 trains without attacks.
    Raises: ValueError if model and features or strength do not match, kind is another word, or a number is
            out of range.
    Source: Elhage et al. 2022, 'Relationship to Adversarial Robustness'.
    """
    norm = _strength(strength, model)
    importance = torch.from_numpy(features.importance).to(model.b_final)
    optimiser = torch.optim.Adam(list(trainable(model).values()), lr=lr)
    generator = torch.Generator().manual_seed(made)
    for step, rate in enumerate(learning_rates(n_steps, lr, 0, "cosine"), start=made):
        # inputs of `sample`, apart from those of the models' own seeds, on which attacks are measured, and
        # of all that are less than 2**24 away
        x = features.sample(batch_size, model.seeds + (step + 1) * 2**24)
        if kind == "analytic":
            chosen = torch.randint(model.n_features, (batch_size,), generator=generator, device="cpu")
            attack = norm * analytic_directions(model)[:, chosen]
        elif kind == "gradient":
            attack = gradient_attack(model, x, importance, norm.flatten().numpy(), n_steps=1)
        else:
            noise = torch.randn(batch_size, model.n_features, generator=generator, **PLAIN)
            attack = norm * normalize(noise, dim=1)
        optimiser.param_groups[0]["lr"] = float(rate)
        optimiser.zero_grad()
        squared_error(model, x, importance, attack).mean(1).sum().backward()
        optimiser.step()
    optimiser.zero_grad()
