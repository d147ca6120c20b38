"""Compiled training of one model at a time (engine "single"): dense products of matrices in register tiles.

For models too large or too few to fill the lanes of side_by_side.py. A batch is worked on in *panels* of 32
inputs, and of a panel a block of features at a time. All that is dense is one function, `_multiply`:

                         columns of B: 32 inputs, or the hidden units
                           B[k]  b b b b b b b b b b b b b b b b
                                 ------------------------------- k = 0, 1, .. depth, in this order
         A[:, k]          a |    +=  +=  +=  +=  +=  +=  +=  +=
       ROWS features,     a |    +=  a tile of C, in registers
       or hidden units    a |    +=  ROWS x COLUMNS sums       +=

In each turn a row of B is loaded and ROWS numbers of A, and every sum of the tile is moved by one product:
for AVX-512 two loads and ten numbers serve twenty instructions of 16 sums each. C meets memory at the start
and the end only. With h (m, 32) hidden units, x, y (n, 32) inputs and gradients at the outputs, and weights W
(n, m), whose gradient is G, the five products of a panel are

    h = W_in' x        y = W_out h        G_out += y h'        g = W_out' y        G_in += x g'

in which A is read along either axis, so that only h and g are ever transposed. Where few features are active
in a batch, the first and the last go over those alone: a sum skips what would add zero.

Each sum runs over one axis, in order, from the first to the last: so its bits depend neither on the size of
tiles, which the processor decides, nor on where in memory it lies. Sums over all inputs (of the loss, of the
biases' gradient) run in 16 lanes on every processor. Nothing here may be reordered by the compiler. Sizes are
filled up with zeros, which stay zero and enter no sum that is kept.
"""

from __future__ import annotations

import numpy as np

from ..jit import compiled, helper
from .arithmetic import HALF, ONE, TWO, ZERO, leaky, slope_of
from .errors import PANEL, errors
from .registers import (
    COLUMNS,
    LANES,
    ROWS,
    add_outer,
    load,
    load_tile,
    spread,
    store,
    store_tile,
    total,
    transpose,
    zeros,
)  # fmt: skip
from .vectors import absolute as magnitude
from .vectors import fma, sqrt, where

BLOCK = 40 // ROWS * ROWS  # features whose y, W and G stay in the fastest cache
DENSE = 0.25  # share of active features from which dense products of the inputs are faster


def row_of(n_hidden: int) -> int:
    """Length of a row of weights: whole tiles of hidden units, in whole panels."""
    return -(-(-(-n_hidden // ROWS) * ROWS) // PANEL) * PANEL


def rows_of(n_features: int) -> int:
    """Number of rows of weights: whole tiles of features."""
    return -(-n_features // ROWS) * ROWS


@helper(error_model="numpy")
def _multiply(c, c_row, a, a_row, a_next, b, b_row, rows, columns, depth, fresh):
    """C (rows, columns) = or += A (rows, depth) B (depth, columns); rows and columns are filled up to tiles.

    Rows of B and C lie b_row and c_row apart; those of A a_row, its columns a_next.
    """
    for r in range(0, rows, ROWS):
        for column in range(0, columns, COLUMNS):
            tile = zeros() if fresh else load_tile(c, r * c_row + column, c_row)
            for k in range(depth):
                tile = add_outer(tile, a, r * a_row + k * a_next, a_row, b, column + k * b_row)
            store_tile(c, r * c_row + column, c_row, tile)


@helper(error_model="numpy")
def _transpose(from_, from_row, to, to_row, rows, columns):
    """rows and columns are filled up to squares."""
    for r in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            transpose(from_, r * from_row + column, from_row, to, column * to_row + r, to_row)


@helper(error_model="numpy")
def _fill(x, count, index, value):
    """Set the inputs of a panel x (n_features, PANEL), flat and zero before."""
    for k in range(count.size):
        for a in range(count[k]):
            x[index[k, a] * PANEL + k] = value[k, a]


@helper(error_model="numpy")
def _clear(x, count, index):
    """Undo `_fill`."""
    for k in range(count.size):
        for a in range(count[k]):
            x[index[k, a] * PANEL + k] = ZERO


@helper(error_model="numpy")
def _gather(rows, row, n_hidden, w, count, index, value):
    """Hidden units (PANEL, row) before noise and ReLU, from the active features."""
    for k in range(PANEL):
        for j in range(0, n_hidden, 2 * LANES):
            left = right = spread(ZERO)
            for a in range(count[k] if k < count.size else 0):
                at, v = index[k, a] * row + j, spread(value[k, a])
                left, right = fma(v, load(w, at), left), fma(v, load(w, at + LANES), right)
            store(rows, k * row + j, left)
            store(rows, k * row + j + LANES, right)


@helper(error_model="numpy")
def _scatter(grad, row, n_hidden, rows, count, index, value):
    """Add to the input weights' gradient, from the active features and the hidden units' gradient."""
    for k in range(count.size):
        for j in range(0, n_hidden, 2 * LANES):
            left, right = load(rows, k * row + j), load(rows, k * row + j + LANES)
            for a in range(count[k]):
                at, v = index[k, a] * row + j, spread(value[k, a])
                store(grad, at, fma(v, left, load(grad, at)))
                store(grad, at + LANES, fma(v, right, load(grad, at + LANES)))


@helper(error_model="numpy")
def _panel(
    w_in, w_out, b, importance, x, count, index, value, noise, times, on_lines, dense, kind, slope, cost, q,
    g_in, g_out, grad_b, loss, n_features, n_hidden, row, work,
):  # fmt: skip
    """Add a panel's loss to loss (LANES,), and its gradients, times the batch size, to g_in, g_out, grad_b.

    Shapes, all but the inputs' flat: w_in, w_out, g_in, g_out (importance.size, row); x (importance.size,
            PANEL), in dense form what count, index, value hold of its first count.size inputs; noise (that
            many or none, n_hidden); grad_b, times as in errors.py. work: rows (PANEL, row), a panel's hidden
            units and then their gradient; h, g (row, PANEL), the same transposed; y (BLOCK, PANEL); and two
            (PANEL,). cost is that of hidden activity.
    """
    _, absolute, hidden_leak, output_leak = kind
    rows, h, g, y, each, by_b = work
    n_filled = importance.size
    if dense:
        _multiply(h, PANEL, w_in, 1, row, x, PANEL, n_hidden, PANEL, n_features, True)
        _transpose(h, PANEL, rows, row, n_hidden, PANEL)
    else:
        _gather(rows, row, n_hidden, w_in, count, index, value)
    for k in range(noise.shape[0]):
        for j in range(n_hidden):
            rows[k * row + j] += noise[k, j]
    leak, nothing, one = spread(hidden_leak), spread(ZERO), spread(ONE)
    for at in range(0, PANEL * row, LANES):
        v = load(rows, at)
        store(rows, at, where(v <= ZERO, leak * v, v))
    _transpose(rows, row, h, PANEL, PANEL, n_hidden)
    g[:] = ZERO
    for i in range(0, n_filled, BLOCK):
        n_here = min(BLOCK, n_filled - i)
        target, of_block = x[i * PANEL :], w_out[i * row :]
        _multiply(y, PANEL, of_block, row, 1, h, PANEL, n_here, PANEL, n_hidden, True)
        errors(
            y, target, b[i:], importance[i:], times, absolute, output_leak, slope, n_here, on_lines, q, loss,
            grad_b[i * LANES :], each, by_b,
        )  # fmt: skip
        _multiply(g_out[i * row :], row, y, PANEL, 1, rows, row, n_here, n_hidden, PANEL, False)
        _multiply(g, PANEL, of_block, 1, row, y, PANEL, n_hidden, PANEL, min(n_here, n_features - i), False)
    for at in range(0, n_hidden * PANEL, LANES):
        v, slope_h = load(h, at), load(g, at)
        if cost > ZERO:
            price = spread(cost) * load(times, at % PANEL)
            store(loss, 0, fma(price, magnitude(v), load(loss, 0)))
            sign = where(v <= ZERO, where(nothing - v <= ZERO, nothing, nothing - one), one)
            slope_h = fma(price, sign, slope_h)
        store(g, at, where(v <= ZERO, leak * slope_h, slope_h))
    _transpose(g, PANEL, rows, row, n_hidden, PANEL)
    if dense:
        _multiply(g_in, row, x, PANEL, 1, rows, row, n_filled, n_hidden, PANEL, False)
    else:
        _scatter(g_in, row, n_hidden, rows, count, index, value)


@helper(error_model="numpy")
def _adam(parameters, mean, square, gradient, scale, lr, beta1, beta2, eps, decay, step):
    """`arithmetic.adam` in vectors, whose rounding is the same everywhere."""
    first, second = spread(np.float32(beta1)), spread(np.float32(beta2))
    other1, other2 = spread(np.float32(1 - beta1)), spread(np.float32(1 - beta2))
    rate, small = spread(np.float32(lr / (1 - beta1**step))), spread(np.float32(eps))
    correction, kept = spread(np.float32(1 / np.sqrt(1 - beta2**step))), spread(np.float32(1 - lr * decay))
    scale, nothing = spread(scale), spread(ZERO)
    for at in range(0, parameters.size, LANES):
        g = load(gradient, at) * scale
        m = fma(first, load(mean, at), other1 * g)
        s = fma(second, load(square, at), other2 * (g * g))
        store(gradient, at, nothing)
        store(mean, at, m)
        store(square, at, s)
        store(parameters, at, kept * load(parameters, at) - rate * m / fma(sqrt(s), correction, small))


@compiled(nogil=True, error_model="numpy")
def steps_in_tiles(
    state, importance, inputs, lines, noise, work, kind, constants, steps, lr, revival, total_loss
):  # fmt: skip
    """Train every model for these steps, on inputs drawn for all of them; add each step's loss to total_loss.

    Shapes: state (4, n_instances, size): parameters, Adam's two moments, gradient; of a model the input
            weights (rows_of(n_features), row_of(n_hidden)), the output weights if untied, the biases, and
            zeros up to whole vectors. importance (n_instances, rows_of(n_features)); steps, lr, revival
            (n_steps,); total_loss (n_instances,). work: x (panels of all steps, rows_of * PANEL), zeros
            (rows_of * PANEL,), times, grad_b, loss, and the work of `_panel`.
    """
    count, index, value = inputs
    untied, _, _, output_leak = kind
    line_count, line_index, line_value, line_weight = lines
    beta1, beta2, eps, activity_cost, empty_weight, decay, q, sampled = constants
    x, x_of_lines, times, grad_b, loss = work[:5]
    exponent, share, cost = np.float32(q), np.float32(sampled), np.float32(activity_cost)
    n_features, n_hidden, n_filled = index.shape[1], noise.shape[1], importance.shape[1]
    row, batch_size = work[5].size // PANEL, count.size // steps.size
    length = n_filled * row
    low, high = (length, 2 * length) if untied else (0, length)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    n_panels = -(-batch_size // PANEL)
    active = np.zeros(steps.size)
    for s in range(steps.size):
        for panel in range(n_panels):
            first, last = (
                s * batch_size + panel * PANEL,
                s * batch_size + min(batch_size, (panel + 1) * PANEL),
            )
            x[s * n_panels + panel] = ZERO
            _fill(x[s * n_panels + panel], count[first:last], index[first:last], value[first:last])
            active[s] += count[first:last].sum()
    for k in range(importance.shape[0]):
        p, g, of_sampled = state[0, k], state[3, k], share * importance[k]
        w_in, w_out, b = p[:length], p[low:high], p[high:]
        g_in, g_out, g_b = g[:length], g[low:high], g[high:]
        for s in range(steps.size):
            summed, slope = 0.0, max(output_leak, np.float32(revival[s]))
            dense = active[s] > DENSE * batch_size * n_features
            for panel in range(n_panels + -(-line_weight.size // PANEL)):
                on_lines = panel >= n_panels
                first = (panel - n_panels if on_lines else panel) * PANEL
                last = min(first + PANEL, line_weight.size if on_lines else batch_size)
                for lane in range(PANEL):
                    there = first + lane < last
                    times[lane] = (line_weight[first + lane] if on_lines else ONE) if there else ZERO
                if on_lines:
                    counts, indices, values = (
                        line_count[first:last],
                        line_index[first:last],
                        line_value[first:last],
                    )
                    inputs_here, noise_here = x_of_lines, noise[:0]
                    _fill(x_of_lines, counts, indices, values)
                else:
                    inputs_here, noise_here = (
                        x[s * n_panels + panel],
                        noise[first + s * batch_size : last + s * batch_size],
                    )
                    first, last = first + s * batch_size, last + s * batch_size
                    counts, indices, values = count[first:last], index[first:last], value[first:last]
                _panel(
                    w_in, w_out, b, importance[k] if on_lines else of_sampled,
                    inputs_here, counts, indices, values, noise_here, times, on_lines,
                    dense and not on_lines, kind, slope, HALF * cost if on_lines else share * cost, exponent,
                    g_in, g_out, grad_b, loss, n_features, n_hidden, row, work[5:],
                )  # fmt: skip
                if on_lines:
                    _clear(x_of_lines, counts, indices)
                for lane in range(LANES):
                    summed += loss[lane]
                    loss[lane] = ZERO
            for i in range(n_filled):
                g_b[i] = total(load(grad_b, i * LANES))
                store(grad_b, i * LANES, spread(ZERO))
                # the empty input, counted exactly: only the biases meet it
                y = leaky(b[i], output_leak)
                error = empties * importance[k, i] * (y if exponent == TWO else slope_of(y, exponent))
                summed += error * y
                g_b[i] += exponent * error * (output_leak if b[i] <= ZERO else ONE)
            total_loss[k] += summed * scale
            _adam(p, state[1, k], state[2, k], g, scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1)
