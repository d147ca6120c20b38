"""Measures against cases worked out by hand or known from theory, and their invariances."""

import math

import numpy as np
import pytest
import torch
from bad_input import table
from hypothesis import given
from hypothesis import strategies as st

from toylib import measures
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel


def polygon(k):
    """k unit features at equal angles in the plane, as (1, 2, k)."""
    angle = torch.arange(k) * 2 * math.pi / k
    return torch.stack([angle.cos(), angle.sin()])[None]


def one(rows):
    return torch.tensor([rows], dtype=torch.float32)


# --- directions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("W", "dimensionality", "total_interference"),
    [
        (torch.eye(3)[None], 1.0, 0.0),
        (one([[1.0, -1.0]]), 1 / 2, 1.0),
        (polygon(3), 2 / 3, 0.5),
        (polygon(5), 2 / 5, 1.5),
        (polygon(4), 1 / 2, 1.0),
        (one([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 3**0.5, 3 / 4, 1 / 3),
    ],
    ids=["orthogonal basis", "antipodal pair", "triangle", "pentagon", "two digons", "tetrahedron"],
)
def test_dimensionality_and_interference_of_regular_shapes(W, dimensionality, total_interference):
    n = W.shape[2]
    torch.testing.assert_close(measures.feature_dimensionality(W), torch.full((1, n), dimensionality))
    torch.testing.assert_close(measures.interference(W), torch.full((1, n), total_interference))
    torch.testing.assert_close(measures.feature_norm(W), torch.ones(1, n))


def test_dimensionality_does_not_depend_on_length():
    assert measures.feature_dimensionality(0.01 * torch.eye(2)[None]).tolist() == [[1, 1]]


def test_dimensionality_of_unequal_lengths_by_hand():
    # W_0 = (1, 0) carries W_1 = (3, 4) by 9: 1 / (1 + 9); W_1 carries W_0 by .36: 25 / (25 + .36)
    D = measures.feature_dimensionality(one([[1.0, 3.0], [0.0, 4.0]]))
    torch.testing.assert_close(D, torch.tensor([[0.1, 25 / 25.36]]))


def test_an_unlearned_feature_has_dimensionality_zero_and_no_interference():
    W = one([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert measures.feature_dimensionality(W).tolist() == [[1, 1, 0]]
    assert measures.interference(W).tolist() == [[0, 0, 0]]


def test_interference_by_hand():
    # unit W_0 = (1, 0), W_1 = (3, 4): (W_0 . W_1)^2 = 9; unit W_1 = (.6, .8): (unit W_1 . W_0)^2 = .36
    torch.testing.assert_close(
        measures.interference(one([[1.0, 3.0], [0.0, 4.0]])), one([9.0, 0.36])[0][None]
    )


def test_dimensions_per_feature_of_pairs_and_of_a_basis():
    pairs = one([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    assert measures.dimensions_per_feature(pairs).item() == pytest.approx(1 / 2)
    assert measures.dimensions_per_feature(torch.eye(4)[None]).item() == pytest.approx(1)
    assert measures.dimensions_per_feature(torch.zeros(1, 2, 3)).item() == math.inf


@given(st.integers(0, 10_000))
def test_dimensionalities_are_at_most_one_each_and_n_hidden_together(seed):
    W = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(seed))
    D = measures.feature_dimensionality(W)
    assert D.min() >= 0
    assert D.max() <= 1 + 1e-5
    assert (D.sum(1) <= 3 + 1e-4).all()


@given(st.integers(0, 10_000))
def test_direction_measures_do_not_change_when_the_hidden_space_is_rotated(seed):
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(1, 4, 7, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    for measure in (measures.feature_norm, measures.interference, measures.feature_dimensionality):
        torch.testing.assert_close(measure(rotation @ W), measure(W))


# --- neurons ---------------------------------------------------------------------------------------------


def test_contributions_of_a_tied_third_model_are_the_squared_positive_weights():
    model = ReLUHiddenModel(3, 2)
    with torch.no_grad():
        model.W.copy_(one([[1.0, 0.5, -0.5], [-1.0, 0.0, 0.8]]))
    C = measures.contributions(model, SparseFeatures(3, 0.1))
    torch.testing.assert_close(C, one([[1.0, 0.25, 0.0], [0.0, 0.0, 0.64]]))


def test_contributions_of_linear_hidden_units_are_the_squared_weights():
    model = ReLUOutputModel(2, 1)
    with torch.no_grad():
        model.W.copy_(one([[1.0, -0.5]]))
    torch.testing.assert_close(measures.contributions(model, SparseFeatures(2, 0.1)), one([[1.0, 0.25]]))


def test_both_signs_of_a_signed_feature_come_back_through_a_linear_unit():
    model = LinearModel(1, 1)
    with torch.no_grad():
        model.W.fill_(0.5)
    # 0.5 * 0.5 for e_i, and (-0.5) towards the target -1, so 0.25 again
    assert measures.contributions(model, SparseFeatures(1, 0.1, signed=True)).item() == 0.5


def test_contributions_of_an_exact_absolute_value_pair_are_one_a_neuron():
    model = AbsoluteValueModel(1, 2)
    with torch.no_grad():
        model.W1.copy_(one([[2.0], [-1.0]]))
        model.W2.copy_(one([[0.5, 1.0]]))
    C = measures.contributions(model, SparseFeatures(1, 0.1, signed=True))
    torch.testing.assert_close(C, one([[1.0], [1.0]]))


def test_output_weights_that_inhibit_are_no_contribution():
    model = AbsoluteValueModel(1, 1)
    with torch.no_grad():
        model.W1.fill_(1.0)
        model.W2.fill_(-1.0)
    assert measures.contributions(model, SparseFeatures(1, 0.1, signed=True)).item() == 0


@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_contributions_do_not_change_when_a_neuron_is_rescaled(seed, factor):
    model = AbsoluteValueModel(6, 4, seed).double()
    features = SparseFeatures(6, 0.1, signed=True)
    before = measures.contributions(model, features)
    with torch.no_grad():
        model.W1[:, 2] *= factor
        model.W2[:, :, 2] /= factor
    torch.testing.assert_close(measures.contributions(model, features), before)


def test_a_rotation_by_a_permutation_permutes_the_neurons():
    model = ReLUHiddenModel(5, 3, 1)
    features = SparseFeatures(5, 0.1)
    order = [2, 0, 1]
    permuted = measures.contributions(model, features, rotation=torch.eye(3)[order])
    torch.testing.assert_close(permuted, measures.contributions(model, features)[:, order])


def test_contributions_are_not_rounded_where_mixed_precision_is_on():
    model, features = ReLUHiddenModel(5, 3, 1), SparseFeatures(5, 0.1)
    rotation = measures.random_rotation(3, 7)
    C, rotated = (measures.contributions(model, features, rotation=r) for r in (None, rotation))
    with torch.autocast("cpu"):
        assert torch.equal(measures.contributions(model, features), C)
        assert torch.equal(measures.contributions(model, features, rotation=rotation), rotated)


def test_each_model_may_have_a_rotation_of_its_own():
    model, features = ReLUHiddenModel(5, 3, range(2)), SparseFeatures(5, 0.1)
    rotations = measures.random_rotation(3, [7, 8])
    both = measures.contributions(model, features, rotation=rotations)
    for k, seed in enumerate((7, 8)):
        alone = measures.contributions(model, features, rotation=measures.random_rotation(3, seed))
        torch.testing.assert_close(both[k], alone[k])


def test_a_rotation_keeps_what_linear_hidden_units_contribute_in_total():
    model = LinearModel(5, 3, 1)
    features = SparseFeatures(5, 0.1)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    rotated = measures.contributions(model, features, rotation=rotation)
    torch.testing.assert_close(rotated.sum(1), measures.contributions(model, features).sum(1))


CASES = one([[1.0, 0, 0, 0], [1, 1, 0, 0], [0.5] * 4, [0.8, 0.1, 0.1, 0], [0] * 4])


def test_participation_ratio_by_hand():
    expected = [1, 2, 4, 1 / (0.64 + 0.01 + 0.01), 0]
    torch.testing.assert_close(measures.participation_ratio(CASES), one(expected)[0][None])


def test_features_are_counted_alike_however_small_their_contributions():
    tiny = CASES * 1e-36
    for measure in (measures.participation_ratio, measures.exp_entropy, measures.maximum_share):
        torch.testing.assert_close(measure(tiny), measure(CASES))


def test_exp_entropy_by_hand():
    mixed = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)))
    torch.testing.assert_close(measures.exp_entropy(CASES), one([1, 2, 4, mixed, 0])[0][None])


def test_maximum_share_by_hand():
    torch.testing.assert_close(measures.maximum_share(CASES), one([1, 0.5, 0.25, 0.8, 0])[0][None])


def test_features_per_neuron_counts_what_exceeds_a_share_of_the_largest():
    assert measures.features_per_neuron(CASES, theta=0.1).tolist() == [[1, 2, 4, 3, 0]]
    assert measures.features_per_neuron(CASES, theta=0.2).tolist() == [[1, 2, 4, 1, 0]]


def test_a_threshold_may_come_close_to_one():
    assert measures.features_per_neuron(one([[1.0, 0.96, 0.5]]), theta=0.95).tolist() == [[2]]


def test_the_threshold_itself_does_not_count():
    assert measures.features_per_neuron(one([[1.0, 0.25]]), theta=0.25).item() == 1
    assert measures.features_per_neuron(one([[1.0, 0.2501]]), theta=0.25).item() == 2


def test_the_usual_thresholds_are_a_quarter_of_the_largest_and_a_twentieth_of_a_feature():
    C = one([[1.0, 0.24], [1.0, 0.26], [0.049, 0.0], [0.051, 0.0]])
    assert measures.features_per_neuron(C).tolist() == [[1, 2, 0, 1]]


def test_a_neuron_of_three_features_is_as_polysemantic_as_one_of_two():
    assert measures.neuron_kinds(one([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])).tolist() == [[2, 2]]


def test_kinds_dead_monosemantic_polysemantic():
    C = one([[1.0, 0.1, 0], [0.6, 0.5, 0], [0.04, 0, 0], [0, 0, 0]])
    kinds = measures.neuron_kinds(C)
    assert kinds.tolist() == [[measures.MONOSEMANTIC, measures.POLYSEMANTIC, measures.DEAD, measures.DEAD]]
    assert measures.polysemantic_fraction(kinds).tolist() == [0.5]
    assert measures.holds_both_kinds(kinds).tolist() == [True]


def test_a_layer_of_one_kind_or_of_dead_neurons_does_not_hold_both():
    kinds = torch.tensor([[1, 1, 0], [2, 2, 0], [0, 0, 0], [1, 2, 0]])
    assert measures.holds_both_kinds(kinds).tolist() == [False, False, False, True]
    assert measures.polysemantic_fraction(kinds)[2].isnan()


@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_neuron_measures_do_not_depend_on_a_neurons_scale(seed, factor):
    C = torch.rand(1, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for measure in (measures.participation_ratio, measures.exp_entropy, measures.maximum_share):
        torch.testing.assert_close(measure(factor * C), measure(C))
    kinds = measures.neuron_kinds(C, dead_below=0)
    torch.testing.assert_close(measures.neuron_kinds(factor * C, dead_below=0), kinds)


def test_represented_ignores_what_only_the_bias_predicts():
    model = ReLUHiddenModel(2, 1)
    with torch.no_grad():
        model.W.copy_(one([[1.0, 0.0]]))
        model.b_final.copy_(torch.tensor([[0.0, 0.9]]))
    assert measures.represented(model, SparseFeatures(2, 1.0)).tolist() == [[True, False]]


def test_represented_asks_both_signs_of_an_absolute_value():
    model = AbsoluteValueModel(2, 3)
    with torch.no_grad():
        model.W1.copy_(one([[1.0, 0], [-1.0, 0], [0, 1.0]]))
        model.W2.copy_(one([[1.0, 1.0, 0], [0, 0, 0.9]]))
    features = SparseFeatures(2, 0.1, signed=True)
    # the second feature comes back for one sign only: (0.9 + 0) / 2
    assert measures.represented(model, features).tolist() == [[True, False]]
    assert measures.represented(model, features, above=0.4).tolist() == [[True, True]]


def test_represented_is_a_gain_above_one_half_whatever_the_sign():
    model = AbsoluteValueModel(1, 2, [0, 1])
    with torch.no_grad():
        model.W1.copy_(torch.tensor([[[1.0], [-1.0]]] * 2))
        model.W2.copy_(torch.tensor([[[0.51, 0.51]], [[0.49, 0.49]]]))
    assert measures.represented(model, SparseFeatures(1, 0.1, signed=True)).tolist() == [[True], [False]]


def test_represented_asks_for_one_whole_unit_and_for_more_than_the_bound():
    """Outputs relu(w^2 x - b) of three features: gains at 1 of .6, .5 exactly and .4."""
    model = ReLUOutputModel(3, 3)
    with torch.no_grad():
        model.W.copy_(torch.eye(3)[None])
        model.b_final.copy_(torch.tensor([[-0.4, -0.5, -0.6]]))
    assert measures.represented(model, SparseFeatures(3, 0.1)).tolist() == [[True, False, False]]
    barely = measures.represented(model, SparseFeatures(3, 0.1), above=0.59)
    assert barely.tolist() == [[True, False, False]]


def test_represented_takes_models_in_double_precision():
    model = ReLUOutputModel(2, 2).double()
    with torch.no_grad():
        model.W.copy_(torch.eye(2)[None])
    assert measures.represented(model, SparseFeatures(2, 0.1)).tolist() == [[True, True]]


def test_represented_shows_a_signed_feature_whole_units_of_both_signs():
    model = ReLUOutputModel(2, 2)
    with torch.no_grad():
        model.W.copy_(torch.eye(2)[None])
        model.b_final.copy_(torch.tensor([[0.5, -0.2]]))
    signed = SparseFeatures(2, 0.1, signed=True)
    # at +1 they gain 1 and .8; at -1, where less is right, .5 and nothing: means .75 and .4
    assert measures.represented(model, signed, above=0.74).tolist() == [[True, False]]
    assert measures.represented(model, signed, above=0.39).tolist() == [[True, True]]
    assert not measures.represented(model, signed, above=0.76).any()


TARGETS = {
    "x": lambda x: x,
    "-x": lambda x: -x,
    "relu(x)": torch.relu,
    "-relu(-x)": lambda x: -torch.relu(-x),
    "|x|": torch.abs,
    "3 x": lambda x: 3 * x,
    "x + 1": lambda x: x + 1,
    "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
    "x^2 - x": lambda x: x.square() - x,
    "rotated": lambda x: x @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]).to(x),
    "swapped": lambda x: x.flip(-1),
}


class Exact(LinearModel):
    """Computes a share of its target's move, and is off by a constant that only a bias would predict."""

    share = 1.0

    def forward(self, x):
        rest = self.target(torch.zeros_like(x))
        return rest + self.share * (self.target(x) - rest) + self.b_final[:, None]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_represented_is_the_share_of_the_targets_own_move_whatever_the_target(name, signed):
    moves = signed or name not in ("-relu(-x)", "x^2 - x")  # these stay at 0 when x goes from 0 to 1
    for dtype in (torch.float32, torch.float64):
        model, features = Exact(2, 2, [0, 1]).to(dtype), SparseFeatures(2, 0.1, signed=signed)
        model.target = TARGETS[name]
        with torch.no_grad():
            model.b_final.fill_(0.9)
        for share in (0.3, 0.7, 1.0):
            model.share = share
            for above, seen in ((share - 0.01, True), (share + 0.01, False)):
                assert (measures.represented(model, features, above=above) == (seen and moves)).all()


def test_represented_finds_what_an_exact_relu_model_reads():
    """A third model W = I with loss 0 on target relu(x) of signed features."""
    model, features = ReLUHiddenModel(3, 3), SparseFeatures(3, 0.1, signed=True)
    model.target = torch.relu
    with torch.no_grad():
        model.W.copy_(torch.eye(3)[None])
    x = features.sample(64, 0)
    assert torch.equal(model(x), model.target(x))
    assert measures.represented(model, features).all()
    torch.testing.assert_close(measures.contributions(model, features), torch.eye(3)[None])


def test_a_feature_that_the_target_ignores_is_not_represented_whatever_the_bound():
    model, features = LinearModel(2, 2), SparseFeatures(2, 0.1, signed=True)
    with torch.no_grad():
        model.W.copy_(torch.eye(2)[None])
    model.target = lambda x: x * torch.tensor([1.0, 0.0])
    assert measures.represented(model, features, above=-1).tolist() == [[True, False]]
    assert measures.contributions(model, features).tolist() == [[[2.0, 0.0], [0.0, 0.0]]]


def test_contributions_count_what_moves_the_output_with_the_target():
    """One linear unit, W_in = 1 and W_out = w: the output at s e_i is s w, and the target's move is t(s)."""
    for name, w, expected in [
        ("x", 0.8, 1.6),  # both signs
        ("-x", -0.8, 1.6),
        ("-x", 0.8, 0.0),
        ("3 x", 2.4, 1.6),  # 0.8 of the move of 3, at each sign
        ("|x|", 0.8, 0.8),  # at -1 the unit lowers what should rise
        ("relu(x)", 0.8, 0.8),
        ("relu(x)", -0.8, 0.0),  # at -1, where it raises the output, the target stays
    ]:
        model = AbsoluteValueModel(1, 1)
        model.hidden_relu, model.target = False, TARGETS[name]
        with torch.no_grad():
            model.W1.fill_(1.0)
            model.W2.fill_(w)
        C = measures.contributions(model, SparseFeatures(1, 0.1, signed=True))
        assert C.item() == pytest.approx(expected), name


def test_contributions_follow_a_target_that_mixes_features():
    model = AbsoluteValueModel(2, 2)
    model.target = TARGETS["swapped"]
    with torch.no_grad():
        model.W1.copy_(torch.eye(2)[None])
        model.W2.copy_(one([[0.0, 0.9], [0.7, 0.0]]))  # neuron 0 reads feature 0 and writes output 1
    C = measures.contributions(model, SparseFeatures(2, 0.1))
    torch.testing.assert_close(C, one([[0.7, 0.0], [0.0, 0.9]]))


@pytest.mark.slow
@given(st.integers(0, 10_000), st.booleans())
def test_measures_of_x_and_of_its_absolute_value_are_those_of_the_formulas_bit_for_bit(seed, absolute):
    """What the chapters' stored counts rest on: for these targets the general rule is the plain one."""
    model = (AbsoluteValueModel if absolute else ReLUHiddenModel)(7, 4, [seed, seed + 1])
    with torch.no_grad():
        model.b_final.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
    for signed in (False, True):
        features = SparseFeatures(7, 0.1, signed=signed)
        C, gain = torch.zeros_like(model.W_in), torch.zeros_like(model.b_final)
        rest = model(torch.zeros(1, 1, 7))
        for sign in (1.0, -1.0) if signed else (1.0,):
            towards = abs(sign) if absolute else sign
            C += ((sign * model.W_in).relu() * (towards * model.W_out.mT)).relu()
            moved = (model(sign * torch.eye(7)[None]) - rest).diagonal(dim1=1, dim2=2)
            gain += moved * towards / (1 + signed)
        assert torch.equal(measures.contributions(model, features), C)
        for above in gain.detach().flatten()[::3].tolist():  # the bound itself is not above
            assert torch.equal(measures.represented(model, features, above=above), gain > above)


def test_a_neuron_exactly_at_the_bound_is_dead():
    C = torch.tensor([[[0.25, 0.0]]])  # a number that float32 holds exactly
    assert not measures.features_of_neurons(C, dead_below=0.25).any()
    assert measures.features_of_neurons(C, dead_below=0.24).tolist() == [[[True, False]]]


def test_regime_lists_the_last_part_too():
    assert measures.regime(torch.eye(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)) == [(1, 1)] * 2


def test_regime_lists_the_connected_parts():
    has = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    assert measures.regime(has, torch.ones(5, dtype=torch.bool)) == [(3, 2), (1, 1)]
    without_middle = torch.tensor([True, False, True, True, False])
    assert measures.regime(has, without_middle) == [(1, 1), (1, 1), (1, 1)]
    assert measures.regime(has & False, without_middle) == []


# --- losses ----------------------------------------------------------------------------------------------


def test_no_superposition_loss_by_hand():
    # p = 1: Var = 1/12; p = 1/2: Var = 1/6 - 1/16 = 5/48
    features = SparseFeatures(3, [1.0, 0.5], importance=[1, 4, 2])
    np.testing.assert_allclose(measures.no_superposition_loss(features, 0), [7 / 12, 7 * 5 / 48])
    np.testing.assert_allclose(measures.no_superposition_loss(features, 1), [3 / 12, 3 * 5 / 48])
    np.testing.assert_allclose(measures.no_superposition_loss(features, 3), [0, 0], atol=1e-15)


def test_the_variance_in_the_reference_loss_is_that_of_the_data():
    features = SparseFeatures(1, 0.3)
    x = features.sample(400_000, 0)
    # the standard error of a variance estimate is below sqrt(E[x^4] / n) = sqrt(.3 / 5 / n)
    assert abs(x.var().item() - measures.no_superposition_loss(features, 0)[0]) < 5 * math.sqrt(
        0.06 / 400_000
    )


# --- bad input -------------------------------------------------------------------------------------------

FEATURES = SparseFeatures(3, 0.1)


def aiming(target):
    model = LinearModel(3, 2)
    model.target = target
    return model


class OwnHidden(LinearModel):
    def hidden(self, x):
        return super().hidden(x) + 1


NEGATIVE, NAN = one([[-1.0, 1.0]]), one([[float("nan"), 1.0]])
BAD = [
    (lambda: measures.feature_norm(torch.eye(2)), "W must be a tensor (n_instances, n_hidden, n_features)"),
    (lambda: measures.interference([[1.0]]), "W must be a tensor"),
    (lambda: measures.feature_dimensionality(torch.zeros(0, 2, 2)), "not empty; got (0, 2, 2)"),
    (lambda: measures.dimensions_per_feature(torch.zeros(3)), "got (3,)"),
    (lambda: measures.participation_ratio(torch.eye(2)), "C must be a tensor"),
    (lambda: measures.participation_ratio(NEGATIVE), "C must be 0 or more; got -1.0"),
    (
        lambda: measures.participation_ratio(CASES.clamp(min=1) / 0),
        "C must be finite, of a floating type; got ",
    ),
    (lambda: measures.maximum_share(CASES.clamp(min=0.1) * torch.inf), "torch.float32 with an infinity"),
    (lambda: measures.exp_entropy(NAN), "C must be finite, of a floating type; got torch.float32 with NaN"),
    (lambda: measures.feature_norm(NAN), "W must be finite, of a floating type; got torch.float32 with NaN"),
    (lambda: measures.interference(torch.ones(1, 2, 2).int()), "got torch.int32 with finite numbers"),
    (lambda: measures.maximum_share(NEGATIVE), "C must be 0 or more"),
    (
        lambda: measures.polysemantic_fraction(torch.tensor([1, 2])),
        "kinds must be a tensor (n_instances, n_hidden)",
    ),
    (lambda: measures.holds_both_kinds(torch.tensor([[1, 7]])), "kinds must be 0, 1 or 2; got 7"),
    (
        lambda: measures.represented(LinearModel(4, 2), FEATURES),
        "features must have the model's n_features = 4",
    ),
    (lambda: measures.represented(LinearModel(3, 2), FEATURES, above=NAN), "above must be a finite number"),
    (
        lambda: measures.contributions(aiming(lambda x: 1 / x), FEATURES),
        "target must be finite at 0 and at 1; got [1.0, inf, inf]",
    ),
    (lambda: measures.represented(aiming(torch.log), FEATURES), "target must be finite at 0 and at 1; got"),
    (
        lambda: measures.contributions(OwnHidden(3, 2), FEATURES),
        "model must be what its flags say, for its weights to tell what it does; got one with hidden",
    ),
    (lambda: measures.random_rotation(0, 0), "n must be a whole number, 1 or more; got 0"),
    (lambda: measures.random_rotation(2, -1), "seed must be whole numbers from 0 to 2**32 - 1; got -1"),
    (lambda: measures.features_per_neuron(CASES, theta=1), "theta must be a finite number"),
    (lambda: measures.features_per_neuron(CASES, theta=-0.1), "theta must be a finite number, 0 or more"),
    (lambda: measures.neuron_kinds(CASES, dead_below=-1), "dead_below must be a finite number, 0 or more"),
    (lambda: measures.neuron_kinds(CASES, theta="high"), "theta must be a finite number"),
    (
        lambda: measures.contributions(LinearModel(4, 2), FEATURES),
        "features must have the model's n_features = 4",
    ),
    (
        lambda: measures.contributions(LinearModel(3, 2), FEATURES, rotation=torch.eye(3)),
        "rotation must be (2, 2), or 1 of them; got (3, 3)",
    ),
    (
        lambda: measures.contributions(LinearModel(3, 2, [0, 1]), FEATURES, rotation=torch.ones(3, 2, 2)),
        "rotation must be (2, 2), or 2 of them; got (3, 2, 2)",
    ),
    (lambda: measures.regime(torch.ones(2, 3) > 0, torch.ones(2) > 0), "has must be (n_hidden, n_features)"),
    (lambda: measures.no_superposition_loss(FEATURES, 4), "n_represented must be a whole number, 0 or more"),
    (lambda: measures.no_superposition_loss(FEATURES, -1), "n_represented must be a whole number, 0 or more"),
]


test_bad_input_is_named = table(BAD)


def test_random_rotation_keeps_lengths_and_does_not_mirror():
    for seed in range(24):
        q = measures.random_rotation(5, seed).double()
        torch.testing.assert_close(q @ q.T, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
        assert torch.linalg.det(q).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(measures.random_rotation(5, 3), measures.random_rotation(5, 3))
    assert not torch.equal(measures.random_rotation(5, 3), measures.random_rotation(5, 4))
