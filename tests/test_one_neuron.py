"""What neurons answer to, and what is said otherwise without them: worked out by hand, and the records."""

import json
import re
from pathlib import Path

import numpy as np
import one_neuron as script
import pytest
import torch
from bad_input import refused, script_refused
from torch.nn.functional import linear

from toylib.networks import ablation, answers, vision
from toylib.networks.readers import OPT_IN, READERS, load_reader

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "book" / "data"


# --- detectors ---------------------------------------------------------------------------------------------


def text(seed=0, n=8000, n_tokens=400):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_tokens, n), rng.integers(0, 2, n), np.arange(n) % 2 == 0


def test_a_neuron_of_three_tokens_is_held_by_few_and_a_table_of_all_and_noise_are_not():
    token, _, half = text()
    rng = np.random.default_rng(1)
    three = np.isin(token, [3, 5, 8]) * 1.0
    table = rng.normal(size=400)[token]
    held = answers.held_by_few(np.stack([three, table, rng.normal(size=len(token))], 1), token, half)
    assert held[0] > 0.98  # its mean, .0075, is lost at the other positions
    assert 5 / 400 < held[1] < 0.15
    assert held[2] < 0.03


def test_a_neuron_of_a_pair_is_held_by_pairs():
    token, before, half = text()
    pair = ((token == 3) & (before == 1)) * 1.0
    shown = np.stack([before, token], 1)
    assert answers.held_by_few(pair[:, None], shown, half, n_few=1)[0] > 0.98
    both = ((token == 3) | (token == 5)) * 1.0
    one = answers.held_by_few(both[:, None], token, half, n_few=1)[0]
    assert one == pytest.approx(0.5, abs=0.1)  # one of two tokens


def test_what_is_strong_in_one_half_alone_is_not_held():
    token, _, half = text()
    once = np.zeros((len(token), 1))
    once[np.flatnonzero(half)[:1]] = 1  # a single position: nothing of it is in the other half
    assert answers.held_by_few(once, token, half, n_few=1)[0] < 0.6


def test_a_neuron_that_never_comes_to_a_hundredth_is_dead():
    activity = np.array(
        [[1.0, -2.0, 0.005, 0.0, 0.02], [0.5, 0.1, -0.009, 0.0, 0.0], [0.9, 1.0, 0.0, 0, 0.0]]
    )
    most_in_the_median = 0.02  # of 1, 2, .009, 0 and .02
    assert answers.dead(activity).tolist() == [False, False, False, True, False]
    assert answers.dead(activity, below=0.5).tolist() == [False, False, True, True, False]
    assert np.median(np.abs(activity).max(0)) == most_in_the_median


# --- one language or another -------------------------------------------------------------------------------


def test_a_text_is_told_apart_by_the_means_of_the_others():
    activity, labels = np.array([[0.0], [1], [10], [0.4]]), np.array([3, 3, 5, 5])
    # at 10 the means of the others are 0.5 and 0.4, at 0.4 they are 0.5 and 10
    assert answers.told_apart(activity, labels).tolist() == [True, True, False, False]
    noise = np.random.default_rng(0).normal(size=(40, 6))
    clear = noise + 4 * np.eye(6)[np.arange(40) % 2]
    assert answers.told_apart(clear, np.arange(40) % 2).all()
    scaled = answers.told_apart(clear * [1, 1, 1e3, 1e3, 1e3, 1e3], np.arange(40) % 2)
    assert scaled.all()  # every entry counts alike, however large its numbers


def test_what_is_gained_and_lost_is_split_as_a_coin_would():
    before = np.array([True] * 5 + [False] * 5)
    after = np.array([True] * 4 + [False] + [True] * 4 + [False])
    gained, lost, p = answers.gained_and_lost(before, after)
    assert (gained, lost) == (4, 1)
    assert p == pytest.approx(12 / 32)  # five flips: 4 or 5 heads, 0 or 1
    assert answers.gained_and_lost(before, before) == (0, 0, 1.0)


# --- words of two languages --------------------------------------------------------------------------------


def spelled(of_word, of_meaning, of_language, n_words=40, n_neurons=500):
    rng = np.random.default_rng(0)
    words, others, substitutes = rng.normal(size=(3, n_words, n_neurons))
    meanings, english = rng.normal(size=(2, n_words, n_neurons))
    language = rng.normal(size=n_neurons)
    a = 0.1 * rng.normal(size=(n_words, 4, 2, n_neurons))
    for k, (word, meaning, side) in enumerate(
        [(words, meanings, 1), (words, english, -1), (substitutes, english, -1), (others, meanings, -1)]
    ):
        a[:, k] += (of_word * word + of_meaning * meaning + of_language * side * language)[:, None]
    return answers.by_spelling(a).mean(0)


def test_likeness_follows_the_spelling_the_meaning_or_neither_and_language_is_in_all_three_alike():
    np.testing.assert_allclose(spelled(1, 0, 0), [0.99, 0, 0, 0], atol=0.06)
    np.testing.assert_allclose(spelled(0, 1, 0), [0, 0.99, 0, 0], atol=0.06)
    alike = spelled(1, 0, 3)
    assert alike[1] == pytest.approx(alike[2], abs=0.03)
    assert alike[3] == pytest.approx(alike[2], abs=0.03)
    assert alike[1] < -0.5
    assert alike[0] - alike[2] > 0.05


def test_the_words_are_as_their_note_says():
    words = json.loads((DATA / "spelled_alike.json").read_text(encoding="utf-8"))["words"]
    assert len({entry["word"] for entry in words}) == len(words) >= 20
    assert {entry["language"] for entry in words} == {"French", "Spanish", "German", "Dutch"}
    contexts = [c for entry in words for part in ("other", "translated", "english") for c in entry[part]]
    assert len(set(contexts)) == len(contexts) == 6 * len(words)
    for entry in words:
        endings = {entry["word"], entry["translation"], entry["substitute"]}
        assert len(endings) == 3, entry
        for context in (c for part in ("other", "translated", "english") for c in entry[part]):
            assert not endings & set(re.findall(r"\w+", context.lower())), context
            assert context == context.strip()


# --- units -------------------------------------------------------------------------------------------------


def test_units_are_of_neurons_that_vary_about_as_much_and_directions_of_their_groups():
    variance = np.random.default_rng(0).permutation(np.arange(1.0, 401))
    found = ablation.units(variance, n_groups=5, size=8)
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-5)
    for neuron, direction in zip(found.neurons, found.directions, strict=True):
        inside = np.flatnonzero(direction)
        assert len(inside) == 8
        assert neuron.argmax() in inside
        assert np.ptp(variance[inside]) == 7
        assert variance[inside].min() > 200
    again = ablation.units(variance, n_groups=5, size=8, seed=1)
    assert (again.neurons == found.neurons).all()
    assert not np.allclose(again.directions, found.directions)


def test_spread_is_a_share():
    np.testing.assert_allclose(ablation.spread(np.array([[2.0, 2, 2, 2], [0, 0, 5, 0]])), [1, 0.25])


# --- readers -----------------------------------------------------------------------------------------------

MAPS = {"MiniLM": "encoder.layer.1.output.dense", "Whisper": "decoder/layer_1/ffn/linear_1"}


@pytest.mark.parametrize("name", MAPS)
def test_a_unit_that_is_taken_out_stays_at_its_mean(name, monkeypatch):
    """Against a pass in which the neurons themselves are changed, where the next map reads them."""
    reader = load_reader(name)
    tokens = torch.tensor([[900, 1200, 3000], [2000, 1200, 1500]])
    unit = torch.randn(reader.d_mlp, generator=torch.Generator().manual_seed(0))
    unit /= unit.norm()
    (moved,) = ablation.changes(reader, tokens, 1, lambda variance: unit[None].numpy())
    passes, map_of = {}, type(reader)._map
    own = slice(len(reader.start), len(reader.start) + 3)
    ends = (torch.tensor([part] * 2) for part in (reader.start, reader.end))
    start, end = (part.long().reshape(2, -1) for part in ends)

    def run(change):
        def mapped(self, path, x):
            return map_of(self, path, change(x) if path == MAPS[name] else x)

        monkeypatch.setattr(type(reader), "_map", mapped)
        x = reader.begin(torch.cat([start, tokens, end], 1))
        for layer in range(reader.n_layers):
            x, passes[layer] = reader.step(layer, x)
        return x[:, own]

    before = run(lambda x: x)
    mean = (passes[1][:, own] @ unit).mean()
    after = run(lambda x: x - ((x @ unit) - mean)[..., None] * unit)
    if name == "MiniLM":
        expected = (after - before).square().sum(-1)
        np.testing.assert_allclose(moved, expected, rtol=0.01)
    else:
        scores = [linear(reader._norm("decoder", x), reader.weights["decoder/projection/weight"])
                  for x in (before, after)]  # fmt: skip
        old, new = (s.double().log_softmax(-1) for s in scores)
        divergence = (old.exp() * (old - new)).sum(-1)
        np.testing.assert_allclose(moved, divergence, rtol=0.2)  # to second order


def test_smollm2_without_a_unit_says_what_its_weights_without_the_unit_say():
    reader = load_reader("SmolLM2")
    unit = torch.zeros(reader.d_mlp)
    unit[7] = 1
    taken = ablation.without(reader, 2, unit, 0.3)
    x = reader.begin(torch.tensor([[5, 90, 800]]))
    (before, neurons), (after, same) = reader.step(2, x), taken.step(2, x)
    assert torch.equal(neurons, same)  # it is what they write that changes
    written = reader.weights["blk.2.ffn_down.weight"][:, 7]
    np.testing.assert_allclose(after - before, (0.3 - neurons[..., 7:8]) * written, atol=1e-5)


# --- vision ------------------------------------------------------------------------------------------------


def test_a_channel_that_is_taken_out_changes_scores_as_when_it_is_set_to_its_mean():
    network = vision.load_vision(vision.MOBILENET, pretrained=False)
    pixels = torch.randint(0, 255, (4, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    vision.calibrate(network, pixels)
    path, unit = "Conv2d_10_depthwise", np.eye(512)[[3]]
    (moved,) = ablation.class_changes(network, pixels, path, lambda variance: unit, batch_size=3)
    module, means = dict(network.module.named_modules())[path], []

    def fix(_module, inputs):
        x = inputs[0].clone()
        means.append(x[:, 3].mean())
        x[:, 3] = means[0]
        return x

    with torch.no_grad():
        plain = network.module(network.normalise(pixels))
        module.register_forward_pre_hook(fix)
        changed = network.module(network.normalise(pixels)) - plain
    changed -= changed.mean(1, keepdim=True)
    np.testing.assert_allclose(moved, changed.square(), rtol=0.02, atol=1e-7)
    assert moved.shape == (4, 1001)
    assert moved.max() > 1e-5


# --- the records -------------------------------------------------------------------------------------------


def test_the_records_hold_every_layer_and_unit_and_are_small():
    path = DATA / "one_neuron_words.json"
    assert path.stat().st_size < 100_000
    record = json.loads(path.read_text(encoding="utf-8"))
    assert tuple(record["networks"]) == READERS
    assert record.get("opt_in", {}).keys() <= OPT_IN.keys()
    for name, one in (record["networks"] | record.get("opt_in", {})).items():
        assert one["taken layers"] == script.TAKEN[name]
        for weights in script.WEIGHTS:
            own = one[weights]
            assert len(own["spelled"]) == len(one["layers"])
            assert len(own["counts"]) == (len(one["layers"]) if weights == "trained" else 2)
            assert np.shape(own["spelled"])[1:] == (21, 4)
            for taken in own["taken"]:
                assert np.shape(taken["neurons"]) == np.shape(taken["directions"]) == (3, 16)
    path = DATA / "one_neuron_pictures.json"
    assert path.stat().st_size < 100_000
    for name, one in json.loads(path.read_text(encoding="utf-8"))["networks"].items():
        assert one["names"] == list(script.SEEN[name])
        for weights in ("trained", "untrained"):
            assert {np.shape(layer["neurons"]) for layer in one[weights]} == {(2, script.N_GROUPS)}


def test_what_reads_the_layers_that_are_looked_at_is_there():
    for name, layers in script.SEEN.items():
        modules = dict(vision.load_vision(name, pretrained=False).module.named_modules())
        for path, reads in layers.items():
            assert modules[path].out_channels == modules[f"{reads}.conv"].in_channels


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.bad_input
def test_the_script_names_a_page_that_it_cannot_write_before_any_work():
    there = "--page must lie in a folder that is there; got /nowhere/x.json"
    script_refused("one_neuron.py", "words", "--page", "/nowhere/x.json", message=there)


@pytest.mark.bad_input
def test_what_does_not_fit_is_named():
    x, index, half = np.zeros((4, 2)), np.zeros(4, int), np.array([True, True, False, False])
    refused(
        lambda: answers.held_by_few(x, index[:3], half),
        "activity must be (n_positions, n_neurons), shown and half as long, not empty; got (4, 2), 3 and 4",
    )
    refused(lambda: answers.held_by_few(x, index, half | True), "half must be True of some positions and")
    refused(lambda: answers.held_by_few(x, index, half, n_few=0), "n_few must be a whole number")
    refused(lambda: answers.dead(x[0]), "activity must be (n_positions, n_neurons), not empty; got (2,)")
    refused(
        lambda: answers.by_spelling(np.zeros((1, 4, 2, 3))),
        "activity must be (n_words, 4, 2, n_neurons) of two words or more; got (1, 4, 2, 3)",
    )
    refused(
        lambda: answers.told_apart(x, index[:3]),
        "activity must be (n_texts, width), and labels as long; got (4, 2) and 3",
    )
    refused(
        lambda: answers.told_apart(x, np.arange(4)), "labels must each be there twice or more; got array([0"
    )
    refused(
        lambda: answers.gained_and_lost(half, half[1:]),
        "before and after must be of the same texts; got (4,) and (3,)",
    )
    refused(
        lambda: ablation.units(np.ones(100), n_groups=4, size=16),
        "variance must be of twice as many neurons as the groups hold; got (100,)",
    )
    network = vision.load_vision(vision.MOBILENET, pretrained=False)
    with pytest.raises(ValueError, match="path must name a module of mobilenet-v1; got 'nowhere'"):
        next(ablation.class_changes(network, torch.zeros(1, 32, 32, 3), "nowhere", lambda variance: variance))
