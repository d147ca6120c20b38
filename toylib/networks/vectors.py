"""The vectors of a real network: of its tokens or classes, and what its neurons write."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..checks import refuse
from .reader import Reader
from .vision import MOBILENET, VisionNetwork

TOKENS = {
    "SmolLM2": "token_embd.weight",
    "MiniLM": "embeddings.word_embeddings.weight",
    "Whisper": "decoder/embeddings/weight",
}
READ_BY = {  # matrix and gain of the output; an encoder has none
    "SmolLM2": ("token_embd.weight", "output_norm.weight"),
    "Whisper": ("decoder/projection/weight", "decoder/layer_norm/gamma"),
}
WRITTEN = {
    "SmolLM2": "blk.{}.ffn_down.weight",
    "MiniLM": "encoder.layer.{}.output.dense.weight",
    "Whisper": "decoder/layer_{}/ffn/linear_1/weight",
}


def _array(weights: Tensor) -> np.ndarray:
    return weights.detach().float().numpy()


def token_vectors(reader: Reader) -> Float[np.ndarray, "vocabulary d_model"]:
    """What each token puts into the stream, without its position."""
    return _array(reader.weights[TOKENS[reader.name]])


def output_vectors(reader: Reader) -> Float[np.ndarray, "vocabulary d_model"]:
    """What each token's score is read by, with the gain of the last norm.

    Both decoders tie them to the token's vectors, so that they differ by the gain alone.

    Raises: ValueError for a reader that scores no tokens.
    """
    if reader.name not in READ_BY:
        refuse(f"reader must be one that scores tokens, {' or '.join(READ_BY)}", reader.name)
    matrix, gain = READ_BY[reader.name]
    return _array(reader.weights.get("output.weight", reader.weights[matrix]) * reader.weights[gain])


def written(reader: Reader) -> list[Float[np.ndarray, "d_mlp d_model"]]:
    """What each MLP neuron adds to the stream, layer by layer."""
    name = WRITTEN[reader.name]
    return [_array(reader.weights[name.format(layer)].T) for layer in range(reader.n_layers)]


def class_vectors(network: VisionNetwork) -> Float[np.ndarray, "n_classes d"]:
    """What each class is read by, after the last layer's mean over places."""
    name = "logits.weight" if network.name == MOBILENET else "_fc.weight"
    return _array(network.module.state_dict()[name].flatten(1))


def first_vectors(network: VisionNetwork) -> Float[np.ndarray, "n_filters n_pixels"]:
    """What each filter of the first convolution reads; one whose weights are all 0 is left out."""
    name = "Conv2d_0.conv.weight" if network.name == MOBILENET else "_conv_stem.weight"
    filters = _array(network.module.state_dict()[name].flatten(1))
    return filters[np.abs(filters).max(1) > 0]
