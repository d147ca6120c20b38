"""Vectors of floats for compiled loops: what numba leaves to chance, said outright.

A `Vector` is a value of several float32 that compiled code loads from an array, computes with and stores.
LLVM keeps it in as many registers as the processor needs for it. Its arithmetic is +, -, *, / and `fma`,
element by element and in the order written, each operation rounded as IEEE 754 says: so the length of a
register does not enter into the result. A shorter vector meets a longer one repeated, a number meets every
element, and <= gives a mask for `where`.

    load(array, k, size)                the k-th `size` floats of a contiguous array, whatever its shape
    load_each(array, k, count, size)    the k-th `count` floats of it, `size` copies of each
    store(array, k, vector)             a vector's floats made the k-th as many of an array
    splat(number, size)                 copies of a number
    fma(a, b, c)                        a * b + c, rounded once where the processor can
    where(mask, a, b)                   a where the mask says so, else b
    sqrt(a), absolute(a)
    add_parts(a, c)                     c + a's first part as long as c, + the second, ..
    dot_parts(a, b, c)                  c + the first parts' products, + the second's, ..

Sizes and counts are constants. Offsets are not checked: beyond an array lies other memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model

FLOAT_BYTES, LINE = 4, 64  # bytes: LINE of the cache's lines, and of the longest registers
FLOAT, BIT, INDEX = ir.FloatType(), ir.IntType(1), ir.IntType(32)


def zeros(*shape: int) -> np.ndarray:
    """An array of float32 that begins with a line of the cache: vectors that straddle two are slower."""
    size = math.prod(shape)
    room = np.zeros(size + LINE // FLOAT_BYTES, np.float32)
    start = -room.ctypes.data % LINE // FLOAT_BYTES
    return room[start : start + size].reshape(shape)


class Vector(types.Type):
    """`size` floats."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(name=f"Vector({size})")


class Mask(types.Type):
    """`size` answers."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(name=f"Mask({size})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(FLOAT, kind.size))


@register_model(Mask)
class _MaskModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, ir.VectorType(BIT, kind.size))


def _longest(kinds: Any) -> Vector | None:
    """The type of what vectors and numbers give together; None if there is no vector among them."""
    sizes = [kind.size for kind in kinds if isinstance(kind, Vector)]
    others = [kind for kind in kinds if not isinstance(kind, Vector)]
    if not sizes or any(kind != types.float32 for kind in others) or any(max(sizes) % size for size in sizes):
        return None
    return Vector(max(sizes))


def shuffled(builder: Any, value: Any, order: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(INDEX, len(order)), order)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


def spread_to(builder: Any, value: Any, size: int) -> Any:
    """A number, or a shorter vector, repeated to this size."""
    if value.type == FLOAT:
        one = ir.Constant(ir.VectorType(FLOAT, 1), ir.Undefined)
        return shuffled(builder, builder.insert_element(one, value, ir.Constant(INDEX, 0)), [0] * size)
    n = value.type.count
    return value if n == size else shuffled(builder, value, [k % n for k in range(size)])


def _parts(builder: Any, value: Any, size: int) -> list[Any]:
    """The parts of this size that a vector is made of."""
    starts = range(0, value.type.count, size)
    return [shuffled(builder, value, list(range(start, start + size))) for start in starts]


def _called(name: str) -> Callable[..., Any]:
    """What writes the call of LLVM's own function of this name, on vectors of one size."""

    def call(builder: Any, *values: Any) -> Any:
        kind = values[0].type
        full = f"llvm.{name}.v{kind.count}f32"
        function = builder.module.globals.get(full) or ir.Function(
            builder.module, ir.FunctionType(kind, [kind] * len(values)), full
        )
        return builder.call(function, values)

    return call


fused, _sqrt, _absolute = _called("fmuladd"), _called("sqrt"), _called("fabs")


def _elementwise(emit: Callable[..., Any]) -> Callable[..., Any]:
    """Code for an operation on vectors of one size, from `emit(builder, *values)`."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *(spread_to(builder, value, sig.return_type.size) for value in args))

    return code


def _compare(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fcmp_ordered("<=", *(spread_to(builder, value, sig.return_type.size) for value in args))


def _operator(symbol: Callable[..., Any], result: type, code: Callable[..., Any]) -> None:
    """Give compiled code this operator on vectors."""

    class Template(AbstractTemplate):
        key = symbol

        def generic(self, args: Any, kws: Any) -> Any:
            kind = _longest(args) if len(args) == 2 else None
            return kind and signature(result(kind.size), *args)

    infer_global(symbol)(Template)
    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(symbol, *kinds)(code)


_operator(operator.add, Vector, _elementwise(lambda builder, a, b: builder.fadd(a, b)))
_operator(operator.sub, Vector, _elementwise(lambda builder, a, b: builder.fsub(a, b)))
_operator(operator.mul, Vector, _elementwise(lambda builder, a, b: builder.fmul(a, b)))
_operator(operator.truediv, Vector, _elementwise(lambda builder, a, b: builder.fdiv(a, b)))
_operator(operator.le, Mask, _compare)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, size: int) -> Any:
    """Where the at-th `size` floats of an array are, as one vector."""
    data = builder.bitcast(context.make_array(kind)(context, builder, array).data, ir.PointerType(FLOAT))
    start = builder.gep(data, [builder.mul(at, ir.Constant(at.type, size))], source_etype=FLOAT)
    return builder.bitcast(start, ir.PointerType(ir.VectorType(FLOAT, size)))


def _instruction(write: Callable[..., Any]) -> Any:
    """Decorator: what compiled code can call, of a function of types that gives its signature and code."""
    return intrinsic(prefer_literal=True)(write)


@_instruction
def load(typing, array, at, size):
    n = size.literal_value

    def code(context, builder, sig, args):
        return builder.load(_place(context, builder, array, args[0], args[1], n), align=FLOAT_BYTES)

    return Vector(n)(array, types.int64, size), code


@_instruction
def load_each(typing, array, at, count, size):
    n, copies = count.literal_value, size.literal_value

    def code(context, builder, sig, args):
        value = builder.load(_place(context, builder, array, args[0], args[1], n), align=FLOAT_BYTES)
        return shuffled(builder, value, [k // copies for k in range(n * copies)])

    return Vector(n * copies)(array, types.int64, count, size), code


@_instruction
def store(typing, array, at, value):
    def code(context, builder, sig, args):
        builder.store(
            args[2], _place(context, builder, array, args[0], args[1], value.size), align=FLOAT_BYTES
        )
        return context.get_dummy_value()

    return types.void(array, types.int64, value), code


@_instruction
def splat(typing, number, size):
    def code(context, builder, sig, args):
        return spread_to(builder, args[0], size.literal_value)

    return Vector(size.literal_value)(types.float32, size), code


@_instruction
def fma(typing, a, b, c):
    return _longest((a, b, c))(a, b, c), _elementwise(fused)  # type: ignore[misc]


@_instruction
def sqrt(typing, a):
    return a(a), _elementwise(_sqrt)


@_instruction
def absolute(typing, a):
    return a(a), _elementwise(_absolute)


@_instruction
def where(typing, mask, a, b):
    def code(context, builder, sig, args):
        return builder.select(args[0], *(spread_to(builder, value, mask.size) for value in args[1:]))

    return Vector(mask.size)(mask, a, b), code


@_instruction
def add_parts(typing, a, c):
    def code(context, builder, sig, args):
        return reduce(builder.fadd, _parts(builder, args[0], c.size), args[1])

    return c(a, c), code


@_instruction
def dot_parts(typing, a, b, c):
    def code(context, builder, sig, args):
        total = args[2]
        for x, y in zip(*(_parts(builder, value, c.size) for value in args[:2]), strict=True):
            total = fused(builder, x, y, total)
        return total

    return c(a, b, c), code
