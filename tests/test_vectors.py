"""Vectors of real networks: they are the ones that the networks use."""

import numpy as np
import pytest
import torch

from toylib.networks import vectors, vision
from toylib.networks.loading import NotInstalled
from toylib.networks.readers import READERS, load_reader

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=READERS)
def reader(request):
    try:
        return load_reader(request.param)
    except NotInstalled as error:
        pytest.skip(str(error))


def stream(reader, token):
    return reader.begin(torch.tensor([[token]]))[0, 0]


def test_a_token_that_is_given_another_s_vector_enters_as_the_other_does(reader):
    a, b = (reader.encode(word)[0] for word in (" bread", " stone"))
    own = vectors.token_vectors(reader)  # the reader's memory
    before, kept = stream(reader, a), own[a].copy()
    assert not torch.allclose(before, stream(reader, b))
    own[a] = own[b]
    same = torch.equal(stream(reader, a), stream(reader, b))
    own[a] = kept
    assert same
    assert torch.equal(stream(reader, a), before)


def test_what_neurons_write_makes_the_layer_s_output_with_their_activity(reader, monkeypatch):
    if reader.name == "MiniLM":  # without the norm that follows
        norm, last = reader._norm, "encoder.layer.0.output.LayerNorm"
        monkeypatch.setattr(reader, "_norm", lambda name, x: x if name == last else norm(name, x))
    written = vectors.written(reader)
    shapes = {own.shape for own in written}
    assert (len(written), shapes) == (reader.n_layers, {(reader.d_mlp, stream(reader, 5).shape[0])})
    tokens = torch.tensor([[*reader.start, *reader.encode(" bread and"), *reader.end]])
    with torch.no_grad():
        x = reader.begin(tokens)
        out, neurons = reader.step(0, x)
        kept = written[0].copy()
        written[0][:] = 0  # the reader's memory: what is left is the attention's
        silent, _ = reader.step(0, x)
        written[0][:] = kept
    moved = (out - silent)[0].numpy()
    expected = neurons[0].numpy() @ kept
    np.testing.assert_allclose(moved, expected, atol=1e-3 * np.abs(expected).max())


def test_a_decoder_s_scores_are_products_with_its_output_vectors(reader):
    if reader.name not in vectors.READ_BY:
        with pytest.raises(ValueError, match="reader must be one that scores tokens"):
            vectors.output_vectors(reader)
        return
    own = vectors.output_vectors(reader)
    x = reader.begin(torch.tensor([[*reader.start, *reader.encode(" bread and")]]))
    with torch.no_grad():
        for layer in range(reader.n_layers):
            x, _ = reader.step(layer, x)
        last = x[0, -1].double().numpy()
        if reader.name == "SmolLM2":
            tokens = torch.tensor([[*reader.start, *reader.encode(" bread and")]])
            scores = reader.model.logits(tokens)[0, -1].numpy()
            products = own @ (last / np.sqrt(np.mean(last**2)))
        else:
            scores = reader.logits(reader.encode(" bread and"))[-1].numpy()
            bias = reader.weights["decoder/layer_norm/beta"].numpy()
            products = own @ ((last - last.mean()) / last.std()) + vectors.token_vectors(reader) @ bias
    np.testing.assert_allclose(products, scores, atol=0.01)


@pytest.mark.parametrize("name", vision.PACKAGED)
def test_class_vectors_differ_as_the_scores_do(name):
    try:
        network = vision.load_vision(name)
    except NotInstalled as error:
        pytest.skip(str(error))
    own = vectors.class_vectors(network)
    assert own.shape == ((1001, 1024) if name == vision.MOBILENET else (1000, 1280))
    read = {}
    part = "logits" if name == vision.MOBILENET else "_fc"
    handle = dict(network.module.named_modules())[part].register_forward_pre_hook(
        lambda _, inputs: read.update(x=inputs[0].flatten().numpy())
    )
    with torch.no_grad():
        scores = network.module(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))[0]
    handle.remove()
    bias = dict(network.module.named_modules())[part].bias.detach().numpy()
    np.testing.assert_allclose(own @ read["x"] + bias, scores.numpy(), atol=1e-3)


@pytest.mark.parametrize("name", vision.PACKAGED)
def test_first_vectors_read_patches_of_three_by_three_pixels(name):
    try:
        network = vision.load_vision(name)
    except NotInstalled as error:
        pytest.skip(str(error))
    own = vectors.first_vectors(network)
    assert own.shape[1] == 27
    assert 2 < len(own) <= 32
    assert np.abs(own).max(1).min() > 0
