"""The inputs of the compiled loops: who sees the same ones, drawn a few steps at a time, in sparse form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..draws import NOISE, TRAINING, draw, draw_normal, new_stream
from ..features import SparseFeatures
from ..models import ToyModel
from .settings import Settings
from .strata import given, shares

INPUT_BYTES = 2**19  # inputs drawn at a time, about


def groups_of(model: ToyModel, features: SparseFeatures, settings: Settings) -> list[np.ndarray]:
    """Instances that see the same inputs."""
    _, stream = features.streams(model.seeds, settings.models_per_stream)
    order = np.argsort(stream, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(stream[order])) + 1)


def steps_at_once(n_features: int, batch_size: int) -> int:
    """Steps whose inputs are drawn together."""
    return max(1, INPUT_BYTES // (8 * n_features * batch_size))


class Inputs:
    """The inputs of a block, and the noise of its hidden layers, a few steps at a time."""

    def __init__(self, model: ToyModel, features: SparseFeatures, settings: Settings) -> None:
        streams, _ = features.streams(model.seeds, settings.models_per_stream)
        [(self.row, stream)] = streams.tolist()
        self.features, self.settings = features, settings
        self.random = new_stream(stream, TRAINING + settings.data_seed)
        self.noise_random = new_stream(stream, NOISE + settings.data_seed)
        share = shares(model, features, settings)
        self.given = given(features, self.row, settings, share)
        self.sampled, self.empty, self.active = (
            float(part[self.row]) for part in (share.sampled, share.empty, share.active)
        )
        self.lines = _lines(features, share.lines[self.row] * settings.batch_size)
        self.at_once = steps_at_once(model.n_features, settings.batch_size)
        n_inputs = min(self.at_once, settings.n_steps) * settings.batch_size
        self.room = _room(n_inputs, model.n_features)
        self.noise = np.empty((n_inputs if settings.hidden_noise else 0, model.n_hidden), np.float32)

    def draw(self, n_steps: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """The next steps' inputs, and their noise, of which there are no rows if there is none."""
        n_inputs = n_steps * self.settings.batch_size
        inputs = _drawn(self.room, n_inputs, self.features, self.row, self.random, self.given)
        noise = self.noise[:n_inputs]
        draw_normal(self.noise_random, self.settings.hidden_noise, noise)
        return inputs, noise


def _lines(features: SparseFeatures, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """The ends of all lines that weigh anything, as inputs in sparse form, and their weights."""
    (at,) = np.nonzero(weight)
    ends = np.repeat(at[:, None] % features.n_features, features.n_features, axis=1).astype(np.int32)
    signs = np.where(at < features.n_features, np.float32(1), np.float32(-1))
    value = np.repeat(signs[:, None], features.n_features, axis=1)
    return np.ones(len(at), np.int32), ends, value, weight[at].astype(np.float32)


def held_out(
    n_inputs: int, features: SparseFeatures, row: int, random: np.ndarray, given: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """A stream's next n_inputs inputs of those given, in parts of whole 512s."""
    at_once = 512 * max(1, INPUT_BYTES // (8 * features.n_features * 512))
    room = _room(min(at_once, n_inputs), features.n_features)
    for start in range(0, n_inputs, at_once):
        yield _drawn(room, min(at_once, n_inputs - start), features, row, random, given)


def _room(n_inputs: int, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays for inputs in sparse form: how many features are active, which, and their values."""
    return (
        np.empty(n_inputs, np.int32),
        np.empty((n_inputs, n_features), np.int32),
        np.empty((n_inputs, n_features), np.float32),
    )


def _drawn(
    room: tuple[np.ndarray, ...],
    n_inputs: int,
    features: SparseFeatures,
    row: int,
    random: np.ndarray,
    given: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """The next inputs of a stream, in the first part of this room."""
    inputs = tuple(part[:n_inputs] for part in room)
    draw(random, features.unit_probability[row], given, *features.units, features.signed, *inputs)
    return inputs
