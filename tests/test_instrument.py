"""Instruments that read features per neuron, on neurons whose features were put in by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input import refused, script_refused, table

from toylib.studies import instrument, planted
from toylib.studies.recovery import SparseAutoencoder, mean_max_matching

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)


def sparse(n_stimuli=4000, n=12, density=0.1):
    """Codes of independent features of equal variance, about."""
    rng = np.random.default_rng(1)
    return rng.random((n_stimuli, n)) * (rng.random((n_stimuli, n)) < density)


# --- readings ----------------------------------------------------------------------------------------------


def test_a_sum_of_k_equal_features_reads_k_by_its_activity():
    codes = sparse()
    scaled = codes / codes.std(0)
    activity = np.stack([scaled[:, 0], scaled[:, :3].sum(1), scaled[:, 4:12].sum(1)], 1)
    np.testing.assert_allclose(instrument.by_activity(activity, codes), [1, 3, 8], atol=0.01)


def test_the_reading_does_not_depend_on_how_large_codes_and_neurons_are():
    codes = sparse()
    activity = np.maximum(codes @ RNG.random((12, 5)) - 0.1, 0)
    plain = instrument.by_activity(activity, codes)
    rescaled = instrument.by_activity(7 * activity + 3, codes * RNG.uniform(0.1, 10, 12))
    np.testing.assert_allclose(plain, rescaled, rtol=1e-3)


def test_an_atom_that_is_never_used_and_one_that_stands_twice_do_no_harm():
    codes = sparse()
    activity = codes[:, :2] / codes[:, :2].std(0)
    activity = activity.sum(1, keepdims=True)
    with_others = np.concatenate([codes, np.zeros((len(codes), 1)), codes[:, 5:6]], 1)
    assert instrument.by_activity(activity, with_others) == pytest.approx(2, abs=0.01)


def test_what_a_neuron_is_driven_down_by_is_no_feature_of_it():
    codes = sparse()
    activity = (codes[:, 0] - codes[:, 1])[:, None]
    assert instrument.by_activity(activity, codes) == pytest.approx(1, abs=0.02)
    assert instrument.by_weights(np.array([[1.0, -1.0]]), np.eye(2), codes[:, :2]) == pytest.approx(1)


def test_a_silent_neuron_has_no_reading():
    codes = sparse()
    assert np.isnan(instrument.by_activity(np.zeros((len(codes), 1)), codes)).all()
    assert np.isnan(instrument.by_activity(codes[:, :1], np.ones_like(codes))).all()
    assert np.isnan(instrument.by_weights(np.array([[-1.0, 0.0]]), np.eye(2), codes[:, :2])).all()


def test_weights_on_k_atoms_of_equal_variance_read_k():
    codes = np.tile(np.eye(6), (5, 1))
    turn = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
    weights = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1.0]]) @ turn.T
    np.testing.assert_allclose(instrument.by_weights(weights, turn, codes), [1, 3, 6])
    # twice the codes of the first atom: shares 4, 1, 1 of 6
    codes[:, 0] *= 2
    assert instrument.by_weights(weights, turn, codes)[1] == pytest.approx(36 / 18)


def test_the_own_layer_s_reading_counts_the_atoms_that_a_neuron_is_in():
    atoms = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.6, 0.0, -0.8]]).T  # columns: three atoms
    codes = np.tile(np.eye(3), (5, 1))
    found = instrument.by_own_layer(atoms, codes)
    # neuron 0: squares 1, .36, .36; neuron 2 is in the last atom with the wrong sign alone
    np.testing.assert_allclose(found[:2], [1.72**2 / (1 + 2 * 0.36**2), 1])
    assert np.isnan(found[2])


# --- dictionaries ------------------------------------------------------------------------------------------


def test_a_dictionary_finds_the_directions_that_states_are_sums_of():
    world = planted.World(3, n_features=30, width=40, density=0.05, background=0.0)
    x = world.stimuli(3000)
    truth = RNG.standard_normal((30, 40))
    states = x @ truth
    learned = instrument.learn_dictionary(states, n_atoms=40, top=3)
    assert mean_max_matching(truth.T, learned.atoms) > 0.9
    assert learned.lost(states) < 0.1
    assert (np.count_nonzero(learned.codes(states), axis=1) <= 3).all()
    np.testing.assert_allclose(np.linalg.norm(learned.atoms, axis=0), 1, atol=1e-5)
    assert learned.codes(1e-3 * states).max() < learned.codes(states).max() / 100  # in the states' units


def test_only_the_largest_entries_are_kept_and_without_a_limit_all_are():
    limited, free = SparseAutoencoder(4, 6, [0], top=2), SparseAutoencoder(4, 6, [0])
    h = torch.randn(1, 50, 4, generator=torch.Generator().manual_seed(0))
    kept, every = limited.encode(h), free.encode(h)
    assert (torch.count_nonzero(kept, dim=2) <= 2).all()
    assert torch.equal(kept.amax(2), every.amax(2))
    assert torch.equal(kept[kept > 0], every[kept > 0])


def test_a_dictionary_depends_on_its_seed_alone():
    states = sparse(500) @ RNG.standard_normal((12, 8))
    one, same, other = (
        instrument.learn_dictionary(states, n_atoms=10, top=2, n_steps=20, seed=s).atoms for s in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_planted_sums_add_as_many_neurons_as_they_say():
    sums = instrument.planted_sums(9, 4, n_sums=30)
    assert sums.shape == (9, 30)
    assert (sums.sum(0) == 4).all()
    assert set(sums.ravel()) == {0, 1}
    assert (sums.sum(1) > 0).all()


# --- correlations ------------------------------------------------------------------------------------------


def test_what_comes_from_the_third_variable_alone_is_taken_out():
    third = RNG.standard_normal(4000)
    x, y = (third + 0.5 * RNG.standard_normal(4000) for _ in range(2))
    assert np.corrcoef(x, y)[0, 1] > 0.7
    assert abs(instrument.partial_spearman(x, y, third)) < 5 / 4000**0.5 + 0.02
    assert instrument.partial_spearman(x, y, RNG.standard_normal(4000)) > 0.7


def test_a_function_of_the_third_variable_has_nothing_left():
    third = RNG.standard_normal(50)
    assert instrument.partial_spearman(np.exp(third), RNG.standard_normal(50), third) == 0
    assert instrument.partial_spearman(np.ones(50), RNG.standard_normal(50), third) == 0
    x = RNG.standard_normal(50)
    assert instrument.partial_spearman(x, 2 * x, np.ones(50)) == pytest.approx(1)


# --- worlds ------------------------------------------------------------------------------------------------


def test_stimuli_have_features_as_often_and_as_strongly_as_they_should():
    world = planted.World(0, background=0.0)
    x = world.stimuli(20_000)
    error = 5 * (0.02 * 0.98 / x.size) ** 0.5
    assert abs((x > 0).mean() - 0.02) < error
    assert x.min() == 0
    assert abs(x[x > 0].mean() - 0.5) < 5 / (12 * (x > 0).sum()) ** 0.5
    assert planted.World(0, signed=True).stimuli(100).min() < -0.3


def test_a_label_s_stimuli_have_its_own_features():
    world = planted.World(0, background=0.0)
    x, label = world.labelled()
    assert x.shape == (335, 100)
    assert len(np.unique(label)) == 40
    most = np.stack([(x[label == k] > 0).mean(0) for k in range(40)])
    assert (np.sort(most, axis=1)[:, -4:].mean(1) > 0.4).all()  # its four, of .6, against .02


def test_what_the_other_network_lacks_does_not_move_it():
    world = planted.World(0, lacking=0.4)
    moves = world.other(np.eye(100)).any(1)
    assert moves.sum() == 60
    assert world.below(np.eye(100)).any(1).all()


def test_weights_on_the_layer_below_give_the_features_back():
    world = planted.World(0, background=0.0)
    W = planted.plant(world, 20, 1, 4, seed=0).W
    x = world.stimuli(2000, draw=5)
    wanted, got = x @ W.T, world.below(x) @ world.read(W).T
    assert ((got - wanted) ** 2).mean() < 0.2 * wanted.var()


def test_planted_neurons_answer_the_features_they_were_given():
    world = planted.World(0)
    layer = planted.plant(world, 200, 2, 8, seed=0)
    count = np.count_nonzero(layer.W, axis=1)
    assert (count.min(), count.max()) == (2, 8)
    assert (layer.truth <= count + 1e-9).all()
    assert (layer.truth >= 1).all()
    assert (layer.threshold <= 0.6 * layer.W.max(1) + 1e-12).all()


def test_the_truth_is_what_is_answered_above_the_threshold():
    W = np.array([[1.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    found = planted.features_answered(W, np.array([0.5, 0.2, -0.3]))
    np.testing.assert_allclose(found, [2, 1, 2])


def test_how_often_a_matched_neuron_is_driven_says_less_about_its_features():
    world, rho = planted.World(0), {}
    x = world.stimuli(5000)
    for matched in (True, False):
        layer = planted.plant(world, 200, 1, 16, seed=0, matched=matched)
        active = (layer.activity(x) > 0).mean(0)
        rho[matched] = instrument.partial_spearman(active, layer.truth, np.ones(200))
    assert rho[True] < 0.4 < 0.7 < rho[False]


# --- the record --------------------------------------------------------------------------------------------


def test_the_record_holds_every_part_and_is_small():
    path = ROOT / "book" / "data" / "instrument.json"
    assert path.stat().st_size < 250_000
    stored = json.loads(path.read_text(encoding="utf-8"))
    n_worlds = len(stored["worlds"])
    assert len(stored["labelled"]) == n_worlds
    script = pytest.importorskip("instrument")  # of the tests' folder
    assert [part["setting"] for part in stored["planted"]] == [s for s, _ in script.settings()]
    for part, (_, worlds) in zip(stored["planted"], script.settings(), strict=True):
        assert len(part["worlds"]) == len(worlds)
    assert stored["seconds"] < 900


@pytest.mark.slow
@pytest.mark.bad_input
def test_the_script_names_a_page_that_it_cannot_write_before_any_work():
    there = "--page must lie in a folder that is there; got /nowhere/x.json"
    script_refused("instrument.py", "--page", "/nowhere/x.json", message=there)


@pytest.mark.bad_input
def test_states_of_another_width_are_refused():
    learned = instrument.learn_dictionary(sparse(50), n_atoms=4, top=1, n_steps=1)
    refused(lambda: learned.codes(np.ones((3, 5))), "states must have 12 columns; got 5")


EYE = np.eye(3)
test_bad_input = table(
    [
        (lambda: instrument.learn_dictionary(np.zeros((5, 3))), "states must hold one that is not 0"),
        (lambda: instrument.learn_dictionary(EYE, n_atoms=1), "n_atoms must be a whole number, 2 or more"),
        (lambda: instrument.learn_dictionary(EYE, n_atoms=4, top=5), re.compile("top must be .*; got 5")),
        (lambda: instrument.learn_dictionary(np.full((3, 2), np.nan)), "states must be finite"),
        (lambda: instrument.by_activity(EYE, EYE[:2]), "activity and codes must be of the same stimuli"),
        (lambda: instrument.by_weights(EYE, np.ones((2, 3)), EYE), "weights, atoms and codes must be"),
        (lambda: instrument.by_own_layer(EYE, EYE[:, :2]), "atoms and codes must have the same atoms"),
        (lambda: instrument.planted_sums(3, 4), re.compile("n_added must be .*; got 4")),
        (lambda: instrument.partial_spearman([1, 2], [1, 2], [1, 2]), "x, y and given must be equally"),
        (lambda: planted.World(0, lacking=1.0), re.compile("lacking must be .*; got 1.0")),
        (lambda: planted.World(0, density=0), re.compile("density must be .*; got 0")),
        (lambda: planted.World(0).labelled(10, 1), re.compile("n_labels must be .*; got 1")),
        (lambda: planted.plant(planted.World(0), 5, 3, 2, seed=0), re.compile("high must be .*; got 2")),
        (lambda: planted.plant(planted.World(0), 5, 3, 200, seed=0), "low must be at most high, and high"),
        (lambda: SparseAutoencoder(3, 4, top=5), re.compile("top must be .*; got 5")),
    ]
)
