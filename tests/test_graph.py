"""A frozen graph, read and run without TensorFlow: each operation against numpy, worked out by hand."""

from importlib.util import find_spec

import graphs
import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.networks import frozen_graph, images, tensorflow_graph, vision
from toylib.networks.tensorflow_graph import GraphNetwork


def network(*nodes, output="y"):
    """A small graph from its nodes; its input is called `input`."""
    content = b"".join([graphs.node("input", "Placeholder"), *nodes])
    return GraphNetwork(frozen_graph.nodes(content, "small"), output, file="small")


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(module, x):
    """Images (n, height, width, channels), as TensorFlow has them, through a module with channels first."""
    y = module(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous())
    return (y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy()


def windows(side, k, stride):
    """For every output place of SAME along a side: (place, place in the kernel) of what lies inside."""
    n = -(-side // stride)
    before = max((n - 1) * stride + k - side, 0) // 2
    reached = [[(at * stride - before + j, j) for j in range(k)] for at in range(n)]
    return [[(place, j) for place, j in window if 0 <= place < side] for window in reached]


def convolved(x, kernel, stride):
    rows, columns = (windows(side, len(kernel), stride) for side in x.shape[1:3])
    y = np.zeros((len(x), len(rows), len(columns), kernel.shape[3]))
    for i, down in enumerate(rows):
        for j, across in enumerate(columns):
            for r, a in down:
                for c, b in across:
                    y[:, i, j] += x[:, r, c] @ kernel[a, b]
    return y


SIDES = [(8, 8), (7, 9), (4, 5)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_pads_as_tensorflow_does(side, size, stride):
    x, kernel = drawn(2, *side, 3), drawn(size, size, 3, 4, seed=1)
    strides = [1, stride, stride, 1]
    y = network(
        graphs.const("w", kernel), graphs.node("y", "Conv2D", "input", "w", strides=strides, padding="SAME")
    )
    np.testing.assert_allclose(run(y, x), convolved(x, kernel, stride), rtol=1e-4, atol=1e-4)


def test_a_convolution_without_padding_leaves_out_the_edge():
    x, kernel = drawn(1, 6, 5, 2), drawn(3, 3, 2, 4, seed=1)
    asked = dict(strides=[1, 1, 1, 1], padding="VALID")
    y = run(network(graphs.const("w", kernel), graphs.node("y", "Conv2D", "input", "w", **asked)), x)
    np.testing.assert_allclose(y, convolved(x, kernel, 1)[:, 1:-1, 1:-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_largest_of_a_window_counts_no_padding_even_where_all_is_below_zero(side, stride):
    x = -1 - np.abs(drawn(2, *side, 3))
    asked = dict(ksize=[1, 3, 3, 1], strides=[1, stride, stride, 1], padding="SAME")
    module = network(graphs.node("y", "MaxPool", "input", **asked))
    rows, columns = ([[at for at, _ in w] for w in windows(n, 3, stride)] for n in side)
    y = [[x[:, down][:, :, across].max((1, 2)) for across in columns] for down in rows]
    np.testing.assert_array_equal(run(module, x), np.array(y).transpose(2, 0, 1, 3))


@pytest.mark.parametrize("side", [8, 14, 28])
def test_pooling_even_sides_by_two_is_what_others_call_ceil_mode(side):
    x = drawn(1, side, side, 2)
    asked = dict(ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME")
    ceil = torch.nn.MaxPool2d(3, 2, ceil_mode=True)(torch.from_numpy(x).permute(0, 3, 1, 2))
    found = run(network(graphs.node("y", "MaxPool", "input", **asked)), x)
    np.testing.assert_array_equal(found, ceil.permute(0, 2, 3, 1).numpy())


def test_a_mean_is_over_whole_windows():
    x = drawn(1, 8, 8, 2)
    asked = dict(ksize=[1, 5, 5, 1], strides=[1, 3, 3, 1], padding="VALID")
    y = run(network(graphs.node("y", "AvgPool", "input", **asked)), x)
    np.testing.assert_allclose(y[0, 1, 0], x[0, 3:8, 0:5].mean((0, 1)), rtol=1e-5)
    assert y.shape == (1, 2, 2, 2)


def test_a_response_is_divided_by_the_squares_of_the_channels_around_it():
    x, asked = 3 * drawn(1, 2, 2, 14), dict(depth_radius=5, bias=2.0, alpha=0.3, beta=0.5)
    y = run(network(graphs.node("y", "LRN", "input", **asked)), x)
    for d in range(14):
        square = (x[..., max(d - 5, 0) : d + 6] ** 2).sum(-1)
        np.testing.assert_allclose(y[..., d], x[..., d] / np.sqrt(2 + 0.3 * square), rtol=1e-5)


def test_channels_are_joined_in_the_order_of_the_inputs_and_flattened_last():
    x, bias = drawn(2, 2, 3, 2), np.array([1, 2], np.float32)
    module = network(
        graphs.const("b", bias), graphs.const("axis", np.array(3), typed=True),
        graphs.node("plus", "BiasAdd", "input", "b"), graphs.node("on", "Relu", "plus"),
        graphs.node("both", "Concat", "axis", "on", "input"), graphs.const("shape", np.array([-1, 24])),
        graphs.node("y", "Reshape", "both", "shape"),
    )  # fmt: skip
    both = np.concatenate([np.maximum(x + bias, 0), x], 3)
    np.testing.assert_allclose(run(module, x), both.reshape(2, 24), rtol=1e-6)


def test_logits_become_shares():
    x, weights, bias = drawn(3, 1, 1, 4), drawn(4, 5, seed=1), drawn(5, seed=2)
    module = network(
        graphs.const("shape", np.array([-1, 4])), graphs.node("flat", "Reshape", "input", "shape"),
        graphs.const("w", weights), graphs.const("b", bias), graphs.node("same", "Identity", "w"),
        graphs.node("times", "MatMul", "flat", "same", transpose_a=False, transpose_b=False),
        graphs.node("plus", "BiasAdd", "times", "b"), graphs.node("y", "Softmax", "plus"),
    )  # fmt: skip
    power = np.exp(x[:, 0, 0] @ weights + bias)
    np.testing.assert_allclose(run(module, x), power / power.sum(1, keepdims=True), rtol=1e-5)


# --- what is not known -----------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("node", "message"),
    [
        (graphs.node("y", "Relu", "x"), "x is missing"),
        (graphs.node("z", "Relu", "input"), "y is missing"),
        (graphs.node("y", "Tanh", "input"), "y is Tanh, which is not known here"),
        (graphs.node("y", "MaxPool", "input", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1]), "y has no padding"),
        (
            graphs.node("y", "MaxPool", "input", ksize=[1, 3, 3, 2], strides=[1, 2, 2, 1], padding="SAME"),
            "y has ksize [1, 3, 3, 2]",
        ),
        (
            graphs.node("y", "AvgPool", "input", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME"),
            "y has a mean with padding",
        ),
        (
            graphs.node("y", "Conv2D", "input", "input", strides=[1, 1, 1, 1], padding="SAME"),
            "y reads no constant",
        ),
        (
            graphs.node("y", "Conv2D", "input", "w", strides=[1, 1, 1, 1], padding="FULL"),
            "y has padding 'FULL'; w is missing",
        ),
        (graphs.node("y", "Relu", "input", data_format="NCHW"), "y has data_format 'NCHW'"),
        (graphs.node("y", "Const"), "y holds numbers of a type that is not known here"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_named(node, message):
    refused(lambda: network(node), f"graph must hold nodes that are known here; got 'small', where {message}")


@pytest.mark.bad_input
def test_a_graph_cut_short_is_named():
    content = graphs.const("w", drawn(3, 3, 2, 2))
    start = "path must be a frozen graph; got 'cut' ("
    for cut in (content[:-3], content[:1], b"", b"no graph"):
        refused(lambda cut=cut: frozen_graph.nodes(cut, "cut"), start)


def test_attributes_are_read_as_they_were_written():
    asked = dict(i=-3, f=0.5, s="SAME", yes=True, sizes=[1, -2, 300], kind=graphs.Type(1), shape=None)
    (node,) = frozen_graph.nodes(graphs.node("n", "Op", "a", "b", **asked), "small")
    assert (node.name, node.op, node.inputs) == ("n", "Op", ["a", "b"])
    assert node.attributes == {"i": -3, "f": 0.5, "s": "SAME", "yes": 1, "sizes": [1, -2, 300]}


# --- a real graph ----------------------------------------------------------------------------------------


def _channels(y):
    """A constant by channel, so that it meets an image's."""
    return y[:, None, None] if y.ndim == 1 else y


@pytest.mark.slow
def test_mobilenets_own_graph_computes_what_the_network_written_in_torch_does(monkeypatch):
    if find_spec("nudity") is None:
        pytest.skip("nudity is not installed")

    def depthwise(node, x, kernel):
        kernel, strides = kernel.permute(2, 3, 0, 1), node.attributes["strides"][1:3]
        x = tensorflow_graph.pad_same(x, kernel.shape[2:], strides)
        return torch.nn.functional.conv2d(x, kernel, stride=strides, groups=len(kernel))

    beyond = {
        "Mul": lambda node, x, y: x * _channels(y) if x.ndim == 4 else x * y,
        "Add": lambda node, x, y: x + _channels(y) if x.ndim == 4 else x + y,
        "Sub": lambda node, x, y: x - y,
        "Rsqrt": lambda node, x: x.rsqrt(),
        "Relu6": lambda node, x: x.clamp(0, 6),
        "DepthwiseConv2dNative": depthwise,
        "Squeeze": lambda node, x: x[:, :, 0, 0],
    }
    monkeypatch.setattr(tensorflow_graph, "OPERATIONS", tensorflow_graph.OPERATIONS | beyond)
    path = images._folder("nudity") / "files" / "retrained_graph.pb"
    nodes = frozen_graph.nodes(path.read_bytes(), path.name)
    graph = GraphNetwork(nodes, "MobilenetV1/Logits/SpatialSqueeze", file=path.name)
    mobilenet, (pixels, labels) = vision.load_vision(vision.MOBILENET), images.photographs()
    with torch.no_grad():
        x = mobilenet.normalise(pixels)
        found, written = graph(x), mobilenet.module(x)
    torch.testing.assert_close(found, written, rtol=1e-3, atol=1e-3)
    assert ((found.argmax(1).numpy() - 1) == labels).sum() == 16
