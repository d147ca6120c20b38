"""A grid of models: which instance is which, and what each was trained on."""

import numpy as np
import pytest
import torch
from bad_input import table

from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel
from toylib.studies.grids import train_grid
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


def test_absolute_values_are_of_signed_features_and_biases_start_at_their_mean():
    barely = SETTINGS | dict(n_steps=1, lr=1e-9)  # where it started
    run = train_grid(
        AbsoluteValueModel, n_hidden=2, importance=np.ones(3), densities=[1.0, 0.2], seeds=[0, 1], **barely
    )
    assert run.features.signed
    # the mean of |x| is p / 2 for x uniform on [-1, 1] with probability p, and 0 otherwise
    expected = np.repeat([0.5, 0.5, 0.1, 0.1], 3).reshape(4, 3)
    np.testing.assert_allclose(run.model.b_final.detach(), expected, atol=1e-6)


def test_settings_go_to_training():
    with pytest.raises(ValueError, match="batch_size must be"):
        train_grid(
            ReLUHiddenModel, n_hidden=2, importance=IMPORTANCE, densities=[0.5], seeds=[0], batch_size=0
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
    ]
)
