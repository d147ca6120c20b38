"""Compiled training with models side by side (engine "kernel"): a batch's loss and gradients, and Adam.

A tile is LANES models that see the same inputs. Every array of a tile ends in an axis of LANES, and every
inner loop runs over that axis: the compiler turns it into vector instructions, and a model gets the same
arithmetic in every lane, whoever its neighbours are. Four inputs are worked on together, so that a weight is
loaded once for four. Only the active features of an input are touched where it enters.

Three things keep the inner loops fast, here and in one_by_one.py. Rows of one array lie a constant apart
(_1 to _7, _W1 to _W3): otherwise the compiler guards each loop against rows that overlap. Offsets are
unsigned: otherwise it guards against negative indices. The number of turns is read from an array: a loop of
known length is unrolled before it can become vector instructions. Together they are worth a factor of two to
four.

The inputs are drawn before the call. What compiled code calls is a `helper` (jit.py says why the bits depend
on it).
"""

from __future__ import annotations

import numpy as np

from ..jit import compiled, helper
from .arithmetic import HALF, ONE, TWO, ZERO, adam, along_line, along_line_to_a_power, leaky, slope_of

LANES = 32

_1, _2, _3, _4, _5, _6, _7 = (np.uint64(k * LANES) for k in range(1, 8))


@helper(error_model="numpy", fastmath={"contract"})
def _batch(
    w_in,
    w_out,
    b,
    importance,
    count,
    index,
    value,
    line_weight,
    noise,
    absolute,
    leaks,
    cost,
    exponent,
    learn,
    g_in,
    g_out,
    g_b,
    loss,
    work,
):
    """Add a batch's loss and, to learn, its gradients, times the batch size, to loss and g_in, g_out, g_b.

    Shapes: w_in, w_out, g_in, g_out (n_features, n_hidden, LANES); b, importance, g_b (n_features, LANES);
            loss (LANES,); count (batch,), index, value (batch, n_features); noise (batch, n_hidden), of
            the hidden layer, or (0, n_hidden) if there is none; line_weight (0,), or (batch,): then the
            inputs are the ends of lines, counted whole (strata.py), each that many times. work: hidden
            (n_hidden, 8 LANES), h of four inputs and its gradient; output (4 LANES,); target
            (n_features, 4).
    """
    n_features, n_hidden = w_in.shape[0], w_in.shape[1]
    hidden, output, target = work
    hidden_leak, output_leak, output_slope = leaks
    lanes, four = np.uint64(loss.size), np.uint64(4 * loss.size)
    n_inputs, on_lines = count.size, line_weight.size > 0
    for first in range(0, n_inputs, 4):
        n_here = min(4, n_inputs - first)
        for j in range(n_hidden):
            row = hidden[j]
            for lane in range(four + four):
                row[lane] = ZERO
            for k in range(n_here if noise.size else 0):
                shift, part = noise[first + k, j], row[k * LANES :]
                for lane in range(lanes):
                    part[lane] = shift
        for k in range(n_here):
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = abs(v) if absolute else v
                for j in range(n_hidden):
                    row, w = hidden[j, k * LANES :], w_in[i, j]
                    for lane in range(lanes):
                        row[lane] += v * w[lane]
        for j in range(n_hidden):
            row = hidden[j]
            for lane in range(four):
                row[lane] = leaky(row[lane], hidden_leak)
        # one where there is an input, zero where the last four are not all there
        k1, k2, k3 = np.float32(n_here > 1), np.float32(n_here > 2), np.float32(n_here > 3)
        for i in range(n_features):
            bias, weight, grad_bias = b[i], importance[i], g_b[i]
            for lane in range(lanes):
                start = ZERO if on_lines else bias[lane]
                output[lane] = start
                output[lane + _1] = start
                output[lane + _2] = start
                output[lane + _3] = start
            for j in range(n_hidden):
                row, w = hidden[j], w_out[i, j]
                for lane in range(lanes):
                    output[lane] += w[lane] * row[lane]
                    output[lane + _1] += w[lane] * row[lane + _1]
                    output[lane + _2] += w[lane] * row[lane + _2]
                    output[lane + _3] += w[lane] * row[lane + _3]
            t0, t1, t2, t3 = target[i, 0], target[i, 1], target[i, 2], target[i, 3]
            if on_lines:
                for k in range(n_here):
                    t, part, factor = target[i, k], output[k * LANES :], exponent * line_weight[first + k]
                    if exponent == TWO:
                        for lane in range(lanes):
                            each, by_a, by_b = along_line(
                                part[lane], bias[lane], t, output_leak, output_slope
                            )
                            size = factor * weight[lane]
                            loss[lane] += size * each
                            part[lane] = size * by_a
                            grad_bias[lane] += size * by_b
                    else:
                        for lane in range(lanes):
                            each, by_a, by_b = along_line_to_a_power(
                                part[lane], bias[lane], t, output_leak, output_slope, exponent
                            )
                            size = factor * weight[lane]
                            loss[lane] += size * each
                            part[lane] = size * by_a
                            grad_bias[lane] += size * by_b
                for lane in range(n_here * lanes, four):  # no line there
                    output[lane] = ZERO
            elif exponent == TWO:
                for lane in range(lanes):
                    o0, o1, o2, o3 = output[lane], output[lane + _1], output[lane + _2], output[lane + _3]
                    r0 = leaky(o0, output_leak) - t0
                    r1 = (leaky(o1, output_leak) - t1) * k1
                    r2 = (leaky(o2, output_leak) - t2) * k2
                    r3 = (leaky(o3, output_leak) - t3) * k3
                    loss[lane] += weight[lane] * ((r0 * r0 + r1 * r1) + (r2 * r2 + r3 * r3))
                    double = TWO * weight[lane]
                    r0 *= double * (output_slope if o0 <= ZERO else ONE)
                    r1 *= double * (output_slope if o1 <= ZERO else ONE)
                    r2 *= double * (output_slope if o2 <= ZERO else ONE)
                    r3 *= double * (output_slope if o3 <= ZERO else ONE)
                    output[lane], output[lane + _1], output[lane + _2], output[lane + _3] = r0, r1, r2, r3
                    grad_bias[lane] += (r0 + r1) + (r2 + r3)
            else:
                for k in range(n_here):
                    t, part = target[i, k], output[k * LANES :]
                    for lane in range(lanes):
                        r = leaky(part[lane], output_leak) - t
                        slope = weight[lane] * slope_of(r, exponent)
                        loss[lane] += slope * r
                        slope *= exponent * (output_slope if part[lane] <= ZERO else ONE)
                        part[lane] = slope
                        grad_bias[lane] += slope
                for lane in range(n_here * lanes, four):  # no input there
                    output[lane] = ZERO
            for j in range(n_hidden if learn else 0):
                row, w, grad = hidden[j], w_out[i, j], g_out[i, j]
                for lane in range(lanes):
                    r0, r1, r2, r3 = output[lane], output[lane + _1], output[lane + _2], output[lane + _3]
                    grad[lane] += (r0 * row[lane] + r1 * row[lane + _1]) + (
                        r2 * row[lane + _2] + r3 * row[lane + _3]
                    )
                    row[lane + _4] += w[lane] * r0
                    row[lane + _5] += w[lane] * r1
                    row[lane + _6] += w[lane] * r2
                    row[lane + _7] += w[lane] * r3
        for j in range(n_hidden):
            row = hidden[j]
            if on_lines:
                for k in range(n_here if cost > ZERO else 0):
                    each = HALF * cost * line_weight[first + k]  # a half is the mean of v
                    part = row[k * LANES :]
                    for lane in range(lanes):
                        loss[lane] += each * abs(part[lane])
                        part[lane + _4] += each * np.sign(part[lane])
            elif cost > ZERO:
                for lane in range(lanes):
                    loss[lane] += cost * (
                        (abs(row[lane]) + abs(row[lane + _1])) + (abs(row[lane + _2]) + abs(row[lane + _3]))
                    )
                for lane in range(four):
                    row[lane + _4] += cost * np.sign(row[lane])
            for lane in range(four):
                row[lane + _4] *= hidden_leak if row[lane] <= ZERO else ONE
        for k in range(n_here):
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = ZERO
                for j in range(n_hidden if learn else 0):
                    row, grad = hidden[j, (4 + k) * LANES :], g_in[i, j]
                    for lane in range(lanes):
                        grad[lane] += v * row[lane]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def steps_side_by_side(
    state, importance, inputs, lines, noise, work, kind, constants, steps, lr, revival, total
):  # fmt: skip
    """Train every tile for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_tiles, rows, LANES): parameters, Adam's two moments, gradient; rows are the input
            weights, the output weights if untied, the biases. importance (n_tiles, n_features, LANES);
            steps, lr, revival (n_steps,); total (n_tiles, LANES).
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    line_count, line_index, line_value, line_weight = lines
    beta1, beta2, eps, activity_cost, empty_weight, decay, q, sampled = constants
    exponent = np.float32(q)
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    share, cost = np.float32(sampled), np.float32(activity_cost)
    of_sampled, no_lines = np.empty((n_features, LANES), np.float32), np.empty(0, np.float32)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p, g, weight = state[0, tile], state[3, tile], importance[tile]
        w_in, w_out, b = p[:size].reshape(shape), p[low:high].reshape(shape), p[high:]
        g_in, g_out, g_b = g[:size].reshape(shape), g[low:high].reshape(shape), g[high:]
        of_sampled[:] = share * weight
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss[:] = ZERO
            _batch(
                w_in, w_out, b, of_sampled, count[first:last], index[first:last], value[first:last], no_lines,
                noise[first:last], absolute, leaks, share * cost, exponent, True,
                g_in, g_out, g_b, loss, work,
            )  # fmt: skip
            if line_weight.size:
                _batch(
                    w_in, w_out, b, weight, line_count, line_index, line_value, line_weight,
                    noise[:0], absolute, leaks, cost, exponent, True, g_in, g_out, g_b, loss, work,
                )  # fmt: skip
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                for lane in range(LANES):
                    y = leaky(b[i, lane], output_leak)
                    error = empties * weight[i, lane] * (y if exponent == TWO else slope_of(y, exponent))
                    loss[lane] += error * y
                    g_b[i, lane] += exponent * error * (output_leak if b[i, lane] <= ZERO else ONE)
            for lane in range(LANES):
                total[tile, lane] += loss[lane] * scale
            adam(
                p.reshape(-1), state[1, tile].reshape(-1), state[2, tile].reshape(-1), g.reshape(-1),
                scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1,
            )  # fmt: skip


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def losses_side_by_side(parameters, importance, inputs, work, kind, exponent, n_part, sums):
    """Add up the loss on parts of n_part inputs, and the square of each part's sum over its inputs.

    Shapes: sums (2, n_tiles, LANES); n_part a divisor of 512; others as for `steps_side_by_side`.
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    leaks, unused = (hidden_leak, output_leak, output_leak), np.zeros((n_features, LANES), np.float32)
    no_lines, no_noise = np.empty(0, np.float32), np.zeros((0, work[0].shape[0]), np.float32)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p = parameters[tile]
        w_in, w_out = p[:size].reshape(shape), p[low:high].reshape(shape)
        for first in range(0, count.size, n_part):  # single precision adds up few numbers only
            last = min(count.size, first + n_part)
            loss[:] = ZERO
            _batch(
                w_in, w_out, p[high:], importance[tile], count[first:last], index[first:last],
                value[first:last], no_lines, no_noise, absolute, leaks, ZERO, np.float32(exponent), False,
                w_in, w_out, unused, loss, work,
            )  # fmt: skip
            for lane in range(LANES):
                sums[0, tile, lane] += loss[lane]
                sums[1, tile, lane] += np.float64(loss[lane]) ** 2 / (last - first)
