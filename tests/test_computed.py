"""Naive layers lose what sampling says, and the swap test tells a code of neurons from one of values."""

import numpy as np
import pytest
import torch
from bad_input import table

from toylib.features import SparseFeatures
from toylib.studies import computed, factorial
from toylib.studies.factorial import TASKS, Untied
from toylib.studies.sharing import first_order_model
from toylib.training import evaluate

N = 6
ROOMS = {"copy, tied": (2, 6), "copy": (3,), "|x|": (4, 5, 12), "ReLU(x)": (3,), "conjunction": (2, 5, 6)}
CASES = [(task, m) for task, rooms in ROOMS.items() for m in rooms]


def features_of(task, density=0.3):
    return SparseFeatures(N, TASKS[task].feature_density(density), signed=TASKS[task].signed)


def sampled(task, density=0.3):
    """Inputs and targets (n, N), many."""
    x = features_of(task, density).sample(400_000, [1])
    return x[0].double().numpy(), TASKS[task](N, 1).target(x)[0].double().numpy()


# --- naive layers ---


@pytest.mark.parametrize(("task", "n_hidden"), CASES)
def test_a_clean_layer_loses_what_its_formula_says(task, n_hidden):
    layer = computed.clean_layer(task, 0.3, n_hidden, N)
    loss, error = evaluate(layer, features_of(task), n_samples=200_000)
    expected = computed.clean_loss(task, 0.3, n_hidden, N)
    assert abs(loss[0] - expected) < 5 * np.nan_to_num(error[0]) + 1e-4 * N


def test_a_clean_layer_answers_as_many_targets_as_it_has_neurons_for():
    null = factorial.constant_loss("|x|", 0.1, 2.0, 10)
    answered = {m: 10 * (1 - computed.clean_loss("|x|", 0.1, m) / null) for m in (1, 2, 7, 20, 30)}
    assert answered == pytest.approx({1: 0, 2: 1, 7: 3, 20: 10, 30: 10})
    pairs = {m: computed.clean_loss("conjunction", 0.1, m) for m in (1, 2, 3)}
    whole = factorial.constant_loss("conjunction", 0.1, 2.0, 10)
    assert pairs == pytest.approx({1: whole, 2: 0.8 * whole, 3: 0.8 * whole})


@pytest.mark.parametrize("task", TASKS)
def test_moments_are_those_of_sampled_inputs(task):
    x, y = sampled(task)
    found = x[:, 1].var(), y[:, 1].var(), np.cov(x[:, 1], y[:, 1])[0, 1]
    assert computed.moments(task, 0.3) == pytest.approx(found, abs=0.003)


@pytest.mark.parametrize("task", TASKS)
def test_the_best_affine_map_of_a_rank_is_that_of_reduced_rank_regression(task):
    x, y = sampled(task)
    x, y = x - x.mean(0), y - y.mean(0)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    axes = np.linalg.svd(fitted, full_matrices=False)[2]
    for rank in (0, 2, 3, 6):
        brute = ((y - fitted @ axes[:rank].T @ axes[:rank]) ** 2).sum(1).mean()
        assert computed.linear_loss(task, 0.3, rank, N) == pytest.approx(brute, rel=0.02, abs=1e-5)


def test_mixed_labels_have_the_matrix_and_without_it_are_the_positive_part():
    x = torch.randn(2, 5, N)
    assert torch.equal(computed.Mixed(N, 2).target(x), x.relu())
    mixed = computed.Mixed(40, 2, mixing=0.3)
    assert torch.equal(mixed.M, mixed.M.T)
    assert not mixed.M.diagonal().any()
    assert mixed.M[~torch.eye(40, dtype=torch.bool)].std() == pytest.approx(0.3, rel=0.1)
    other = mixed.target(x[:, :, :1] * torch.eye(40)[0])
    assert torch.allclose(other[0, 0, 1:], x[0, 0, 0] * mixed.M[0, 1:])


# --- the layer itself ---


@pytest.mark.parametrize("task", TASKS)
def test_transplants_follow_the_neurons_in_a_clean_layer(task):
    layer = computed.clean_layer(task, 0.1, 12, N)
    swaps = computed.swap_codes(layer)
    assert swaps.tried[0] == (6 if task == "conjunction" else 30)
    assert swaps.share == pytest.approx(1)


def test_transplants_follow_the_neurons_where_targets_are_pairs_of_them():
    swaps = computed.swap_codes(first_order_model(6, 4))
    assert (swaps.tried[0], swaps.followed[0]) == (30, 30)


@torch.no_grad()
def test_transplants_follow_the_values_where_every_neuron_takes_part():
    layer = Untied(N, N)
    layer.W_in.copy_(torch.ones(N, N) + torch.eye(N))
    layer.W_out.copy_(torch.linalg.inv(layer.W_in[0]))
    assert torch.allclose(layer(torch.eye(N)[None])[0], torch.eye(N), atol=1e-5)  # it stores all
    swaps = computed.swap_codes(layer)
    assert (swaps.tried[0], swaps.followed[0]) == (30, 0)


@torch.no_grad()
def test_layers_are_swapped_one_by_one_and_a_layer_with_nothing_has_no_share():
    layer = computed.clean_layer("copy", 0.1, N, N).select([0, 0])
    layer.W_out[1] = 0
    layer.W_in[1] = 0
    swaps = computed.swap_codes(layer)
    assert swaps.tried.tolist() == [30, 0]
    assert swaps.share[0] == 1
    assert np.isnan(swaps.share[1])


def test_noise_costs_a_clean_layer_what_its_neurons_pass_on():
    layer, features = computed.clean_layer("copy, tied", 0.001, N, N), features_of("copy, tied", 0.001)
    assert computed.noisy_loss(layer, features, noise=0.0)[0] == pytest.approx(0, abs=1e-12)
    found = computed.noisy_loss(layer, features, noise=0.1, n_samples=50_000)[0]
    assert found == pytest.approx(N * 0.1**2 / 2, rel=0.02)  # neurons that are off pass on half of it
    with torch.no_grad():  # another scale of the neurons is the same layer
        other = computed.clean_layer("copy", 0.001, N, N)
        other.W_in.mul_(5)
        other.W_out.div_(5)
    assert computed.noisy_loss(other, features, noise=0.1, n_samples=50_000)[0] == pytest.approx(found)


test_bad_arguments_are_refused = table(
    [
        (lambda: computed.clean_loss("sums", 0.1, 2), "task must be "),
        (lambda: computed.clean_loss("copy", 0, 2), "density must be "),
        (lambda: computed.clean_loss("copy", 0.1, 0), "n_hidden must be "),
        (lambda: computed.clean_layer("copy", 0.1, 2, 1), "n_features must be "),
        (lambda: computed.moments("copy", 2), "density must be "),
        (
            lambda: computed.affine_loss(np.ones(3), of_feature=1, of_targets=1, rank=0),
            "cross must be ",
        ),
        (
            lambda: computed.affine_loss(np.ones((3, 3)), of_feature=0, of_targets=1, rank=0),
            "of_feature must be ",
        ),
        (lambda: computed.linear_loss("copy", 0.1, -1), "rank must be "),
        (lambda: computed.Mixed(4, 2, mixing=-1), "mixing must be "),
        (lambda: computed.swap_codes(5), "model must be "),
        (lambda: computed.swap_codes(Untied(2, 2), theta=2), "theta must be "),
        (lambda: computed.noisy_loss(Untied(6, 2), features_of("copy"), noise=-1), "noise must be "),
    ]
)
