"""Packed layers: supports, no loss on single features, and losses of two by hand and against draws."""

import numpy as np
import pytest
import torch
from bad_input import table

from toylib.engines.gradients import line_losses
from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel
from toylib.studies.packing import packed_model, pair_losses, second_order_loss, supports
from toylib.studies.sharing import first_order_capacity, first_order_model, least_shared
from toylib.training import evaluate

SIZES = [(10, 5), (10, 7), (12, 8), (17, 12), (20, 18), (20, 6), (55, 50)]


def lines(model):
    ones = torch.ones(1, model.n_features)
    return float(line_losses(model, SparseFeatures(model.n_features, 0.01), ones, 2.0).max())


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_supports_are_an_antichain_in_groups_of_four_where_there_is_room(n, m):
    has = supports(n, m)
    size = has.sum(0)
    overlap = has.T.astype(int) @ has
    np.fill_diagonal(overlap, 0)
    assert (overlap < size).all()  # no support holds another
    assert (size > 0).all()
    groups = int(np.ceil((n - m) / 2))  # of four, for two features too many each
    if 4 * groups <= m:
        assert (has.sum(1) > 1).sum() == 4 * groups


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_packed_layers_lose_nothing_where_one_feature_is_active(n, m):
    assert lines(packed_model(n, m)) < 1e-10


def test_every_number_of_features_up_to_the_largest_antichain_fits():
    for m in range(1, 7):
        for n in range(1, first_order_capacity(m) + 1):
            assert lines(packed_model(n, m)) < 1e-10


def test_pair_losses_are_those_worked_out_by_hand():
    """Six pairs of four neurons: disjoint ones lose t^2 twice, pairs that overlap t^2 at one third output."""
    six = pair_losses(first_order_model(6, 4)).sum(1)
    assert six.item() == pytest.approx(3 * 1 / 3 + 12 * 1 / 6, rel=1e-3)
    assert pair_losses(first_order_model(3, 3)).max() < 1e-9  # three pairs of three neurons
    alone = ReLUHiddenModel(2, 2)
    with torch.no_grad():
        alone.W.copy_(torch.eye(2) * torch.tensor([1.0, 0.5]) ** 0.5)  # one output is half of its feature
    expected = 0.25 / 3  # (v / 2)^2, v uniform
    assert pair_losses(alone).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(6, 4), (10, 5), (17, 12), (20, 10)])
def test_constructed_weights_lose_what_second_order_says(n, m):
    p = 0.001
    model = packed_model(n, m)
    found = evaluate(model, SparseFeatures(n, p), n_samples=60_000)
    expected = second_order_loss(model, p)[0]
    three = p * n  # inputs with three active features, over those with two, a third of it; each may lose more
    assert abs(found.loss[0] - expected) < 5 * found.standard_error[0] + three * expected


def test_groups_of_four_lose_three_each_and_less_than_the_fewest_neurons_from_five_features_too_many_on():
    def total(n, m):
        return pair_losses(packed_model(n, m)).sum().item()

    for excess in (2, 4, 6, 10):
        assert total(3 * excess, 2 * excess) == pytest.approx(1.5 * excess, rel=2e-3)
    assert total(4 + 2, least_shared(20, 18)) == pytest.approx(3, rel=1e-3)
    assert total(10, 5) > 1.8 * total(17, 12)  # five too many: in five neurons, or in twelve


def test_losses_of_several_models_are_those_of_each():
    model = ReLUHiddenModel(4, 2, [0, 1])
    both = pair_losses(model)
    for k in range(2):
        torch.testing.assert_close(both[k], pair_losses(model.select([k]))[0])


def biased():
    model = ReLUHiddenModel(3, 2)
    with torch.no_grad():
        model.b_final += 0.1
    return model


test_bad_input = table(
    [
        (lambda: supports(4, 3), "n_features must be what n_hidden = 3 neurons can carry"),
        (lambda: packed_model(0, 3), "n_features must be"),
        (lambda: pair_losses(biased()), "model must have biases of 0"),
        (lambda: second_order_loss(ReLUHiddenModel(3, 2), 0.0), "density must be"),
    ]
)
