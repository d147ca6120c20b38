"""Many starts: what is kept, what is recorded, and that it can be repeated."""

import re

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel, ReLUOutputModel
from toylib.runs.starts import paired_losses, search
from toylib.training import evaluate, train

FEATURES = SparseFeatures(n_features=5, feature_probability=0.3, importance=0.75 ** np.arange(5))
ROUNDS = [(12, 40, 0.03), (5, 40, 0.03), (2, 80, 0.01)]
SMALL = {"batch_size": 32, "n_evaluation": 512, "progress": False}


def test_a_single_round_that_keeps_all_is_a_plain_run():
    found = search(ReLUHiddenModel, FEATURES, 2, 6, [(6, 50, 0.02)], **SMALL)
    run = train(ReLUHiddenModel(5, 2, range(6)), FEATURES, n_steps=50, lr=0.02, **SMALL)
    order = run.best(1.0)
    np.testing.assert_array_equal(found.seeds[order], found.model.seeds)
    np.testing.assert_allclose(found.loss, run.loss[order])
    torch.testing.assert_close(found.model.W, run.model.W[order])


def test_each_round_keeps_the_lowest_losses_and_the_discarded_keep_theirs():
    found = search(ReLUHiddenModel, FEATURES, 2, 20, ROUNDS, **SMALL)
    n_known = (~np.isnan(found.loss_by_round)).sum(1)
    assert n_known.tolist() == [20, 12, 5]
    for before, after in zip(found.loss_by_round[:-1], found.loss_by_round[1:], strict=True):
        kept = ~np.isnan(after)
        assert before[kept].max() <= np.nanmin(np.where(kept, np.nan, before))
    assert found.n_model_steps == 20 * 40 + 12 * 40 + 5 * 80


def test_the_kept_models_come_lowest_loss_first_and_carry_their_own_seeds():
    found = search(ReLUHiddenModel, FEATURES, 2, 20, ROUNDS, first_seed=100, **SMALL)
    assert (np.diff(found.loss) >= 0).all()
    assert len(found.loss) == 2
    at = found.model.seeds - 100
    np.testing.assert_array_equal(found.loss_by_round[-1][at], found.loss)
    # two models are evaluated in another layout than twenty: the same to rounding
    np.testing.assert_allclose(evaluate(found.model, FEATURES, n_samples=512).loss, found.loss, rtol=1e-5)


def test_a_search_can_be_repeated():
    first, second = (search(ReLUHiddenModel, FEATURES, 2, 20, ROUNDS, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.loss_by_round, second.loss_by_round)
    assert torch.equal(first.model.W, second.model.W)


def test_rounds_see_inputs_that_earlier_rounds_did_not():
    """Two rounds at the same settings must not be the same run continued on the same data."""
    once = search(ReLUOutputModel, FEATURES, 2, 3, [(3, 30, 0.02), (3, 30, 0.02)], **SMALL)
    model = ReLUOutputModel(5, 2, range(3))
    for _ in range(2):
        train(model, FEATURES, n_steps=30, lr=0.02, **SMALL)
    assert not torch.allclose(once.model.W, model.W[once.model.seeds])


def test_halving_finds_the_minimum_of_the_full_run():
    """n=5, m=2, dense: the two most important features; a fifth of the starts is enough to find it."""
    dense = SparseFeatures(n_features=5, feature_probability=1.0, importance=0.5 ** np.arange(5))
    plain = search(ReLUOutputModel, dense, 2, 32, [(32, 800, 0.03)], **SMALL)
    halved = search(ReLUOutputModel, dense, 2, 32, [(6, 100, 0.03), (2, 800, 0.03)], **SMALL)
    assert halved.loss[0] == pytest.approx(plain.loss[0], rel=0.02)
    assert halved.n_model_steps < plain.n_model_steps / 3


def test_init_goes_to_the_model():
    found = search(
        ReLUHiddenModel, FEATURES, 2, 2, [(2, 1, 1e-9)], init={"init_scale": 0.5, "b_init": 0.2}, **SMALL
    )
    torch.testing.assert_close(found.model.b_final, torch.full((2, 5), 0.2))
    full = ReLUHiddenModel(5, 2, found.model.seeds)
    torch.testing.assert_close(found.model.W, 0.5 * full.W, atol=1e-6, rtol=1e-6)


def test_paired_losses_are_disjoint_parts_with_the_mean_of_the_whole():
    model = ReLUHiddenModel(5, 2, range(4))
    parts = paired_losses(model, FEATURES, n_samples=40_000, n_parts=8)
    assert parts.shape == (8, 4)
    assert len(np.unique(parts[:, 0])) == 8
    # each part has 5000 inputs: their mean lies within 5 standard errors of an independent estimate
    whole = evaluate(model, FEATURES, n_samples=40_000, seed=99).loss
    error = parts.std(0, ddof=1) / np.sqrt(8)
    assert (np.abs(parts.mean(0) - whole) < 5 * np.sqrt(2) * error).all()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_starts": 0}, "n_starts must be a whole number, 1 or more; got 0"),
        ({"rounds": []}, "rounds must be one or more of"),
        ({"rounds": [(2, 10)]}, r"rounds must be one or more of .* got \[\(2, 10\)\]"),
        ({"rounds": [(9, 10, 0.1)]}, "keep in rounds must be a whole number, 1 or more and 8 or less; got 9"),
        ({"rounds": [(4, 10, 0.1), (5, 10, 0.1)]}, "keep in rounds must be .* 4 or less; got 5"),
        ({"rounds": [(4, 0, 0.1)]}, "n_steps in rounds must be a whole number, 1 or more; got 0"),
        ({"rounds": [(4, 10, 0.0)]}, "lr in rounds must be a finite number, above 0; got 0"),
        ({"rounds": [5]}, r"rounds must be one or more of .* got \[5\]"),
        ({"rounds": 5}, "rounds must be one or more of .* got 5"),
        ({"rounds": [(4, 10, 0.1), (4, 5, 0.1)], "snapshots": [7]}, "snapshots must be .* 5 or less; got 7"),
        ({"data_seed": "x"}, r"data_seed must be a whole number from 0 to 2\*\*32 - 1; got 'x'"),
        ({"model_class": dict}, "model_class must be one of toylib.models; got <class 'dict'>"),
        ({"init": 5}, "init must be a dict of the model's arguments; got 5"),
        ({"features": None}, "features must be SparseFeatures; got NoneType"),
        ({"first_seed": -1}, "first_seed must be a whole number, 0 or more; got -1"),
    ],
)
def test_bad_searches_are_refused_by_name(change, message):
    good = {"model_class": ReLUHiddenModel, "features": FEATURES, "n_hidden": 2, "n_starts": 8}
    arguments = {**good, "rounds": [(4, 10, 0.1)], **change}
    refused(lambda: search(**arguments), re.compile(message))


def test_features_of_several_rows_are_refused():
    several = SparseFeatures(n_features=5, feature_probability=np.array([0.1, 0.2]), importance=1.0)
    with pytest.raises(ValueError, match="features must be one row for all starts; got 2"):
        search(ReLUHiddenModel, several, 2, 2, [(1, 10, 0.1)])


@pytest.mark.bad_input
def test_paired_losses_need_two_parts_and_inputs_for_each():
    model = ReLUHiddenModel(5, 2, range(2))
    refused(
        lambda: paired_losses(model, FEATURES, n_parts=1), "n_parts must be a whole number, 2 or more; got 1"
    )
    few = "n_samples must be a whole number, 4 or more; got 3"
    refused(lambda: paired_losses(model, FEATURES, n_samples=3, n_parts=4), few)
