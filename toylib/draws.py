"""Random streams, and inputs drawn from them, compiled: the same bits in every engine."""

from __future__ import annotations

import numpy as np

from .jit import compiled, helper

INDEPENDENT, CORRELATED, ANTICORRELATED = 0, 1, 2

# Streams of random numbers that must not meet: the same seed gives each purpose its own.
TRAINING, HELD_OUT, NOISE = 0x7261696E, 0x68656C64, 0x6E6F6973
AS_THEY_COME = np.empty((0, 0))  # no condition on the inputs that `draw` draws
MANY = 64  # units, from which it pays to draw all integers of an input first
_STEP = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64
_TO_UNIT = 2.0**-53


@helper(inline="always")
def _mix(z):  # the output function of SplitMix64 (Steele, Lea & Flood 2014)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled()
def new_stream(seed, purpose):
    """State (one uint64 in an array) of the random stream of this seed and purpose."""
    state = np.empty(1, np.uint64)
    state[0] = _mix(_mix(np.uint64(seed) + _STEP) + np.uint64(purpose))
    return state


@helper(inline="always")
def _unit_interval(bits):
    return np.float64(bits >> np.uint64(11)) * _TO_UNIT


@helper(inline="always")
def _uniform(state):
    state[0] += _STEP
    return _unit_interval(_mix(state[0]))


@helper(inline="always")
def _value(u, signed):
    return np.float32(2.0 * u - 1.0) if signed else np.float32(u)


@helper(inline="always")
def _on_a_line(kind, size):  # whether a unit has one active member at most
    return kind != CORRELATED or size == 1


@helper(error_model="numpy")
def _draw_many(at, known, first, probability, limit, bits, active, signed, index, value):
    """Fill index and value with the active units from `first` on; how many there are. known: the first is.

    All integers first, in vector instructions; then values, of the active units alone. A uniform u is below p
    just where the integer that it is made of is below `limit`.
    """
    n = probability.size
    for k in range(n):
        bits[k] = _mix(at + np.uint64(k + 1) * _STEP) >> np.uint64(11)
    for k in range(n):
        active[k] = bits[k] < limit[k]
    if known:
        active[0] = 1
    n_active = np.uint64(0)
    for k in range(n - 1):
        index[n_active] = k
        n_active += active[k]
    if active[n - 1]:  # apart: with all of them active there is no place after the last
        index[n_active] = n - 1
        n_active += np.uint64(1)
    for a in range(n_active):
        unit = np.uint64(index[a])  # without a sign, it is not looked at for counting from the end
        u = np.float64(np.int64(bits[unit])) * _TO_UNIT
        value[a] = _value(u if known and unit == 0 else u / probability[unit], signed)
        index[a] += first
    return n_active


@compiled(nogil=True, error_model="numpy")
def draw(state, unit_probability, given, kind, start, members, signed, count, index, value):
    """Fill count (batch,), index and value (batch, n_features) with the active features of each input.

    `given` says which inputs are drawn. Without a row: as they come. One row: only those with an active
    feature, given[0, u] being the probability that the first active unit is u or earlier. Two rows: only
    those that lie on no line (engines/strata.py), given[0, u] as before and given[1, u]
    the probability that any unit from u on is active: if the first is a line's, a second must follow. A
    uniform below p says both that a unit is active and, divided by p, what its value is: one draw, not two.
    """
    n_units = kind.size
    alone = True
    for unit in range(n_units):
        alone = alone and kind[unit] == INDEPENDENT
    bits, flags = np.empty(n_units, np.uint64), np.empty(n_units, np.uint8)
    limit = np.ceil(unit_probability / _TO_UNIT).astype(np.uint64)
    for b in range(count.size):
        n_active = 0
        first, second = 0, -1
        if given.shape[0] > 0:
            u = _uniform(state)
            while first < n_units - 1 and u >= given[0, first]:
                first += 1
            if given.shape[0] > 1 and _on_a_line(kind[first], start[first + 1] - start[first]):
                second, u = first + 1, _uniform(state)
                while second < n_units - 1:
                    now = unit_probability[second] / given[1, second]
                    if u < now:
                        break
                    u = (u - now) / (1.0 - now)
                    second += 1
        if alone:  # the loop below without its branches, which cost more than the arithmetic
            if second >= 0:
                index[b, 0], value[b, 0] = first, _value(_uniform(state), signed)
                n_active, first = 1, second
            if n_units >= MANY:
                n_active += _draw_many(
                    state[0], given.shape[0] > 0, first, unit_probability[first:], limit[first:], bits, flags,
                    signed, index[b, n_active:], value[b, n_active:],
                )  # fmt: skip
                state[0] += np.uint64(n_units - first) * _STEP
                count[b] = n_active
                continue
            at = state[0]
            for unit in range(first, n_units):
                at += _STEP
                u = _unit_interval(_mix(at))
                p = unit_probability[unit]
                active = given.shape[0] > 0 and unit == first
                index[b, n_active] = unit
                value[b, n_active] = _value(u if active else u / p, signed)
                n_active += active or u < p
            state[0] = at
            count[b] = n_active
            continue
        for unit in range(first, n_units):
            if first < unit < second:
                continue
            u = _uniform(state)
            if given.shape[0] == 0 or (unit > first and unit != second):
                if u >= unit_probability[unit]:
                    continue
                u /= unit_probability[unit]
            low, high = start[unit], start[unit + 1]
            if kind[unit] == ANTICORRELATED:
                u *= high - low
                chosen = min(int(u), high - low - 1)
                index[b, n_active] = members[low + chosen]
                value[b, n_active] = _value(u - chosen, signed)
                n_active += 1
            else:
                for member in range(low, high):
                    if member > low:
                        u = _uniform(state)
                    index[b, n_active] = members[member]
                    value[b, n_active] = _value(u, signed)
                    n_active += 1
        count[b] = n_active


@compiled(nogil=True)
def draw_dense(state, unit_probability, given, kind, start, members, signed, x):
    """Fill x (batch, n_features) with the inputs that `draw` gives in sparse form."""
    batch_size, n_features = x.shape
    count = np.empty(batch_size, np.int32)
    index = np.empty((batch_size, n_features), np.int32)
    value = np.empty((batch_size, n_features), np.float32)
    draw(state, unit_probability, given, kind, start, members, signed, count, index, value)
    x[:] = 0
    for b in range(batch_size):
        for k in range(count[b]):
            x[b, index[b, k]] = value[b, k]


@compiled(nogil=True)
def draw_normal(state, scale, out):
    """Fill out (n, m) with normal numbers of this standard deviation, by Box and Muller's transformation."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            size = np.sqrt(-2.0 * np.log(1.0 - _uniform(state)))
            out[i, j] = np.float32(scale * size * np.cos(2.0 * np.pi * _uniform(state)))
