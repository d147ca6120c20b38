"""Frozen graphs in TensorFlow's own binary form, for the tests; InceptionV1's with random constants."""

import struct

import numpy as np

# a block's widths: 1x1, 3x3 bottleneck, 3x3, 5x5 bottleneck, 5x5, and behind the pool
WIDTHS = {
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
POOLS = {"mixed4a": "maxpool4", "mixed5a": "maxpool10"}  # before these blocks, two places to one
N_CLASSES = 1008


def varint(value):
    value &= (1 << 64) - 1
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def field(number, value):
    """A field of a protobuf message: whole, a float, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(values, *, typed=False):
    """A TensorProto of float32 or int32, its content as bytes, or one by one."""
    kind, stored = (1, "<f4") if values.dtype.kind == "f" else (3, "<i4")
    sides = b"".join(field(2, field(1, side)) for side in values.shape)
    head = field(1, kind) + field(2, sides)
    if typed:
        return head + field(7, b"".join(varint(int(value)) for value in values.ravel()))
    return head + field(4, values.astype(stored).tobytes())


class Type(int):
    """A number that stands for a type: 1 for float32, 3 for int32."""


FLOAT = {"T": Type(1)}
DEVICE = field(4, b"/cpu:0")


def attribute(value):
    """An AttrValue: a text, truth, type, whole number, float, list of whole numbers, shape or tensor."""
    if value is None:
        return field(7, b"")
    if isinstance(value, Type):
        return field(6, int(value))
    if isinstance(value, str):
        return field(2, value.encode())
    if isinstance(value, bool):
        return field(5, int(value))
    if isinstance(value, int):
        return field(3, value)
    if isinstance(value, float):
        return field(4, value)
    if isinstance(value, list):
        return field(1, field(3, b"".join(varint(each) for each in value)))
    return field(8, value if isinstance(value, bytes) else tensor(value))


def node(name, op, *inputs, **attributes):
    """A NodeDef, as a field of its graph."""
    text = [field(1, name.encode()), field(2, op.encode()), *(field(3, each.encode()) for each in inputs)]
    entries = [field(5, field(1, k.encode()) + field(2, attribute(v))) for k, v in attributes.items()]
    return field(1, b"".join([*text, DEVICE, *entries]))


def const(name, values, **options):
    kind = Type(1 if values.dtype.kind == "f" else 3)
    return node(name, "Const", dtype=kind, value=tensor(values, **options))


class Builder:
    """A graph in the making: constants of given shapes are drawn, and nodes go by their names."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes = [node("input", "Placeholder", dtype=Type(1), shape=None)]

    def weights(self, name, *shape):
        scale = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.01
        values = self.rng.standard_normal(shape, np.float32) * np.float32(scale)
        self.nodes.append(const(name, values))

    def unit(self, name, read, size, d_in, d_out, *, stride=1, padding="SAME"):
        """A convolution, its bias, and what is above 0."""
        self.weights(f"{name}_w", size, size, d_in, d_out)
        self.weights(f"{name}_b", d_out)
        asked = FLOAT | dict(padding=padding, strides=[1, stride, stride, 1], use_cudnn_on_gpu=True)
        self.nodes += [
            node(f"{name}_pre_relu/conv", "Conv2D", read, f"{name}_w", **asked),
            node(f"{name}_pre_relu", "BiasAdd", f"{name}_pre_relu/conv", f"{name}_b", **FLOAT),
            node(name, "Relu", f"{name}_pre_relu", **FLOAT),
        ]

    def pool(self, name, read, *, stride=2):
        sizes = dict(ksize=[1, 3, 3, 1], strides=[1, stride, stride, 1], padding="SAME")
        self.nodes.append(node(name, "MaxPool", read, **sizes))

    def normalise(self, name, read):
        asked = dict(depth_radius=5, bias=2.0, alpha=1e-4, beta=0.5)
        self.nodes.append(node(name, "LRN", read, **asked))

    def block(self, name, read, d_in):
        """Four branches, joined; returns how many channels that makes."""
        one, three_in, three, five_in, five, pooled = WIDTHS[name]
        self.unit(f"{name}_1x1", read, 1, d_in, one)
        self.unit(f"{name}_3x3_bottleneck", read, 1, d_in, three_in)
        self.unit(f"{name}_3x3", f"{name}_3x3_bottleneck", 3, three_in, three)
        self.unit(f"{name}_5x5_bottleneck", read, 1, d_in, five_in)
        self.unit(f"{name}_5x5", f"{name}_5x5_bottleneck", 5, five_in, five)
        self.pool(f"{name}_pool", read, stride=1)
        self.unit(f"{name}_pool_reduce", f"{name}_pool", 1, d_in, pooled)
        self.nodes.append(const(f"{name}/concat_dim", np.array(3), typed=True))
        parts = [f"{name}_{part}" for part in ("1x1", "3x3", "5x5", "pool_reduce")]
        self.nodes.append(node(name, "Concat", f"{name}/concat_dim", *parts, N=4, **FLOAT))
        return one + three + five + pooled

    def dense(self, name, read, d_in, d_out, weights=None):
        weights = weights or name
        self.weights(f"{weights}_w", d_in, d_out)
        self.weights(f"{weights}_b", d_out)
        flags = FLOAT | dict(transpose_a=False, transpose_b=False)
        self.nodes.append(node(f"{name}/matmul", "MatMul", read, f"{weights}_w", **flags))
        self.nodes.append(node(name, "BiasAdd", f"{name}/matmul", f"{weights}_b", **FLOAT))

    def flat(self, name, read, d):
        self.nodes.append(const(f"{name}/shape", np.array([-1, d])))
        self.nodes.append(node(name, "Reshape", read, f"{name}/shape", **FLOAT))

    def mean(self, name, read, size, stride):
        sizes = FLOAT | dict(ksize=[1, size, size, 1], padding="VALID", strides=[1, stride, stride, 1])
        self.nodes.append(node(name, "AvgPool", read, **sizes))

    def head(self, k, read, d_in):
        """One of the two classifiers at the side, which are used in training only."""
        self.mean(f"head{k}_pool", read, 5, 3)
        self.unit(f"head{k}_bottleneck", f"head{k}_pool", 1, d_in, 128)
        self.flat(f"head{k}_bottleneck/reshape", f"head{k}_bottleneck", 2048)
        self.dense(f"nn{k}_pre_relu", f"head{k}_bottleneck/reshape", 2048, 1024, f"nn{k}")
        self.nodes.append(node(f"nn{k}", "Relu", f"nn{k}_pre_relu", **FLOAT))
        self.flat(f"nn{k}/reshape", f"nn{k}", 1024)
        self.dense(f"softmax{k}_pre_activation", f"nn{k}/reshape", 1024, N_CLASSES, f"softmax{k}")
        self.nodes.append(node(f"softmax{k}", "Softmax", f"softmax{k}_pre_activation", **FLOAT))


def inception(seed=0, *, heads=True):
    """InceptionV1's graph by the names and shapes of TensorFlow's, with random constants: a node each."""
    build = Builder(seed)
    build.unit("conv2d0", "input", 7, 3, 64, stride=2)
    build.pool("maxpool0", "conv2d0")
    build.normalise("localresponsenorm0", "maxpool0")
    build.unit("conv2d1", "localresponsenorm0", 1, 64, 64, padding="VALID")
    build.unit("conv2d2", "conv2d1", 3, 64, 192)
    build.normalise("localresponsenorm1", "conv2d2")
    build.pool("maxpool1", "localresponsenorm1")
    read, d = "maxpool1", 192
    for name in WIDTHS:
        if name in POOLS:
            build.pool(POOLS[name], read)
            read = POOLS[name]
        d, read = build.block(name, read, d), name
        if heads and name in ("mixed4a", "mixed4d"):
            build.head(int(name == "mixed4d"), name, d)
    build.mean("avgpool0", read, 7, 1)
    build.flat("avgpool0/reshape", "avgpool0", d)
    build.dense("softmax2_pre_activation", "avgpool0/reshape", d, N_CLASSES, "softmax2")
    build.nodes.append(node("softmax2", "Softmax", "softmax2_pre_activation", **FLOAT))
    for k, at in (("", 2), ("1", 0), ("2", 1)):
        if heads or at == 2:
            build.nodes.append(node(f"output{k}", "Identity", f"softmax{at}", **FLOAT))
    return build.nodes
