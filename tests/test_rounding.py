"""The same models by two engines, and the gap between them."""

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel
from toylib.studies.rounding import trained_by, weight_gap
from toylib.training import train

FEATURES = SparseFeatures(6, 0.3, 0.8 ** np.arange(6))
SETTINGS = {"n_steps": 5, "batch_size": 16, "lr": 0.02}


def test_models_are_those_of_train_with_this_engine():
    model = trained_by("torch", FEATURES, [3, 1], n_hidden=4, **SETTINGS)
    alone = train(ReLUHiddenModel(6, 4, [3, 1]), FEATURES, engine="torch", progress=False, **SETTINGS)
    assert torch.equal(model.W, alone.model.W)


def test_engines_agree_to_rounding():
    kernel, other = (trained_by(engine, FEATURES, range(3), **SETTINGS) for engine in ("kernel", "torch"))
    assert weight_gap(kernel.W, kernel.W) == (0, 0)
    assert weight_gap(kernel.W, other.W)[1] < 1e-4


def test_a_gap_is_the_largest_of_every_model_and_of_these_the_median_and_the_worst():
    a = torch.zeros(3, 2, 2)
    b = a.clone()
    b[0, 0, 1], b[1, 1, 1], b[1, 0, 0], b[2, 0, 0] = 1, -2, 0.5, 4
    assert weight_gap(a, b) == (2, 4)


@pytest.mark.bad_input
def test_bad_input_is_named():
    refused(lambda: trained_by("abacus", FEATURES, [0], **SETTINGS), "engine must be one of")
    message = "a and b must be weights of the same models; got (1, 2, 2) and (2, 2, 2)"
    refused(lambda: weight_gap(torch.ones(1, 2, 2), torch.ones(2, 2, 2)), message)
