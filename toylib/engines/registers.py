"""Tiles of vectors that stay in a processor's registers, and what they need of vectors of 16 floats.

numba cannot keep twenty sums in registers through a loop. So these operations are written in the compiler's
own language (llvmlite), as those of vectors.py are, each a few instructions; offsets count floats.

A *tile* is ROWS x COLUMNS floats. Its size is the largest that leaves registers for what is multiplied: with
AVX-512 20 of 32 registers of 16 floats, elsewhere 12 of 16 registers of 8, into two of which the compiler
splits a vector. Both hide that a sum takes four cycles, in each of which the processor starts two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.core.typing import signature
from numba.extending import intrinsic, models, register_model

from .vectors import Vector, fused, shuffled, spread_to

LANES = 16
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]  # the cache's key has them, too
ROWS, COLUMNS = (10, 2 * LANES) if "+avx512f" in _FEATURES else (6, LANES)

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_PARTS = [(row, column) for row in range(ROWS) for column in range(0, COLUMNS, LANES)]
_TILE = ir.ArrayType(_VECTOR, len(_PARTS))


class _Tile(types.Type):
    """The type of a tile."""


@register_model(_Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _TILE)


vector, tile = Vector(LANES), _Tile("tile")


def _emits(result: types.Type) -> Callable[[Callable], Any]:
    """Decorator: what `function(builder, *arguments)` emits is a function of numba with this result.

    An array arrives as a pointer to its first float.
    """

    def decorate(function: Callable) -> Any:
        def code(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any) -> Any:
            plain = [
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(sig.args, arguments, strict=True)
            ]
            found = function(builder, *plain)
            return context.get_dummy_value() if found is None else found

        @wraps(function)
        def typed(context: Any, *given: types.Type) -> Any:
            return signature(result, *given), code

        return intrinsic(typed)

    return decorate


def _at(builder: ir.IRBuilder, array: Any, *offsets: Any) -> Any:
    for offset in offsets:
        array = builder.gep(array, [offset], source_etype=_FLOAT)
    return array


def _whole(number: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), number)


def _read(builder: ir.IRBuilder, place: Any) -> Any:
    return builder.load(builder.bitcast(place, ir.PointerType(_VECTOR)), align=4)


def _write(builder: ir.IRBuilder, value: Any, place: Any) -> None:
    builder.store(value, builder.bitcast(place, ir.PointerType(_VECTOR)), align=4)


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, order: list[int]) -> Any:
    """The lanes of a, from 0 on, and of b, from LANES on, in this order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT, LANES), order))


# --- vectors ---------------------------------------------------------------------------------------------


@_emits(vector)
def load(builder, array, at):
    """array[at : at + LANES]"""
    return _read(builder, _at(builder, array, at))


@_emits(types.void)
def store(builder, array, at, value):
    """array[at : at + LANES] = value"""
    _write(builder, value, _at(builder, array, at))


@_emits(vector)
def spread(builder, x):
    """A vector of x in every lane."""
    return spread_to(builder, x, LANES)


@_emits(types.float32)
def total(builder, a):
    """The sum of the lanes: of the halves, of their halves, and so on."""
    for half in (8, 4, 2, 1):
        a = builder.fadd(a, shuffled(builder, a, [(k + half) % LANES for k in range(LANES)]))
    return builder.extract_element(a, ir.Constant(_INT, 0))


@_emits(types.void)
def transpose(builder, array, at, row, to, at_to, row_of_to):
    """Transpose LANES x LANES floats: swap quarters of ever smaller squares."""
    rows = [_read(builder, _at(builder, array, at, builder.mul(row, _whole(k)))) for k in range(LANES)]
    for step in (8, 4, 2, 1):
        # in the lanes of a pair of rows: where each finds what it keeps, or gets from the other (+ LANES)
        upper = [LANES + k - step if k & step else k for k in range(LANES)]
        lower = [LANES + k if k & step else k + step for k in range(LANES)]
        for k in range(LANES):
            if not k & step:
                pair = rows[k], rows[k + step]
                rows[k], rows[k + step] = (_shuffle(builder, *pair, order) for order in (upper, lower))
    for k in range(LANES):
        _write(builder, rows[k], _at(builder, to, at_to, builder.mul(row_of_to, _whole(k))))


# --- tiles -----------------------------------------------------------------------------------------------


def _places(builder: ir.IRBuilder, array: Any, row: Any) -> list[Any]:
    """Where the vectors of a tile begin, its rows lying `row` apart."""
    return [_at(builder, array, builder.mul(row, _whole(r)), _whole(column)) for r, column in _PARTS]


@_emits(tile)
def zeros(builder):
    """A tile of zeros."""
    return ir.Constant(_TILE, [ir.Constant(_VECTOR, [0.0] * LANES)] * len(_PARTS))


@_emits(tile)
def load_tile(builder, array, at, row):
    """The tile that begins at array[at], its rows lying `row` apart."""
    whole = ir.Constant(_TILE, ir.Undefined)
    for k, place in enumerate(_places(builder, _at(builder, array, at), row)):
        whole = builder.insert_value(whole, _read(builder, place), k)
    return whole


@_emits(types.void)
def store_tile(builder, array, at, row, whole):
    """Put a tile where `load_tile` finds it."""
    for k, place in enumerate(_places(builder, _at(builder, array, at), row)):
        _write(builder, builder.extract_value(whole, k), place)


@_emits(tile)
def add_outer(builder, whole, a, at_a, row, b, at_b):
    """The tile plus the outer product of a column of a, a[at_a + row * r], and a row of b, b[at_b:]."""
    a, b = _at(builder, a, at_a), _at(builder, b, at_b)
    across = {column: _read(builder, _at(builder, b, _whole(column))) for _, column in _PARTS}
    for k, (r, column) in enumerate(_PARTS):
        if column == 0:
            place = _at(builder, a, builder.mul(row, _whole(r)))
            down = spread_to(builder, builder.load(place, typ=_FLOAT, align=4), LANES)
        part = fused(builder, down, across[column], builder.extract_value(whole, k))
        whole = builder.insert_value(whole, part, k)
    return whole
