"""Two features in one dimension: the closed form against models with these weights, and the border."""

import numpy as np
import pytest
import torch

from toylib.features import SparseFeatures
from toylib.models import ReLUOutputModel
from toylib.studies.pairs import interference, least_ratio, variance
from toylib.training import evaluate


def loss_of(W, b, p, importance):
    """The loss of a model with these weights."""
    model = ReLUOutputModel(2, 1)
    with torch.no_grad():
        model.W[:] = torch.tensor([W])
        model.b_final[:] = torch.tensor(b)
    features = SparseFeatures(2, p, importance)
    return float(evaluate(model, features, n_samples=2**18).loss[0])


@pytest.mark.parametrize("p", [1.0, 0.4, 0.05])
def test_costs_are_those_of_models_with_these_weights(p):
    A, b = interference(p)
    assert loss_of([1.0, -1.0], [float(b)] * 2, p, [1.0, 2.0]) == pytest.approx(3 * float(A), rel=0.02)
    left_out = loss_of([1.0, 0.0], [0.0, p / 2], p, [1.0, 2.0])
    assert left_out == pytest.approx(2 * float(variance(p)), rel=0.02)


def test_a_bias_helps_a_pair_and_hardly_where_features_are_sparse():
    p = np.array([0.5, 0.05])
    A, b = interference(p)
    assert (A < p**2 / 6).all()
    assert b[0] > 0.05 > b[1] > 0
    assert A[1] == pytest.approx(0.05**2 / 6, rel=0.01)


def test_at_the_border_both_solutions_lose_the_same():
    p = np.geomspace(1, 0.005, 9)
    r = least_ratio(p)
    np.testing.assert_allclose((1 + r) * interference(p)[0], r * variance(p))
    assert (np.diff(r) < 0).all()
    assert least_ratio(1e-3) == pytest.approx(0.5e-3, rel=0.01)  # (p^2 / 6) / (p / 3)


@pytest.mark.bad_input
@pytest.mark.parametrize("p", [0.0, 1.2, [0.5, -0.1], float("nan"), "dense"])
def test_a_density_that_is_none_is_refused(p):
    for function in (variance, interference, least_ratio):
        with pytest.raises(ValueError, match="p must be"):
            function(p)
