"""The constants of a frozen TensorFlow graph (.pb), read without TensorFlow.

Only what a graph's constants need of protobuf's wire format is read; anything else is skipped by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .loading import reading

TYPES = {1: np.float32, 3: np.int32, 9: np.int64}  # TensorFlow's number of a type; others are left out
Field = tuple[int, int | memoryview]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data: memoryview) -> Iterator[Field]:
    """Number and value of every field of a message; messages and bytes as they lie in the file."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError(f"a field of wire type {kind} that does not end")
        yield key >> 3, data[at : at + size]
        at += size


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    return (value for n, value in _fields(data) if n == number and isinstance(value, memoryview))


def _tensor(data: memoryview) -> np.ndarray | None:
    """A TensorProto: dtype 1, shape 2, content 4, or float values 5."""
    dtype, raw = None, b""
    shape: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            dtype = TYPES.get(value) if isinstance(value, int) else None
        elif number == 2 and isinstance(value, memoryview):
            sides = (dict(_fields(side)) for side in _messages(value, 2))
            shape = [int(side.get(1, 0)) for side in sides]
        elif number in (4, 5) and isinstance(value, memoryview):
            raw += bytes(value)
    if dtype is None or not raw:
        return None
    values = np.frombuffer(raw, dtype)
    n = int(np.prod(shape))
    return (np.full(n, values[-1]) if len(values) < n else values).reshape(shape)


def constants(path: str | Path) -> dict[str, np.ndarray]:
    """Every constant of a frozen graph by its name; those of other types than float and whole are left out.

    Raises: ValueError, naming the file, for one that is no such graph, or ends too early.
    Source: protobuf's encoding; TensorFlow's graph.proto, node_def.proto and tensor.proto.
    """
    found: dict[str, np.ndarray] = {}
    with reading(
        repr(str(path)), "path must be a frozen graph", OSError, ValueError, IndexError, struct.error
    ):
        for node in _messages(memoryview(Path(path).read_bytes()), 1):
            parts = [(n, value) for n, value in _fields(node) if isinstance(value, memoryview)]
            name = next((bytes(value).decode() for n, value in parts if n == 1), "")
            for entry in (dict(_fields(value)) for n, value in parts if n == 5):
                if bytes(entry.get(1, b"")) == b"value":
                    for tensor in _messages(memoryview(bytes(entry[2])), 8):
                        value = _tensor(tensor)
                        found |= {} if value is None else {name: value}
        if not found:
            raise ValueError("it has no constants")
    return found
