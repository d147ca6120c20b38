"""The data: rates, values, sets, conditioning on non-empty inputs, and named errors."""

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.draws import MANY, TRAINING, draw_dense, new_stream
from toylib.engines import strata
from toylib.features import SparseFeatures


def within(rate, p, n):
    """Whether a sampled rate is within five standard errors, 5 sqrt(p (1 - p) / n), of p."""
    return np.abs(rate - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-12


def drawn(features, n, given, seed=0):
    x = np.empty((n, features.n_features), np.float32)
    q = features.unit_probability[0]
    draw_dense(new_stream(seed, TRAINING), q, given, *features.units, features.signed, x)
    return x


def non_empty(features, n, seed=0):
    return drawn(features, n, features.given_active(0), seed)


def test_a_feature_is_active_with_its_own_probability():
    p = np.array([[0.9, 0.5, 0.1, 0.01]])
    x = SparseFeatures(4, p).sample(50_000, 0)[0].numpy()
    assert within((x != 0).mean(0), p[0], 50_000).all()


def test_active_values_are_uniform_on_zero_to_one():
    x = SparseFeatures(2, 0.3).sample(50_000, 1)[0].numpy()
    active = x[x != 0]
    deciles = np.histogram(active, bins=10, range=(0, 1))[0] / active.size
    assert within(deciles, np.full(10, 0.1), active.size).all()
    assert active.min() >= 0
    assert active.max() <= 1


def test_signed_values_are_uniform_on_minus_one_to_one():
    x = SparseFeatures(2, 1.0, signed=True).sample(50_000, 1)[0].numpy()
    deciles = np.histogram(x, bins=10, range=(-1, 1))[0] / x.size
    assert within(deciles, np.full(10, 0.1), x.size).all()


def test_a_correlated_set_is_active_all_at_once_with_values_of_its_own():
    features = SparseFeatures(4, 0.2, correlated_sets=[[0, 2, 3]])
    x = features.sample(50_000, 2)[0].numpy()
    on = x != 0
    assert (on[:, 0] == on[:, 2]).all()
    assert (on[:, 0] == on[:, 3]).all()
    assert within(on.mean(0), 0.2, 50_000).all()
    assert abs(np.corrcoef(x[on[:, 0]][:, [0, 2]].T)[0, 1]) < 5 / np.sqrt(on[:, 0].sum())
    assert 0.13 < (on[:, 0] & on[:, 1]).mean() / 0.2 < 0.27  # the feature outside is independent of it


def test_an_anticorrelated_set_has_at_most_one_active_member_each_at_its_probability():
    x = SparseFeatures(4, 0.2, anticorrelated_sets=[[1, 2, 3]]).sample(50_000, 3)[0].numpy()
    on = x != 0
    assert on[:, 1:].sum(1).max() == 1
    assert within(on.mean(0), 0.2, 50_000).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("p", [0.05, 0.6, 1.0, np.array([[0.5, 0.02, 1.0, 0.3, 0.9]])])
@pytest.mark.parametrize("n_features", [5, MANY - 1, MANY, 3 * MANY + 5])
def test_sets_of_one_feature_give_the_inputs_of_independent_features(n_features, p, signed):
    """Independent features are drawn by loops of their own, few or many, from the same random numbers."""
    p = np.resize(p, (1, n_features))
    plain = SparseFeatures(n_features, p, signed=signed)
    for sets in (dict(correlated_sets=[[0]]), dict(anticorrelated_sets=[[0], [1]])):
        other = SparseFeatures(n_features, p, signed=signed, **sets)
        assert torch.equal(plain.sample(500, 3), other.sample(500, 3))
        np.testing.assert_array_equal(non_empty(plain, 500), non_empty(other, 500))
        np.testing.assert_array_equal(*(drawn(f, 500, strata.given_rest(f, 0)) for f in (plain, other)))


@pytest.mark.parametrize(
    "features",
    [
        SparseFeatures(4, np.array([[0.5, 0.02, 0.02, 0.3]])),
        SparseFeatures(4, 0.05, correlated_sets=[[0, 1]], anticorrelated_sets=[[2, 3]]),
        SparseFeatures(3, 1.0),
    ],
    ids=["unequal", "sets", "dense"],
)
def test_non_empty_inputs_keep_the_conditional_rates_and_values(features):
    n = 50_000
    x = non_empty(features, n)
    assert (x != 0).any(1).all()
    conditional = features.feature_probability[0] / (1 - features.empty_probability[0])
    assert within((x != 0).mean(0), conditional, n).all()
    mean = x.sum(0) / (x != 0).sum(0)
    assert np.abs(mean - 0.5).max() < 5 / np.sqrt(12 * (x != 0).sum(0).min())


def test_the_empty_probability_multiplies_over_units():
    assert SparseFeatures(3, 0.1).empty_probability == pytest.approx(0.9**3)
    features = SparseFeatures(5, 0.1, correlated_sets=[[0, 1]], anticorrelated_sets=[[2, 3, 4]])
    assert features.empty_probability == pytest.approx(0.9 * 0.7)


def test_the_active_probability_is_exact_where_it_is_tiny_and_where_it_is_one():
    assert SparseFeatures(3, 0.1).active_probability == pytest.approx(1 - 0.9**3, rel=1e-14)
    assert SparseFeatures(4, 1e-12).active_probability == pytest.approx(4e-12 - 6e-24, rel=1e-14, abs=0)
    assert SparseFeatures(4, [[1, 0.5, 0.5, 0.5]]).active_probability == 1


def test_sets_may_be_given_by_a_generator_and_are_kept():
    features = SparseFeatures(4, 0.5, correlated_sets=(range(k, k + 2) for k in (0, 2)))
    assert features.correlated_sets == ((0, 1), (2, 3))
    assert features.select([0]).units.kind.tolist() == features.units.kind.tolist()


def test_a_sample_depends_on_its_own_seed_alone():
    features = SparseFeatures(5, 0.3)
    together = features.sample(64, [7, 8, 9])
    torch.testing.assert_close(together[1:2], features.sample(64, 8), rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


def test_a_longer_sample_begins_with_the_shorter_one():
    features = SparseFeatures(5, 0.3)
    assert torch.equal(features.sample(100, 4)[:, :10], features.sample(10, 4))


def test_each_instance_has_its_own_density_and_importance():
    features = SparseFeatures(3, [0.1, 0.9], importance=[1, 0.5, 0.25])
    assert features.n_instances == 2
    np.testing.assert_array_equal(features.feature_probability, [[0.1] * 3, [0.9] * 3])
    np.testing.assert_array_equal(features.importance, [[1, 0.5, 0.25]])
    chosen = features.select([1, 1, 0])
    np.testing.assert_array_equal(chosen.feature_probability[:, 0], [0.9, 0.9, 0.1])
    np.testing.assert_array_equal(chosen.importance, [[1, 0.5, 0.25]] * 3)


BAD = [
    (dict(n_features=0), "n_features must be a whole number, 1 or more; got 0"),
    (dict(n_features=2.5), "n_features must be a whole number"),
    (dict(n_features=True), "n_features must be a whole number"),
    (dict(feature_probability=0), "feature_probability must be 1e-12 or more and 1 or less; got 0.0"),
    (dict(feature_probability=1e-17), "feature_probability must be 1e-12 or more and 1 or less; got 1e-17"),
    (dict(feature_probability="0.5"), "feature_probability must be numbers; got '0.5'"),
    (dict(importance=1j), "importance must be numbers; got 1j"),
    (dict(signed="no"), "signed must be True or False; got 'no'"),
    (
        dict(correlated_sets=[0, 1]),
        "correlated_sets must be sets of features, as [[0, 1], [2, 3]]; got [0, 1]",
    ),
    (dict(correlated_sets=[[0.5, 1]]), "correlated_sets must be a whole number, 0 or more; got 0.5"),
    (dict(feature_probability=1.5), "1 or less; got 1.5"),
    (dict(feature_probability=float("nan")), "feature_probability must be finite; got"),
    (dict(feature_probability="often"), "feature_probability must be numbers; got 'often'"),
    (dict(feature_probability=np.ones((2, 4))), "feature_probability must have n_features = 3 entries a row"),
    (dict(feature_probability=[]), "feature_probability must not be empty"),
    (dict(feature_probability=np.ones((1, 1, 3))), "feature_probability must be 0-D or 1-D or 2-D"),
    (dict(importance=-1), "importance must be 0 or more; got -1.0"),
    (dict(importance=[1, 2]), "importance must have n_features = 3 entries a row"),
    (dict(importance=float("inf")), "importance must be finite; got"),
    (
        dict(feature_probability=[0.1, 0.2], importance=np.ones((3, 3))),
        "must agree on n_instances; got 2 and 3",
    ),
    (dict(correlated_sets=[[0, 3]]), "correlated_sets must name features 0 to 2; got"),
    (dict(correlated_sets=[[0, 1]], anticorrelated_sets=[[1, 2]]), "anticorrelated_sets must be disjoint"),
    (dict(correlated_sets=[[]]), "correlated_sets must be disjoint sets"),
    (dict(feature_probability=[[0.1, 0.2, 0.1]], correlated_sets=[[0, 1]]), "must be equal within"),
    (dict(feature_probability=0.6, anticorrelated_sets=[[0, 1]]), "must sum to at most 1; got 1.2"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_features_are_named(arguments, message):
    refused(lambda: SparseFeatures(**{"n_features": 3, **arguments}), message)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "batch_size must be a whole number, 1 or more; got 0"),
        ((4, -1), "seeds must be whole numbers from 0 to 2**53 - 1; got -1"),
        ((4, 2**53), "seeds must be whole numbers from 0 to 2**53 - 1; got 9007199254740992"),
        ((4, "abc"), "seeds must be whole numbers"),
        ((4, [0.5]), "seeds must be whole numbers"),
        ((4, []), "seeds must be whole numbers"),
        ((4, [1, 2, 3]), "seeds must be one, or one for each of 2 instances; got 3"),
    ],
)
def test_bad_sampling_is_named(arguments, message):
    refused(lambda: SparseFeatures(3, [0.1, 0.2]).sample(*arguments), message)


# --- strata ------------------------------------------------------------------------------------------------

STRATIFIED = {
    "independent": SparseFeatures(4, np.array([[0.5, 0.2, 0.1, 0.4]])),
    "one always active": SparseFeatures(4, np.array([[0.3, 1.0, 0.1, 0.4]])),
    "sets": SparseFeatures(6, 0.2, correlated_sets=[[4, 1]], anticorrelated_sets=[[0, 5, 2]]),
    "a set of one": SparseFeatures(3, 0.3, correlated_sets=[[2]]),
    "signed": SparseFeatures(5, 0.3, signed=True),
}


@pytest.mark.parametrize("features", STRATIFIED.values(), ids=STRATIFIED)
def test_the_rest_is_drawn_as_plain_draws_that_lie_on_no_line_are(features):
    """Every pattern of active features as often as among plain draws with two active, or a correlated set."""
    n = 200_000
    alone, rest = strata.strata_of(features)
    x = np.empty((n, features.n_features), np.float32)
    q, given = features.unit_probability[0], strata.given_rest(features, 0)
    draw_dense(new_stream(1, TRAINING), q, given, *features.units, features.signed, x)
    plain = features.sample(n, 0)[0].numpy()
    n_active = (plain != 0).sum(1)  # of a correlated set all are active, or none
    assert within((n_active == 1).mean(), alone[0].sum(), n)
    assert within((n_active > 1).mean(), rest[0], n)
    assert alone[0].sum() + rest[0] == pytest.approx(features.active_probability[0], rel=1e-12)
    of_rest, code = plain[n_active > 1] != 0, 2 ** np.arange(features.n_features)
    size = 2**features.n_features
    theirs = np.bincount(of_rest @ code, minlength=size) / len(of_rest)
    ours = np.bincount((x != 0) @ code, minlength=size) / n
    error = np.sqrt(theirs * (1 / n + 1 / len(of_rest)))
    assert (np.abs(ours - theirs) <= 5 * error + 5 / len(of_rest)).all()
    assert ours[theirs == 0].sum() == 0
    values = np.abs(x[x != 0])
    deciles = np.histogram(values, bins=10, range=(0, 1))[0] / values.size
    assert within(deciles, np.full(10, 0.1), values.size).all()


def test_strata_are_exact_where_they_are_tiny():
    features = SparseFeatures(3, np.array([[1e-9, 2e-9, 3e-9]]))
    alone, rest = strata.strata_of(features)
    np.testing.assert_allclose(alone[0], [1e-9, 2e-9, 3e-9], rtol=1e-8)
    np.testing.assert_allclose(rest, [2e-18 + 3e-18 + 6e-18], rtol=1e-8)
