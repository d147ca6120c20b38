"""A frozen TensorFlow graph (.pb), read without TensorFlow: its nodes, and its constants.

Only what a graph's nodes need of protobuf's wire format is read; anything else is skipped by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .loading import reading

TYPES = {1: np.float32, 3: np.int32, 9: np.int64}  # TensorFlow's number of a type; others are left out
INTEGERS = 7, 10  # fields of a tensor that hold whole numbers one by one
Field = tuple[int, int | memoryview]


@dataclass
class Node:
    """One operation: its name, what it does, the names of what it reads, and its settings.

    Attributes that are whole numbers, truths, floats, texts, lists of whole numbers or tensors of float32,
    int32 or int64 are kept; others, such as types, are not.
    """

    name: str
    op: str
    inputs: list[str]
    attributes: dict[str, Any]


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


def _whole(value: int | memoryview) -> list[int]:
    """Whole numbers, one or packed; a negative one is written as 64 bits."""
    found = []
    if isinstance(value, int):
        found.append(value)
    else:
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(number)
    return [number - (1 << 64) if number >> 63 else number for number in found]


def _tensor(data: memoryview) -> np.ndarray | None:
    """A TensorProto: dtype 1, shape 2, content 4, float values 5, whole ones 7 or 10."""
    dtype, raw = None, b""
    shape, whole = list[int](), list[int]()
    for number, value in _fields(data):
        if number == 1:
            dtype = TYPES.get(value) if isinstance(value, int) else None
        elif number == 2 and isinstance(value, memoryview):
            sides = (dict(_fields(side)) for side in _messages(value, 2))
            shape = [int(side.get(1, 0)) for side in sides]
        elif number in (4, 5) and isinstance(value, memoryview):
            raw += bytes(value)
        elif number in INTEGERS:
            whole += _whole(value)
    if dtype is None or not (raw or whole):
        return None
    values = np.frombuffer(raw, dtype) if raw else np.array(whole, dtype)
    n = int(np.prod(shape))
    return (np.full(n, values[-1]) if len(values) < n else values).reshape(shape)


def _attribute(data: memoryview) -> Any:
    """An AttrValue: list 1, text 2, whole number 3, float 4, truth 5, tensor 8."""
    for number, value in _fields(data):
        if isinstance(value, int):
            if number in (3, 5):
                return _whole(value)[0]
        elif number == 1:
            return [each for n, part in _fields(value) if n == 3 for each in _whole(part)]
        elif number == 2:
            return bytes(value).decode(errors="replace")
        elif number == 4:
            return float(struct.unpack("<f", value)[0])
        elif number == 8:
            return _tensor(value)
    return None


def _node(data: memoryview) -> Node:
    """A NodeDef: name 1, op 2, inputs 3, attributes 5."""
    parts = [(n, value) for n, value in _fields(data) if isinstance(value, memoryview)]
    text: dict[int, list[str]] = {n: [bytes(v).decode() for k, v in parts if k == n] for n in (1, 2, 3)}
    attributes = {}
    for entry in (dict(_fields(value)) for n, value in parts if n == 5):
        key, value = entry.get(1), entry.get(2)
        if isinstance(key, memoryview) and isinstance(value, memoryview):
            found = _attribute(value)
            if found is not None:
                attributes[bytes(key).decode()] = found
    return Node("".join(text[1][:1]), "".join(text[2][:1]), text[3], attributes)


def nodes(content: bytes, file: str) -> list[Node]:
    """Every node of a frozen graph, in the file's order.

    Raises: ValueError, naming the file, for content that is no such graph, or ends too early.
    Source: protobuf's encoding; TensorFlow's graph.proto, node_def.proto, attr_value.proto and tensor.proto.
    """
    with reading(repr(file), "path must be a frozen graph", ValueError, IndexError, struct.error):
        found = [_node(message) for message in _messages(memoryview(content), 1)]
        if not found:
            raise ValueError("it has no nodes")
    return found


def constants(path: str | Path) -> dict[str, np.ndarray]:
    """Every constant of a frozen graph by its name; those of other types than float and whole are left out.

    Raises: ValueError, naming the file, for one that is no such graph, or ends too early.
    """
    with reading(repr(str(path)), "path must be a frozen graph", OSError):
        content = Path(path).read_bytes()
    found = {node.name: node.attributes.get("value") for node in nodes(content, str(path))}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
