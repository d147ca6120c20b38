"""Compiled training with models side by side (engine "kernel"): a batch's loss and gradients, and Adam.

A tile is sixteen models that see the same inputs, a *lane* each. Every number of a model stands beside those
of its neighbours, and one vector (vectors.py) holds the sixteen. Four inputs are worked on at a time, whose
hidden units and outputs are vectors of 64. Rows of memory, one vector each:

    weights           w_in[i, j]     | 16 models |                              n_features x n_hidden
    hidden            h[j]           | input 0: 16 models | input 1 | 2 | 3 |   n_hidden
    slopes at output  d[i]           | input 0: 16 models | input 1 | 2 | 3 |   n_features
    target            t[i]           | input 0 | 1 | 2 | 3 |                    n_features, of all models

Nearly all time goes into three products, for every i and j:

    forward           o[i] += w_out[i, j] h[j]                  the four inputs' sums stay in registers
    backward          q[j] += w_out[i, j] d[i]                  as here: the gradient of h[j]
    gradient          g_out[i, j] += sum over inputs h[j] d[i]  loaded and stored once for four inputs

So a weight is loaded once for four inputs, and a hidden unit once for both products of the way back. At the
input only the active features are touched, or all of them where most are active: to the same bits.

What becomes of a model is a fixed sequence of rounded operations in its own lane: the same bits in any
company, and on processors with vectors of another width. To that end every sum is written out, in the order
of the inputs, and no compiler may reorder or contract anything (no fastmath). Only powers that are not whole
are the C library's.

The inputs are drawn before the call. What compiled code calls is a `helper` (jit.py says why the bits depend
on it).
"""

from __future__ import annotations

import numpy as np

from ..jit import compiled, helper
from .arithmetic import HALF, ONE, TWO, ZERO, along_line_to_a_power, along_lines, slope_of
from .vectors import absolute, add_parts, dot_parts, fma, load, load_each, splat, sqrt, store, where

LANES = 16  # models in a tile
INPUTS = 4  # at a time
_BLOCK = INPUTS * LANES


@helper()
def _leaky(z, leak):  # a ReLU for leak 0, the identity for leak 1; passes NaN on
    return where(z <= ZERO, leak * z, z)


@helper(error_model="numpy")
def _slopes(r, q, room):
    """Slopes of |r|^q by r, over q; room (_BLOCK,)."""
    if q == np.floor(q) and q > ONE:
        size, slope, times = absolute(r), r, int(q) - 2
        for _ in range(times):
            slope = slope * size
        return slope
    store(room, 0, r)
    for lane in range(room.size):
        room[lane] = slope_of(room[lane], q)
    return load(room, 0, _BLOCK)


@helper(error_model="numpy")
def _along_lines_to_a_power(a, b, t, leak, slope, q, room):
    """As `along_lines` for |r|^q, lane by lane: mean of |r|^q and its slopes over q; room (3, _BLOCK)."""
    store(room, 0, a)
    store(room, 1, b + splat(ZERO, _BLOCK))
    store(room, 2, t)
    for lane in range(room.shape[1]):
        each, by_a, by_b = along_line_to_a_power(room[0, lane], room[1, lane], room[2, lane], leak, slope, q)
        room[0, lane], room[1, lane], room[2, lane] = q * each, by_a, by_b
    return load(room, 0, _BLOCK), load(room, 1, _BLOCK), load(room, 2, _BLOCK)


@helper(error_model="numpy")
def _enter(w_in, inputs, first, n_here, noise, leak, dense, hidden, target):
    """Fill hidden with h of the inputs from `first`, and target with what is active in them."""
    count, index, value = inputs
    n_features, n_hidden = target.shape[0], hidden.shape[0]
    for k in range(n_here):
        for a in range(count[first + k]):
            target[index[first + k, a], k] = value[first + k, a]
    for j in range(n_hidden if dense else 0):
        h = splat(ZERO, _BLOCK)
        for i in range(n_features):
            h = fma(load(w_in, i * n_hidden + j, LANES), load_each(target, i, INPUTS, LANES), h)
        store(hidden, j, _leaky(h, leak))
    for k in range(0 if dense else INPUTS):
        n_active = count[first + k] if k < n_here else 0
        for j in range(n_hidden):
            h = splat(noise[first + k, j] if noise.size and k < n_here else ZERO, LANES)
            for a in range(n_active):
                at = np.int64(index[first + k, a]) * n_hidden + j
                h = fma(load(w_in, at, LANES), value[first + k, a], h)
            store(hidden, j * INPUTS + k, _leaky(h, leak))


@helper(error_model="numpy")
def _return(grad_hidden, inputs, first, n_here, dense, learn, g_in, target):
    """Add the gradients of the input weights, of these inputs, to g_in; clear target."""
    count, index, value = inputs
    n_features, n_hidden = target.shape[0], grad_hidden.shape[0]
    for j in range(n_hidden if learn and dense else 0):
        back = load(grad_hidden, j, _BLOCK)
        for i in range(n_features):
            at = i * n_hidden + j
            store(g_in, at, dot_parts(back, load_each(target, i, INPUTS, LANES), load(g_in, at, LANES)))
    for k in range(n_here):
        for a in range(count[first + k]):
            active, v = np.int64(index[first + k, a]), value[first + k, a]
            target[active, k] = ZERO
            for j in range(n_hidden if learn and not dense else 0):
                at = active * n_hidden + j
                back = load(grad_hidden, j * INPUTS + k, LANES)
                store(g_in, at, fma(back, v, load(g_in, at, LANES)))


@helper(error_model="numpy")
def _batch(
    weights, gradients, factor, inputs, line_weight, noise, absolute_target, leaks, cost, q, learn, loss, work
):  # fmt: skip
    """Add q times a batch's loss and, to learn, its gradients, times the batch size, to loss and gradients.

    Shapes: weights, gradients: input and output weights (n_features n_hidden, LANES), biases (n_features,
            LANES); factor (n_features, LANES), q times the importance; loss (LANES,), in double precision;
            inputs: count (batch,), index, value (batch, n_features); noise (batch, n_hidden), of the hidden
            layer, or (0, n_hidden) if there is none; line_weight (0,), or (batch,): then the inputs are the
            ends of lines, counted whole (strata.py), each that many times. work: hidden, its gradient
            (n_hidden, _BLOCK), slopes (n_features, _BLOCK), target (n_features, INPUTS), times (INPUTS,),
            room (3, _BLOCK).
    """
    w_in, w_out, b = weights
    g_in, g_out, g_b = gradients
    hidden, grad_hidden, slopes, target, times, room = work
    hidden_leak, output_leak, output_slope = leaks
    count, on_lines = inputs[0], line_weight.size > 0
    n_features, n_hidden = target.shape[0], hidden.shape[0]
    for first in range(0, count.size, INPUTS):
        n_here, n_active = min(INPUTS, count.size - first), 0
        for k in range(INPUTS):  # the last four may not all be there
            times[k] = ZERO if k >= n_here else (line_weight[first + k] if on_lines else ONE)
            n_active += count[first + k] if k < n_here else 0
        here = load_each(times, 0, INPUTS, LANES)
        dense = noise.size == 0 and 2 * n_active > INPUTS * n_features
        _enter(w_in, inputs, first, n_here, noise, hidden_leak, dense, hidden, target)

        block_loss = splat(ZERO, _BLOCK)
        for i in range(n_features):
            bias, size = load(b, i, LANES), load(factor, i, LANES)
            o = splat(ZERO, _BLOCK) if on_lines else bias + splat(ZERO, _BLOCK)
            for j in range(n_hidden):
                o = fma(load(w_out, i * n_hidden + j, LANES), load(hidden, j, _BLOCK), o)
            t = load_each(target, i, INPUTS, LANES)
            if absolute_target:
                t = absolute(t)
            if on_lines:
                if q == TWO:
                    each, by_a, by_b = along_lines(o, bias, t, output_leak, output_slope)
                else:
                    each, by_a, by_b = _along_lines_to_a_power(o, bias, t, output_leak, output_slope, q, room)
                each_size = here * size
                block_loss = fma(each_size, each, block_loss)
                d, by_b = each_size * by_a, each_size * by_b
            else:
                r = _leaky(o, output_leak) - t
                if n_here < INPUTS:
                    r = r * here
                d = size * (r if q == TWO else _slopes(r, q, room[0]))
                block_loss = fma(d, r, block_loss)
                d = where(o <= ZERO, output_slope * d, d)
                by_b = d
            if learn:
                store(slopes, i, d)
                store(g_b, i, add_parts(by_b, load(g_b, i, LANES)))
        for j in range(n_hidden if cost > ZERO else 0):
            each_cost = (HALF if on_lines else ONE) * cost * here  # a half is the mean of v
            block_loss = fma(q * each_cost, absolute(load(hidden, j, _BLOCK)), block_loss)
        store(room, 0, add_parts(block_loss, splat(ZERO, LANES)))
        for lane in range(loss.size):  # few numbers are added up in single precision
            loss[lane] += room[0, lane]

        for j in range(n_hidden if learn else 0):
            h, back = load(hidden, j, _BLOCK), splat(ZERO, _BLOCK)
            if cost > ZERO:
                sign = where(h <= ZERO, where(ZERO <= h, ZERO, -ONE), ONE)
                back = (HALF if on_lines else ONE) * cost * here * sign
            for i in range(n_features):
                at, d = i * n_hidden + j, load(slopes, i, _BLOCK)
                back = fma(load(w_out, at, LANES), d, back)
                store(g_out, at, dot_parts(h, d, load(g_out, at, LANES)))
            store(grad_hidden, j, where(h <= ZERO, hidden_leak * back, back))
        _return(grad_hidden, inputs, first, n_here, dense, learn, g_in, target)


@helper(error_model="numpy")
def _adam(p, mean, square, gradient, scale, lr, beta1, beta2, eps, decay, step):
    """One step of Adam on arrays (rows, LANES), as `arithmetic.adam`; the gradient is cleared."""
    first, second = np.float32(beta1), np.float32(beta2)
    other1, other2 = np.float32(1 - beta1), np.float32(1 - beta2)
    down = np.float32(-lr / (1 - beta1**step))
    root = np.float32(1 / np.sqrt(1 - beta2**step))
    small, kept = np.float32(eps), np.float32(1 - lr * decay)
    for row in range(p.shape[0]):
        g = scale * load(gradient, row, LANES)
        m = fma(first, load(mean, row, LANES), other1 * g)
        v = fma(second, load(square, row, LANES), other2 * (g * g))
        store(gradient, row, splat(ZERO, LANES))
        store(mean, row, m)
        store(square, row, v)
        moved = down * m / fma(root, sqrt(v), small)
        store(p, row, fma(kept, load(p, row, LANES), moved))


@compiled(nogil=True, error_model="numpy")
def steps_side_by_side(
    state, importance, inputs, lines, noise, work, kind, constants, steps, lr, revival, total
):  # fmt: skip
    """Train every tile for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_tiles, rows, LANES): parameters, Adam's two moments, gradient; rows are the input
            weights, the output weights if untied, the biases. importance (n_tiles, n_features, LANES);
            steps, lr, revival (n_steps,); total (n_tiles, LANES).
    """
    count, index, value = inputs
    untied, absolute_target, hidden_leak, output_leak = kind
    line_count, line_index, line_value, line_weight = lines
    beta1, beta2, eps, activity_cost, empty_weight, decay, exponent, sampled = constants
    q = np.float32(exponent)
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    share, cost = np.float32(sampled), np.float32(activity_cost)
    of_lines, of_sampled = np.empty_like(importance[0]), np.empty_like(importance[0])
    loss, room = np.empty(LANES), work[-1]
    for tile in range(importance.shape[0]):
        p, g = state[0, tile], state[3, tile]
        weights, gradients = (p[:size], p[low:high], p[high:]), (g[:size], g[low:high], g[high:])
        of_lines[:] = q * importance[tile]
        of_sampled[:] = share * of_lines
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss[:] = 0
            batch, weight = (count[first:last], index[first:last], value[first:last]), line_weight[:0]
            shifts, factor, price = noise[first:last], of_sampled, share * cost
            for _ in range(2 if line_weight.size else 1):  # what is sampled, and then the lines
                _batch(
                    weights, gradients, factor, batch, weight, shifts, absolute_target, leaks, price, q, True,
                    loss, work,
                )  # fmt: skip
                batch, weight = (line_count, line_index, line_value), line_weight
                shifts, factor, price = noise[:0], of_lines, cost
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                bias = load(weights[2], i, LANES) + splat(ZERO, _BLOCK)
                y = _leaky(bias, output_leak)
                d = empties * load(of_lines, i, LANES) * _slopes(y, q, room[0])
                store(room, 0, d * y)
                for lane in range(LANES):
                    loss[lane] += room[0, lane]
                store(room, 0, where(bias <= ZERO, output_leak * d, d))
                store(gradients[2], i, load(gradients[2], i, LANES) + load(room, 0, LANES))
            for lane in range(LANES):
                total[tile, lane] += loss[lane] * scale / q
            _adam(p, state[1, tile], state[2, tile], g, scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1)


@compiled(nogil=True, error_model="numpy")
def losses_side_by_side(parameters, importance, inputs, work, kind, exponent, n_part, sums):
    """Add up the loss on parts of n_part inputs, and the square of each part's sum over its inputs.

    Shapes: sums (2, n_tiles, LANES); n_part a divisor of 512; others as for `steps_side_by_side`.
    """
    count, index, value = inputs
    untied, absolute_target, hidden_leak, output_leak = kind
    q = np.float32(exponent)
    size = importance.shape[1] * work[0].shape[0]
    low, high = (size, 2 * size) if untied else (0, size)
    leaks = hidden_leak, output_leak, output_leak
    no_lines, no_noise = np.empty(0, np.float32), np.zeros((0, work[0].shape[0]), np.float32)
    loss = np.empty(LANES)
    for tile in range(importance.shape[0]):
        p, factor = parameters[tile], q * importance[tile]
        weights = p[:size], p[low:high], p[high:]
        for first in range(0, count.size, n_part):
            last = min(count.size, first + n_part)
            loss[:] = 0
            _batch(
                weights, weights, factor, (count[first:last], index[first:last], value[first:last]), no_lines,
                no_noise, absolute_target, leaks, ZERO, q, False, loss, work,
            )  # fmt: skip
            for lane in range(LANES):
                each = loss[lane] / q
                sums[0, tile, lane] += each
                sums[1, tile, lane] += each**2 / (last - first)
