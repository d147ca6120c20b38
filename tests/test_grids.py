"""A grid of models: which instance is which, and what each was trained on."""

import numpy as np
import pytest
import torch
from bad_input import table

from toylib import measures
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.studies.grids import beside_reference, train_grid, train_plane
from toylib.training import train

SETTINGS = dict(n_steps=20, batch_size=16, lr=0.02, models_per_stream=1, n_evaluation=64)
IMPORTANCE = 0.8 ** np.arange(4)


def grid(
    model_class=ReLUHiddenModel,
    *,
    n_hidden=2,
    importance=IMPORTANCE,
    densities=(0.5, 0.1),
    seeds=(3, 8, 5),
    **more,
):
    return train_grid(
        model_class,
        n_hidden=n_hidden,
        importance=importance,
        densities=densities,
        seeds=seeds,
        **SETTINGS,
        **more,
    )


def test_an_instance_is_the_model_of_its_seed_trained_alone_at_its_density():
    run = grid()
    assert run.model.n_instances == 6
    alone = train(ReLUHiddenModel(4, 2, [8]), SparseFeatures(4, 0.1, IMPORTANCE), **SETTINGS)
    torch.testing.assert_close(run.model.W[4], alone.model.W[0])  # density 1, seed 1, of three seeds
    assert not torch.allclose(run.model.W[1], alone.model.W[0])  # the same seed at the other density


def test_the_run_keeps_the_features_that_it_was_trained_on():
    features = grid(LinearModel).features
    np.testing.assert_array_equal(features.feature_probability[:, 0], [0.5] * 3 + [0.1] * 3)
    np.testing.assert_array_equal(features.importance, IMPORTANCE[None])
    assert not features.signed


def test_absolute_values_are_of_signed_features():
    run = grid(AbsoluteValueModel)
    assert run.features.signed


def test_settings_go_to_training():
    with pytest.raises(ValueError, match="batch_size must be"):
        train_grid(
            ReLUHiddenModel, n_hidden=2, importance=IMPORTANCE, densities=[0.5], seeds=[0], batch_size=0
        )


def test_a_plane_has_a_row_for_each_importance_and_the_starts_of_every_point():
    run = train_plane(3, 2, densities=[0.5, 0.1], importances=[0.2, 1, 5], n_starts=2, **SETTINGS)
    p = run.features.feature_probability[:, 0].reshape(3, 2, 2)
    importance = run.features.importance.reshape(3, 2, 2, 3)
    np.testing.assert_array_equal(p, np.broadcast_to([[[0.5], [0.1]]], p.shape))
    np.testing.assert_array_equal(importance[..., 2], np.broadcast_to([[[0.2]], [[1]], [[5]]], p.shape))
    assert (importance[..., :2] == 1).all()
    alone = train(ReLUOutputModel(3, 2, [7]), SparseFeatures(3, 0.1, [1, 1, 1]), **SETTINGS)
    torch.testing.assert_close(run.model.W[7], alone.model.W[0])  # importance 1, density 0.1, second start


def test_models_of_several_runs_are_put_beside_their_reference_in_order():
    runs = [grid(densities=[p], seeds=[0, 1]) for p in (0.5, 0.1)]
    relative, C = beside_reference(runs, 2)
    assert C.shape == (4, 2, 4)
    for k, run in enumerate(runs):
        own = slice(2 * k, 2 * k + 2)
        expected = run.loss / measures.no_superposition_loss(run.features, 2)
        np.testing.assert_array_equal(relative[own], expected)
        torch.testing.assert_close(C[own], measures.contributions(run.model, run.features))


def plane(n_features=2, densities=(0.5,), importances=(1,), n_starts=1, n_hidden=1):
    return train_plane(
        n_features, n_hidden, densities=densities, importances=importances, n_starts=n_starts, **SETTINGS
    )


test_bad_input = table(
    [
        (lambda: grid(densities=0.5), "densities must be 1-D; got shape ()"),
        (lambda: grid(densities=[]), "densities must not be empty"),
        (lambda: grid(densities=[0.5, 2]), "feature_probability must be"),
        (lambda: grid(importance=1.0), "importance must be 1-D; got shape ()"),
        (lambda: grid(importance=[1, -1]), "importance must be 0 or more; got -1"),
        (lambda: grid(seeds=[]), "seeds must be whole numbers"),
        (lambda: grid(seeds=[-1]), "seeds must be whole numbers"),
        (lambda: grid(n_hidden=0), "n_hidden must be a whole number"),
        (lambda: plane(n_features=0), "n_features must be a whole number, 1 or more; got 0"),
        (lambda: plane(n_hidden=0), "n_hidden must be a whole number"),
        (lambda: plane(densities=[]), "densities must not be empty"),
        (lambda: plane(importances=1), "importances must be 1-D; got shape ()"),
        (lambda: plane(importances=[-1]), "importance must be 0 or more; got -1"),
        (lambda: plane(n_starts=0), "n_starts must be a whole number, 1 or more; got 0"),
        (lambda: beside_reference([], 2), "runs must be one or more; got 0"),
    ]
)


def test_the_seeds_of_a_plane_begin_where_they_are_told_to():
    plane = dict(densities=[1, 0.1], importances=[0.5, 2], n_starts=400, n_steps=1, batch_size=2)
    run = train_plane(2, 1, first_seed=3072, n_evaluation=2, progress=False, **plane)
    assert (run.model.seeds - 3072).tolist() == (np.arange(1600) % 640).tolist()
