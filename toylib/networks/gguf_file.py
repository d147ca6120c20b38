"""Read the header of a GGUF file, and its tensors one at a time, from the bytes of it.

gguf's own reader takes a path, and makes an array of each piece of a vocabulary: a quarter of a minute for
Gemma's 262,144, where this takes half a second.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..checks import refuse
from .loading import reading

MAGIC, VERSIONS = b"GGUF", (2, 3)
TEXT, LIST = 8, 9  # kinds of value
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
ROWS = 4096  # that are turned into numbers at once
DAMAGED = struct.error, LookupError, ValueError, ArithmeticError  # cut short, or not what it says


class Stored(NamedTuple):
    """A tensor as it lies in the file: its shape, the name of its type, and its bytes, row by row."""

    shape: tuple[int, ...]
    kind: str
    raw: np.ndarray

    def read(self) -> Tensor:
        """The tensor in float32.

        Memory: besides the result, some rows as they are turned into numbers.
        Raises: NotImplementedError for a type that gguf does not turn into numbers.
        """
        from gguf import GGMLQuantizationType, dequantize

        raw = self.raw.reshape(-1, self.raw.shape[-1])
        values = torch.empty(len(raw), self.shape[-1])
        for at in range(0, len(raw), ROWS):
            some = dequantize(raw[at : at + ROWS], GGMLQuantizationType[self.kind])
            values[at : at + ROWS] = torch.tensor(some)
        return values.reshape(self.shape)


class _Bytes:
    def __init__(self, content: bytes, at: int):
        self.content, self.at = content, at

    def number(self, kind: str) -> Any:
        (value,) = struct.unpack_from("<" + kind, self.content, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self) -> str:
        size = self.number("Q")
        found = self.content[self.at : self.at + size]
        if len(found) < size:
            raise ValueError(f"a text of {size} bytes, of which {len(found)} are there")
        self.at += size
        return found.decode()

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind != LIST:
            return self.number(NUMBERS[kind])
        kind, n = self.number("I"), self.number("Q")
        if kind in (TEXT, LIST):
            return [self.value(kind) for _ in range(n)]
        values = np.frombuffer(self.content, "<" + NUMBERS[kind], n, self.at)
        self.at += values.nbytes
        return values.tolist()

    def place(self) -> tuple[tuple[int, ...], int, int]:
        """A tensor's shape, the number of its type, and where it begins."""
        shape = [self.number("Q") for _ in range(self.number("I"))]
        return tuple(reversed(shape)), self.number("I"), self.number("Q")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name that is there twice")
    return found


def read_gguf(content: bytes, *, file: str) -> tuple[dict[str, Any], dict[str, Stored]]:
    """All fields and all tensors by name; the tensors are views of `content`, read when they are asked.

    Raises: ValueError for content that is no GGUF file, is cut short or goes on after its last tensor.
    """
    from gguf import GGMLQuantizationType
    from gguf.quants import quant_shape_to_byte_shape

    source = _Bytes(content, len(MAGIC))
    with reading(repr(file), "file must be a GGUF file", *DAMAGED):
        found = content[: len(MAGIC)], source.number("I")
    if found[0] != MAGIC or found[1] not in VERSIONS:
        refuse(f"file must be a GGUF file of version {' or '.join(map(str, VERSIONS))}", f"{file!r}, {found}")
    with reading(repr(file), "file must be a whole GGUF file", *DAMAGED):
        n_tensors, n_fields = source.number("Q"), source.number("Q")
        fields = _once([(source.text(), source.value(source.number("I"))) for _ in range(n_fields)])
        places = _once([(source.text(), source.place()) for _ in range(n_tensors)])
        align = fields.get("general.alignment", 32)
        tensors, end = {}, source.at
        for name, (shape, number, offset) in places.items():
            kind = GGMLQuantizationType(number)
            size = quant_shape_to_byte_shape(shape, kind)
            start = -(-source.at // align) * align + offset
            raw = np.frombuffer(content, np.uint8, prod(size), start).reshape(size)
            tensors[name] = Stored(shape, kind.name, raw)
            end = max(end, start + raw.size)
    if len(content) - end >= align:  # the last tensor may be filled up
        refuse("file must end where its tensors end", f"{file!r}, with {len(content) - end} bytes more")
    return fields, tensors
