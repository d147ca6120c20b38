"""What claims 1 and 2 are judged by holds on data of the real runs' shape, and for no null."""

import re

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib import measures
from toylib.claims import Rule, answer
from toylib.evidence import Interval, share
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from toylib.studies.verdicts import (
    Layers,
    best_of_streams,
    clean_and_shared,
    contrast,
    dealt,
    describe,
    in_streams,
    less,
    polysemantic_share,
    rate,
)
from toylib.training import train

FEATURES = SparseFeatures(n_features=10, feature_probability=0.1, importance=0.75 ** np.arange(10))
N = 50  # the best 5% of 1000


def sample(values):
    """Layers of which every five saw the same inputs."""
    return Layers(np.asarray(values), np.arange(len(values)) // 5)


def layers(weights, n=N):
    """n copies of a tied layer (n_hidden, n_features), hardly disturbed."""
    model = ReLUHiddenModel(10, 5, range(n), init_scale=0.02)
    with torch.no_grad():
        model.W += torch.as_tensor(weights, dtype=torch.float32)
    return model


CLEAN = np.eye(5, 10)
# eight features in five neurons: each neuron has several, each feature its own set of neurons
SHARED = np.zeros((5, 10))
for feature, neurons in enumerate([(0,), (1,), (0, 1), (2,), (3,), (2, 3), (4, 0), (4, 2)]):
    SHARED[list(neurons), feature] = len(neurons) ** -0.5
# three clean neurons, three features in two
MIXED = np.zeros((5, 10))
MIXED[[0, 1, 2], [0, 1, 2]] = 1
for feature, neurons in zip((3, 4, 5), [(3,), (4,), (3, 4)], strict=True):
    MIXED[list(neurons), feature] = len(neurons) ** -0.5


def fractions(model, rotation=None):
    C = measures.contributions(model, FEATURES, rotation=rotation)
    return sample(measures.polysemantic_fraction(measures.neuron_kinds(C)))


def mixed(model, rotation=None):
    C = measures.contributions(model, FEATURES, rotation=rotation)
    has = measures.features_of_neurons(C)
    return sample(clean_and_shared(has, measures.represented(model, FEATURES)))


def rotation(seed=0):
    return torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(seed))).Q


def linear_layers(density):
    """The third model without its hidden ReLU, trained: directions, but no neurons."""
    features = SparseFeatures(n_features=10, feature_probability=density, importance=0.75 ** np.arange(10))
    model = ReLUOutputModel(10, 5, range(N))
    return train(model, features, n_steps=250, batch_size=64, lr=0.03, n_evaluation=256, progress=False).model


@pytest.fixture(scope="module")
def nulls():
    """(sparse, dense) models, each null in the place of the trained ones."""
    untrained = ReLUHiddenModel(10, 5, range(2 * N))
    return {
        "untrained": (untrained.select(range(N)), untrained.select(range(N, 2 * N)), None),
        "rotated": (layers(SHARED), layers(CLEAN), rotation()),
        "linear": (linear_layers(0.1), linear_layers(0.5), None),
    }


NAMES = ["untrained", "rotated", "linear"]


MORE_THAN_HALF = Rule("the first rule of claims 1 and 2", above=0.5)


def holds(interval):
    return answer(MORE_THAN_HALF, interval).held


def test_claim_1_holds_for_shared_layers_where_sparse_and_clean_ones_where_dense():
    found = contrast(fractions(layers(SHARED)), fractions(layers(CLEAN)))
    assert holds(found)
    assert found.estimate > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_claim_1_does_not_hold_for_a_null(nulls, name):
    sparse, dense, r = nulls[name]
    assert not holds(contrast(fractions(sparse, r), fractions(dense, r)))


@pytest.mark.slow
def test_claim_1_holds_by_chance_no_more_often_than_its_interval_says():
    """Streams that differ, layers of a stream that are alike, and a true contrast at the bound."""
    rng = np.random.default_rng(0)

    def drawn(mean):
        streams = np.repeat(np.arange(24), 2)
        value = mean + 0.15 * rng.normal(size=24)[streams] + 0.1 * rng.normal(size=48)
        return Layers(value, streams)

    n = 150
    held = sum(holds(contrast(drawn(0.75), drawn(0.25), n_resamples=300)) for _ in range(n))
    assert share(held, n).low < 0.05


def test_contrast_is_the_difference_of_means_and_changes_sign_with_the_order():
    a, b = (Layers(np.array(v), np.arange(len(v))) for v in ([1.0, 1.0, 0.8, 0.6], [0.0, 0.2, 0.0]))
    forth, back = contrast(a, b), contrast(b, a)
    assert forth.estimate == pytest.approx(0.85 - 0.2 / 3)
    assert back.estimate == pytest.approx(-forth.estimate)
    assert forth.low <= forth.estimate <= forth.high


def test_claim_2_holds_for_layers_of_three_clean_and_two_shared_neurons():
    found = rate(mixed(layers(MIXED)))
    assert holds(found)
    assert found.estimate == 1
    assert 0.9 < found.low < 1


@pytest.mark.parametrize("name", NAMES)
def test_claim_2_does_not_hold_for_a_null(nulls, name):
    model, _, r = nulls[name]
    assert not holds(rate(mixed(model, r)))


@pytest.mark.parametrize("weights", [CLEAN, SHARED], ids=["all clean", "all shared"])
def test_claim_2_does_not_hold_for_layers_of_one_kind(weights):
    assert rate(mixed(layers(weights))).high < 0.1


def test_the_difference_of_independent_estimates_is_wider_than_either():
    a, b = Interval(0.9, 0.8, 0.95), Interval(0.5, 0.4, 0.7)
    found = less(a, b)
    assert found.estimate == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - np.hypot(0.1, 0.2))
    assert found.high == pytest.approx(0.4 + np.hypot(0.05, 0.1))
    assert less(b, a).low == pytest.approx(-found.high)


def test_a_rate_is_as_uncertain_as_its_streams_are_few():
    value = np.repeat([True, False], 50)
    few, many = rate(Layers(value, np.arange(100) // 25)), rate(Layers(value, np.arange(100)))
    assert few.estimate == many.estimate == 0.5
    assert few.low < many.low
    assert few.high > many.high


def test_none_in_fifty_is_not_yet_never():
    assert 0 < rate(sample(np.zeros(50, bool))).high < 0.1


def test_layers_are_in_the_streams_of_their_models():
    every = in_streams([True, False, True, True], 2)
    assert every.value.tolist() == [True, False, True, True]
    assert every.stream.tolist() == [0, 0, 1, 1]
    chosen = in_streams(np.array([0.5, 1.0, 0.0]), 32, [31, 32, 100])  # of more models, these three
    assert chosen.stream.tolist() == [0, 1, 3]


def test_the_polysemantic_share_is_of_live_neurons_and_0_where_none_lives():
    C = torch.zeros(3, 4, 5)
    C[0, 0, 0] = C[0, 1, 1] = C[0, 1, 2] = 1  # a clean neuron, a shared one, two dead
    C[1, :, 0], C[1, :, 1] = 1, 0.2  # the second feature is a fifth of the first
    np.testing.assert_array_equal(polysemantic_share(C), [0.5, 0, 0])
    np.testing.assert_array_equal(polysemantic_share(C, theta=0.1), [0.5, 1, 0])


@pytest.mark.bad_input
def test_streams_that_do_not_fit_are_named():
    refused(lambda: in_streams([1, 0], 0), "models_per_stream must be a whole number, 1 or more; got 0")
    refused(lambda: in_streams([1, 0], 2, [1]), "numbers must be None, or one for each value; got [1]")


def has_of(parts, n_hidden, n_features):
    """A layer whose parts are (features, neurons), every neuron of a part having all of its features."""
    has = torch.zeros(1, n_hidden, n_features, dtype=torch.bool)
    i = j = 0
    for f, n in parts:
        has[0, j : j + n, i : i + f] = True
        i, j = i + f, j + n
    return has


@pytest.mark.parametrize(
    ("parts", "per", "expected"),
    [
        ([(3, 2), (1, 1), (1, 1), (1, 1)], 1, True),
        ([(1, 1)] * 5, 1, False),
        ([(8, 5)], 1, False),
        ([(2, 2), (1, 1)], 1, False),  # two features in two neurons could each have had its own
        ([(2, 2), (1, 1)], 2, True),  # but not where a feature takes two neurons
        ([(1, 2), (3, 4)], 2, True),
        ([(1, 2), (2, 4)], 2, False),
    ],
)
def test_a_layer_is_mixed_if_it_has_a_clean_part_and_a_shared_part(parts, per, expected):
    has = has_of(parts, 5 if per == 1 else 6, 10)
    known = torch.ones(1, 10, dtype=torch.bool)
    assert clean_and_shared(has, known, neurons_per_feature=per).tolist() == [expected]


def test_features_that_are_not_represented_make_no_part():
    has = has_of([(3, 2), (1, 1)], 5, 10)
    only_shared = torch.tensor([[True] * 3 + [False] * 7])
    assert not clean_and_shared(has, only_shared)[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(3, 2), (1, 1), (1, 1), (1, 1)], "3 in 2 + 3 clean"),
        ([(1, 1)] * 5, "5 clean"),
        ([(8, 5)], "8 in 5"),
        ([(3, 2), (3, 2), (1, 1)], "2 x 3 in 2 + 1 clean"),
        ([], "nothing"),
    ],
)
def test_a_regime_in_words(parts, words):
    assert describe(parts) == words


@pytest.mark.bad_input
def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"has must be .* got \(2, 5, 10\) and \(2, 5\)"):
        clean_and_shared(torch.ones(2, 5, 10, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="neurons_per_feature must be a whole number, 1 or more; got 0"):
        clean_and_shared(has_of([(1, 1)], 5, 10), torch.ones(1, 10, dtype=torch.bool), neurons_per_feature=0)


@pytest.mark.bad_input
def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="samples must not be empty"):
        contrast(sample(np.empty(0)), sample(np.ones(6)))
    with pytest.raises(ValueError, match="value must not be empty"):
        rate(sample(np.empty(0, bool)))


# --- which models are judged --------------------------------------------------------------------------------


def test_the_best_are_chosen_within_every_stream_not_among_all():
    loss = np.array([3.0, 1.0, 2.0, 9.0, 8.0, 7.0])  # the second stream is unlucky throughout
    assert best_of_streams(loss, 3).tolist() == [1, 2, 5, 4]
    assert best_of_streams(np.stack([loss, loss[::-1]]), 3).tolist() == [[1, 2, 5, 4], [0, 1, 4, 3]]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0, 3.0], 2), "models_per_stream must divide the 3 models; got 2"),
        (([1.0, 2.0], 1), "models_per_stream must be a whole number, 2 or more; got 1"),
        (([1.0, np.nan], 2), "loss must be finite; got .*nan"),
        ((3.0, 2), r"loss must be 1-D or 2-D or 3-D; got shape \(\)"),
    ],
)
def test_bad_streams_are_named(arguments, message):
    refused(lambda: best_of_streams(np.array(arguments[0]), *arguments[1:]), re.compile(message))


def test_dealing_keeps_each_features_weights_and_moves_them_among_the_neurons():
    model = ReLUHiddenModel(10, 5, range(3))
    before = model.W.detach().clone()
    copies = dealt(model, times=2)
    assert copies.n_instances == 6
    assert torch.equal(copies.W.sort(1).values, before.repeat(2, 1, 1).sort(1).values)
    moved = (copies.W != before.repeat(2, 1, 1)).any(1)
    assert moved.float().mean() > 0.9  # of 120 orders of five neurons one leaves a feature as it was
    assert not torch.equal(copies.W[:3], copies.W[3:])
    assert torch.equal(copies.W, dealt(model, times=2).W)
    assert torch.equal(model.W, before)


@pytest.mark.bad_input
def test_only_a_tied_model_can_be_dealt():
    refused(lambda: dealt(AbsoluteValueModel(3, 6, [0])), "model must be tied: one W; got AbsoluteValueModel")
    refused(lambda: dealt(ReLUHiddenModel(3, 2), times=0), "times must be a whole number, 1 or more; got 0")


@pytest.mark.bad_input
def test_a_rate_of_anything_but_yes_and_no_is_refused():
    shares = Layers(np.array([0.5, 1.0, 0.4]), np.arange(3))
    refused(lambda: rate(shares), "value must be True or False for every layer; got 0.5")
