"""Attacks whose size is known: models without superposition, an antipodal pair, outputs that are shut."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from bad_input import table

from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from toylib.studies.attacks import (
    analytic_attack,
    analytic_directions,
    gradient_attack,
    squared_error,
    train_adversarially,
)

ONE = torch.ones(1, 1)


def with_weights(W: list[list[float]], b: float = 0.0, kind: Any = ReLUOutputModel) -> Any:
    model = kind(len(W[0]), len(W))
    with torch.no_grad():
        model.W[0] = torch.tensor(W)
        model.b_final[:] = b
    return model


def test_without_superposition_the_attack_costs_its_squared_norm() -> None:
    model = with_weights([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    x = torch.rand(1, 50, 3)
    x[..., 2] = 0
    error = analytic_attack(model, x, torch.ones(1, 3), 0.3)
    torch.testing.assert_close(error[:2], torch.full((2, 1, 50), 0.09))
    assert (error[2] == 0).all()  # the third output has no direction


def test_direction_of_an_antipodal_pair_raises_one_output_and_lowers_the_other() -> None:
    directions = analytic_directions(with_weights([[1.0, -1.0]]))
    torch.testing.assert_close(directions[0], torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / 2**0.5)


def test_attacked_output_of_a_pair_moves_by_the_root_of_features_per_dimension() -> None:
    model = with_weights([[1.0, -1.0]])
    attack = 0.1 * analytic_directions(model)[:, :1]
    moved = model(torch.tensor([[[0.5, 0.0]]]) + attack)[0, 0, 0] - 0.5
    torch.testing.assert_close(moved, torch.tensor(0.1 * 2**0.5))


def test_a_neuron_that_the_feature_shuts_has_no_part_in_its_direction() -> None:
    W = [[1.0, 0.5], [-1.0, 2.0]]
    directions = analytic_directions(with_weights(W, kind=ReLUHiddenModel))
    torch.testing.assert_close(directions[0, 0], torch.tensor([1.0, 0.5]) / 1.25**0.5)  # the second is shut
    linear = analytic_directions(with_weights(W))
    torch.testing.assert_close(linear[0, 0], torch.tensor([2.0, -1.5]) / 2.5)


@pytest.mark.parametrize("kind", [ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel])
def test_analytic_direction_is_the_gradient_of_the_output_at_its_feature(kind: Any) -> None:
    model = kind(6, 3, seeds=[5])
    eye = torch.eye(6)[None].requires_grad_(True)
    out = (model.hidden(eye) @ model.W_out.mT).diagonal(dim1=1, dim2=2).sum()
    (gradient,) = torch.autograd.grad(out, eye)
    expected = gradient / gradient.norm(dim=2, keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(analytic_directions(model), expected)


def test_error_is_measured_against_the_target_before_the_attack_and_weighted() -> None:
    model = with_weights([[1.0, 0.0], [0.0, 1.0]])
    x, attack = torch.tensor([[[0.2, 0.0]]]), torch.tensor([[[0.1, 0.3]]])
    error = squared_error(model, x, torch.tensor([[2.0, 1.0]]), attack)
    torch.testing.assert_close(error, torch.tensor([[2 * 0.01 + 0.09]]))


def test_gradient_attack_keeps_its_norm_and_does_no_less_harm_than_a_random_direction() -> None:
    features = SparseFeatures(20, 0.3)
    model = ReLUOutputModel(20, 5, seeds=[0, 64])
    x = features.sample(200, [1, 2])
    attack = gradient_attack(model, x, ONE, [0.1, 0.2])
    limits = torch.tensor([[0.1], [0.2]])
    assert (attack.norm(dim=2) <= limits * 1.0001).all()
    random = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    random = limits[:, :, None] * random / random.norm(dim=2, keepdim=True)
    found, null = (squared_error(model, x, ONE, a).mean(1) for a in (attack, random))
    assert (found > null).all()


def test_gradient_attack_finds_the_best_attack_on_a_model_that_copies() -> None:
    # error of the copy is |x + a - x|^2 = strength^2, wherever the attack points inwards
    model = with_weights([[1.0, 0.0], [0.0, 1.0]])
    x = torch.full((1, 3, 2), 0.5)
    attack = gradient_attack(model, x, ONE, 0.1, start=0.01)
    torch.testing.assert_close(squared_error(model, x, ONE, attack), torch.full((1, 3), 0.01))


def test_gradient_attack_is_masked_where_outputs_are_shut_and_the_analytic_one_is_not() -> None:
    model = with_weights([[1.0, 0.9]], b=-0.05)
    empty = torch.zeros(1, 1, 2)
    assert (gradient_attack(model, empty, ONE, 0.2) == 0).all()
    assert (analytic_attack(model, empty, ONE, 0.2) > 0).all()


@pytest.mark.parametrize("kind", ["analytic", "gradient", "random"])
def test_training_against_attacks_lowers_the_error_under_attack(kind: str) -> None:
    features = SparseFeatures(12, 0.1)
    x = features.sample(1000, [9])
    losses = []
    for strength in (0.0, 0.4):
        model = ReLUOutputModel(12, 3, seeds=[3])
        train_adversarially(model, features, strength, kind=kind, n_steps=300, batch_size=64, lr=0.02)
        losses.append(analytic_attack(model, x, ONE, 0.4).mean(2).max().item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("kind", ["analytic", "gradient", "random"])
def test_instances_of_one_training_are_what_they_are_alone(kind: str) -> None:
    features = SparseFeatures(8, 0.2)
    both, alone = ReLUOutputModel(8, 2, seeds=[1, 64]), ReLUOutputModel(8, 2, seeds=[64])
    train_adversarially(both, features, [0.1, 0.3], kind=kind, n_steps=20)
    train_adversarially(alone, features, 0.3, kind=kind, n_steps=20)
    torch.testing.assert_close(both.W[1], alone.W[0])


@pytest.mark.parametrize("kind", ["analytic", "random"])
def test_a_training_that_goes_on_meets_neither_inputs_nor_attacks_that_it_met(kind: str) -> None:
    features = SparseFeatures(8, 0.9)
    met: list[Any] = []

    class Seen(SparseFeatures):
        def sample(self, batch_size: int, seeds: Any) -> Any:
            met.extend(np.atleast_1d(seeds).tolist())
            return features.sample(batch_size, seeds)

    model = ReLUOutputModel(8, 2, seeds=[1, 64])
    for made in (0, 3):
        train_adversarially(model, Seen(8, 0.9), 0.3, kind=kind, n_steps=3, made=made)
    assert len(set(met)) == len(met) == 12
    # on inputs that are all 0 what differs is the attack alone
    silent = SparseFeatures(8, 1e-12)
    ends = [ReLUOutputModel(8, 2, seeds=[1], b_init=1.0) for _ in range(2)]
    for end, made in zip(ends, (0, 1), strict=True):
        train_adversarially(end, silent, 0.3, kind=kind, n_steps=1, batch_size=1, lr=0.1, made=made)
    assert not torch.equal(ends[0].b_final, ends[1].b_final) or not torch.equal(ends[0].W, ends[1].W)


@pytest.mark.parametrize("strength", [-0.1, [0.1, 0.2, 0.3], np.nan])
def test_wrong_strength_is_named(strength: Any) -> None:
    model, x = ReLUOutputModel(4, 2, seeds=[0, 1]), torch.zeros(2, 1, 4)
    for attack in (analytic_attack, gradient_attack):
        with pytest.raises(ValueError, match="strength must be"):
            attack(model, x, ONE, strength)


def test_unknown_kind_of_training_is_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of analytic"):
        train_adversarially(ReLUOutputModel(4, 2), SparseFeatures(4), 0.1, kind="strong")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": -3}, "n_steps must be a whole number, 1 or more; got -3"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"lr": -1}, "lr must be a finite number, above 0; got -1"),
        ({"made": -1}, "made must be a whole number, 0 or more and 1000000 or less; got -1"),
    ],
)
def test_wrong_numbers_of_training_are_named(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_adversarially(ReLUOutputModel(4, 2), SparseFeatures(4), 0.1, **wrong)


MODEL, FEATURES = ReLUOutputModel(4, 2), SparseFeatures(4)


class Leaky(ReLUOutputModel):
    def forward(self, x):
        return torch.nn.functional.leaky_relu(x @ self.W.mT @ self.W)


test_other_bad_calls_are_named = table(
    [
        (
            lambda: analytic_directions(Leaky(3, 2)),
            "model must be what its flags say, for its weights to tell what it does; got one with forward",
        ),
        (
            lambda: gradient_attack(MODEL, torch.zeros(1, 2, 4), ONE, 0.1, n_steps=0),
            "n_steps must be a whole number",
        ),
        (
            lambda: gradient_attack(MODEL, torch.zeros(1, 2, 3), ONE, 0.1),
            "x must be a tensor (1 or 1, batch, 4); got (1, 2, 3)",
        ),
        (
            lambda: analytic_attack(MODEL, torch.zeros(1, 2, 4), ONE, 0.1, directions=torch.zeros(1, 4, 3)),
            "directions must be (1, n_attacks, 4); got (1, 4, 3)",
        ),
        (
            lambda: train_adversarially(MODEL, SparseFeatures(3), 0.1),
            "features must have the model's n_features = 4",
        ),
    ]
)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how memory is given out differs")
def test_many_attacks_take_the_memory_of_one() -> None:
    """300 attacks, each of which compares outputs of 3 MB; in a process whose memory is not in pieces yet."""
    code = """
import resource, torch
from toylib.features import SparseFeatures
from toylib.models import ReLUOutputModel
from toylib.studies.attacks import analytic_attack, analytic_directions
torch.set_num_threads(1)
model = ReLUOutputModel(400, 3, range(16))
x = SparseFeatures(400, 0.1).sample(1024, model.seeds)[:, :128]
directions = analytic_directions(model)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
analytic_attack(model, x, torch.ones(1, 1), 0.1, directions=directions[:, :300])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200  # MB
