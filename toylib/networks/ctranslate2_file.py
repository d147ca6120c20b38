"""Read the tensors of a CTranslate2 model.bin, format 6, without CTranslate2."""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

from ..checks import refuse
from .loading import reading

FORMAT = 6
KINDS = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class _Bytes:
    def __init__(self, content: bytes):
        self.content, self.at = content, 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self.content, self.at)
        self.at += struct.calcsize(kind)
        return value

    def text(self) -> str:
        size = self.number("H")  # the zero byte at the end is counted
        self.at += size
        return self.content[self.at - size : self.at - 1].decode()

    def tensor(self) -> Tensor:
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype, size = np.dtype(KINDS[self.number("B")]), self.number("I")
        values = np.frombuffer(self.content, dtype, size // dtype.itemsize, self.at).reshape(shape)
        self.at += size
        return torch.tensor(values).float()


def read_ctranslate2(content: bytes, *, spec: tuple[str, int], file: str) -> dict[str, Tensor]:
    """The tensors of a model.bin by name, in float32; aliases are tensors too.

    Raises: ValueError for another format or another kind of model than `spec` (name, revision), for content
            that is cut short, and for bytes left over.
    """
    damaged = struct.error, KeyError, ValueError  # cut short, an unknown kind, a size that does not fit
    source = _Bytes(content)
    with reading(repr(file), "file must be a CTranslate2 model", *damaged):
        found = source.number("I"), source.text(), source.number("I")
    if found != (FORMAT, *spec):
        refuse(f"file must be CTranslate2's format {FORMAT} of {spec}", f"{file!r}, of {found}")
    with reading(repr(file), "file must be a whole CTranslate2 model", *damaged):
        weights = {source.text(): source.tensor() for _ in range(source.number("I"))}
        for _ in range(source.number("I")):
            alias, name = source.text(), source.text()
            weights[alias] = weights[name]
    if source.at != len(content):
        refuse("file must end where its tensors end", f"{file!r}, with {len(content) - source.at} bytes more")
    return weights
