"""What must be shared: the theory against a search over all supports, the split against hand counts."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from bad_input import table

from toylib import measures
from toylib.engines.gradients import line_losses
from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel
from toylib.studies.sharing import (
    PartlyClean,
    block_losses,
    first_order_capacity,
    first_order_model,
    least_shared,
    needed_rise,
    needed_share,
    split,
)
from toylib.training import evaluate, train

IMPORTANCE = 0.75 ** np.arange(4)
QUICK = dict(n_streams=2, per_stream=2, n_steps=30, polish=30, progress=False)


def lines(model):
    """Largest mean loss on the line of a feature."""
    n = model.n_features
    return float(line_losses(model, SparseFeatures(n, 0.01), torch.ones(model.n_instances, n), 2.0).max())


def antichains(n_hidden):
    """Every family of sets of neurons, none of which holds another."""
    neurons = range(n_hidden)
    sets = [frozenset(s) for size in neurons for s in combinations(neurons, size + 1)]
    families = [()]
    for new in sets:  # subsets come before what holds them
        families += [(*family, new) for family in families if not any(old <= new for old in family)]
    return families


def shared(family, n_hidden):
    """Neurons that two sets or more are in; unused ones are not shared, nor clean."""
    members = list(chain.from_iterable(family))
    return sum(members.count(j) > 1 for j in range(n_hidden))


@pytest.mark.parametrize("n_hidden", [1, 2, 3, 4])
def test_no_more_features_fit_than_a_search_over_all_supports_finds(n_hidden):
    assert max(map(len, antichains(n_hidden))) == first_order_capacity(n_hidden)


@pytest.mark.parametrize("n_hidden", [2, 3, 4])
def test_no_supports_share_fewer_neurons_than_the_least(n_hidden):
    families = antichains(n_hidden)
    for n in range(1, first_order_capacity(n_hidden) + 1):
        found = min(shared(family, n_hidden) for family in families if len(family) == n)
        assert found == least_shared(n, n_hidden)


def test_the_least_number_of_shared_neurons_is_that_worked_out_by_hand():
    assert [least_shared(100 + excess, 100) for excess in (0, 1, 2, 3, 5, 6, 14, 15)] == [
        0, 4, 4, 5, 5, 6, 6, 7,
    ]  # fmt: skip
    assert least_shared(10, 5) == 5  # the paper's ten features, all neurons shared
    assert least_shared(3, 8) == 0


@pytest.mark.parametrize("n_hidden", range(1, 8))
def test_the_weights_that_are_written_down_lose_nothing_on_lines_and_are_as_clean_as_can_be(n_hidden):
    for n in range(1, first_order_capacity(n_hidden) + 1):
        model = first_order_model(n, n_hidden)
        assert lines(model) < 1e-12
        n_weights = (model.W[0] != 0).sum(1)
        assert int((n_weights > 1).sum()) == least_shared(n, n_hidden)


@pytest.mark.parametrize(
    "W",
    [
        [[1.0, 0.6], [0.0, 0.8]],  # the first feature's support is held by the second's
        [[0.6, 0.8], [0.8, 0.6]],  # equal supports
        [[0.9, 0.0], [0.0, 1.0]],  # not of length 1
    ],
)
def test_weights_that_break_a_condition_lose_something_on_a_line(W):
    model = ReLUHiddenModel(2, 2)
    with torch.no_grad():
        model.W.copy_(torch.tensor(W))
    assert lines(model) > 1e-3


def test_without_their_negative_weights_packed_features_disturb_each_other():
    model = first_order_model(6, 4)
    with torch.no_grad():
        model.W.clamp_(min=0)
    assert lines(model) > 1e-2


def test_a_block_of_all_neurons_is_the_plain_model_and_no_block_is_the_mean_of_the_rest():
    common = dict(n_hidden=2, densities=[0.3, 0.05], importance=IMPORTANCE)
    none_left = block_losses(2, **common, **QUICK)
    features = SparseFeatures(4, [0.3, 0.05], IMPORTANCE)
    null = measures.no_superposition_loss(features, 2)
    np.testing.assert_allclose(none_left, np.repeat(null[:, None], 2, 1))
    assert (block_losses(4, **(common | {"n_hidden": 5}), **QUICK) == 0).all()
    longer = QUICK | {"n_steps": 300, "polish": 300}
    free = block_losses(0, **common, **longer)
    assert free.shape == (2, 2)
    assert (free.min(1) < 1.05 * null).all()  # two neurons can copy the first two features


def test_a_block_loses_what_the_whole_layer_does():
    """One clean neuron beside a block of one: as a model of two neurons, by its own loss."""
    found = block_losses(
        1, n_hidden=2, densities=[0.5], importance=IMPORTANCE[:2], **(QUICK | {"polish": 600})
    )
    whole = ReLUHiddenModel(2, 2)
    with torch.no_grad():
        whole.W.copy_(torch.eye(2))
    assert evaluate(whole, SparseFeatures(2, 0.5, IMPORTANCE[:2])).loss < 1e-12
    assert found.min() < 1e-3


def test_streams_of_blocks_are_their_own():
    common = dict(n_hidden=2, densities=[0.2], importance=IMPORTANCE)
    both = block_losses(1, **common, **QUICK)
    second = block_losses(1, **common, **(QUICK | {"n_streams": 1, "first_stream": 1}))
    np.testing.assert_allclose(both[:, 1:], second, rtol=1e-5)
    assert both[0, 0] != both[0, 1]


def test_the_clean_neurons_of_a_masked_model_stay_clean_while_the_others_learn():
    model = PartlyClean(4, 3, [0, 1], n_clean=2)
    before = model.W_in.detach().clone()
    train(model, SparseFeatures(4, 0.3), n_steps=20, batch_size=32, lr=0.05, progress=False)
    after = model.W_in.detach()
    assert ((after[:, :2] != 0).sum(2) == 1).all()
    assert (after[:, range(2), range(2)] != before[:, range(2), range(2)]).any()
    assert (after[:, 2] != before[:, 2]).any()
    torch.testing.assert_close(model.W_out, after.mT)


def test_needed_is_what_the_largest_number_of_clean_neurons_within_the_margin_leaves():
    loss = np.array([1.0, 0.99, 1.03, 1.2, 3.0])  # 0 to 4 clean neurons
    assert needed_share(loss, null=10.0, margin=0.05, floor=0) == 0.5
    assert needed_share(loss, null=10.0, margin=0.25, floor=0) == 0.25
    assert needed_share(loss, null=10.0, margin=0.0, floor=0) == 0.75
    assert needed_share(loss, null=10.0, margin=0.0, floor=0.025) == 0.25
    assert needed_share(np.array([0.5, 0.2, 0.0]), null=1.0) == 0  # a clean layer without loss
    streams = np.stack([loss + 1, loss, loss + 2])
    assert needed_share(streams, null=10.0, margin=0.05, floor=0) == 0.5


def test_sharing_is_split_into_parts_that_add_up():
    found, loss = np.array([0.8, 0.6, 0.2]), np.array([1.0, 2.0, 1.0])
    parts = split(found, loss, needed=0.4, allowed=1.5)
    assert parts == pytest.approx(((0.4 + 0.4 + 0.2) / 3, 0.2 / 3, 0.4 / 3))
    assert sum(parts) == pytest.approx(found.mean())
    assert split(found, loss, needed=0.0, allowed=0.0).free == 0


BLOCK = dict(n_hidden=2, densities=[0.3], importance=IMPORTANCE, **QUICK)

test_bad_input = table(
    [
        (lambda: first_order_capacity(0), "n_hidden must be"),
        (lambda: least_shared(11, 5), "n_features must be what n_hidden = 5 neurons can carry"),
        (lambda: first_order_model(4, 3), "n_features must be what n_hidden = 3 neurons can carry"),
        (lambda: first_order_model(0, 3), "n_features must be"),
        (lambda: block_losses(3, **BLOCK), "n_clean must be"),
        (lambda: block_losses(5, **(BLOCK | {"n_hidden": 6})), "n_clean must be 4 features or fewer; got 5"),
        (lambda: block_losses(1, **(BLOCK | {"importance": [1, 2]})), "importance must not rise; got"),
        (lambda: block_losses(1, **(BLOCK | {"per_stream": 1})), "per_stream must be"),
        (lambda: block_losses(1, **(BLOCK | {"densities": [2.0]})), "feature_probability must be"),
        (lambda: PartlyClean(4, 3, n_clean=4), "n_clean must be"),
        (lambda: needed_share(np.ones(3), null=0.0), "null must be"),
        (lambda: needed_share(np.ones(3), null=1.0, margin=-1), "margin must be"),
        (lambda: split(np.ones(2), np.ones(3), needed=0, allowed=1), "found and loss must be equally long"),
        (lambda: split(np.ones(2), np.ones(2), needed=2, allowed=1), "needed must be"),
    ]
)


@pytest.mark.slow
def test_what_must_be_shared_rises_with_sparsity_and_not_where_there_is_room():
    few = dict(n_streams=2, per_stream=16, n_steps=300, polish=600, first_stream=500)
    importance = 0.7 ** np.arange(3)
    rise = needed_rise(2, dense=0.9, sparse=0.02, importance=importance, **few)
    assert rise.low >= 0.5
    room = needed_rise(3, dense=0.9, sparse=0.02, importance=importance, **few)
    assert (room.low, room.high) == (0, 0)
