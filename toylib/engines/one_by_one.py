"""Compiled training with inputs side by side (engine "single"), one model at a time.

The inner loops run over the WIDTH inputs of a part of a batch. For models too large or too few to fill the
lanes of side_by_side.py, which says how such loops are kept fast. Outputs are worked on in fours, and hidden
units in fours, so that what is loaded is used four times; sizes are filled up to multiples of four with
zeros, which stay zero. Only the active features of an input are touched where it enters.
"""

from __future__ import annotations

import numpy as np

from ..jit import compiled, helper
from .arithmetic import HALF, ONE, TWO, ZERO, adam, along_line, along_line_to_a_power, leaky, slope_of

WIDTH = 256

_W1, _W2, _W3 = (np.uint64(k * WIDTH) for k in range(1, 4))


@helper(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _batch_of_one(
    w_in, w_out, b, importance, count, index, value, line_weight, noise, absolute, leaks, cost, exponent,
    g_in, g_out, g_b, work,
):  # fmt: skip
    """Return a batch's summed loss; add its gradients, times the batch size, to g_in, g_out, g_b.

    Shapes: w_in, w_out, g_in, g_out (n_features, n_hidden), b, importance, g_b (n_features,), multiples of
            four; count (batch,), index, value (batch, real n_features); noise (batch, real n_hidden), or
            (0, ...) if there is none; line_weight as in side_by_side.py. work: rows (WIDTH, n_hidden);
            hidden, its gradient (n_hidden / 4, 4 WIDTH); output (4 WIDTH,); target (n_features, WIDTH).
    """
    rows, hidden, grad_hidden, output, target = work
    hidden_leak, output_leak, output_slope = leaks
    n_features, n_hidden = w_in.shape
    loss, on_lines = 0.0, line_weight.size > 0
    for first in range(0, count.size, WIDTH):
        n_here = min(WIDTH, count.size - first)
        times = line_weight[first:]
        lanes = np.uint64(n_here)
        for k in range(n_here):
            row = rows[k]
            for j in range(n_hidden):
                row[j] = ZERO
            for j in range(noise.shape[1] if noise.size else 0):
                row[j] = noise[first + k, j]
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = abs(v) if absolute else v
                w = w_in[i]
                for j in range(n_hidden):
                    row[j] += v * w[j]
        for j in range(n_hidden):  # from here on inputs lie side by side
            h = hidden[j // 4, j % 4 * WIDTH :]
            for k in range(n_here):
                h[k] = leaky(rows[k, j], hidden_leak)
        grad_hidden[:] = ZERO
        for i in range(0, n_features, 4):
            for k in range(4):
                o, bias = output[k * WIDTH :], ZERO if on_lines else b[i + k]
                for lane in range(lanes):
                    o[lane] = bias
            for j in range(0, n_hidden, 4):
                h = hidden[j // 4]
                for k in range(0, 4, 2):
                    o, w, u = output[k * WIDTH :], w_out[i + k, j:], w_out[i + k + 1, j:]
                    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
                    u0, u1, u2, u3 = u[0], u[1], u[2], u[3]
                    for lane in range(lanes):
                        h0, h1, h2, h3 = h[lane], h[lane + _W1], h[lane + _W2], h[lane + _W3]
                        o[lane] += (w0 * h0 + w1 * h1) + (w2 * h2 + w3 * h3)
                        o[lane + _W1] += (u0 * h0 + u1 * h1) + (u2 * h2 + u3 * h3)
            for k in range(4):
                o, t, factor = output[k * WIDTH :], target[i + k], exponent * importance[i + k]
                powers = grad = ZERO
                if on_lines and exponent == TWO:
                    bias = b[i + k]
                    for lane in range(lanes):
                        each, by_a, by_b = along_line(o[lane], bias, t[lane], output_leak, output_slope)
                        powers += times[lane] * each
                        o[lane] = factor * times[lane] * by_a
                        grad += factor * times[lane] * by_b
                    powers *= TWO
                elif on_lines:
                    bias = b[i + k]
                    for lane in range(lanes):
                        each, by_a, by_b = along_line_to_a_power(
                            o[lane], bias, t[lane], output_leak, output_slope, exponent
                        )
                        powers += exponent * times[lane] * each
                        o[lane] = factor * times[lane] * by_a
                        grad += factor * times[lane] * by_b
                elif exponent == TWO:
                    for lane in range(lanes):
                        r = leaky(o[lane], output_leak) - t[lane]
                        powers += r * r
                        r *= factor * (output_slope if o[lane] <= ZERO else ONE)
                        o[lane] = r
                        grad += r
                else:
                    for lane in range(lanes):
                        r = leaky(o[lane], output_leak) - t[lane]
                        slope = slope_of(r, exponent)
                        powers += slope * r
                        slope *= factor * (output_slope if o[lane] <= ZERO else ONE)
                        o[lane] = slope
                        grad += slope
                loss += importance[i + k] * powers
                g_b[i + k] += grad
            for j in range(0, n_hidden, 2):
                h, g = hidden[j // 4, j % 4 * WIDTH :], grad_hidden[j // 4, j % 4 * WIDTH :]
                a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = ZERO
                for lane in range(lanes):
                    h0, h1 = h[lane], h[lane + _W1]
                    r0, r1, r2, r3 = output[lane], output[lane + _W1], output[lane + _W2], output[lane + _W3]
                    a0 += r0 * h0
                    a1 += r1 * h0
                    a2 += r2 * h0
                    a3 += r3 * h0
                    c0 += r0 * h1
                    c1 += r1 * h1
                    c2 += r2 * h1
                    c3 += r3 * h1
                w0, w1, w2, w3 = w_out[i, j], w_out[i + 1, j], w_out[i + 2, j], w_out[i + 3, j]
                u0, u1 = w_out[i, j + 1], w_out[i + 1, j + 1]
                u2, u3 = w_out[i + 2, j + 1], w_out[i + 3, j + 1]
                for lane in range(lanes):
                    r0, r1, r2, r3 = output[lane], output[lane + _W1], output[lane + _W2], output[lane + _W3]
                    g[lane] += (w0 * r0 + w1 * r1) + (w2 * r2 + w3 * r3)
                    g[lane + _W1] += (u0 * r0 + u1 * r1) + (u2 * r2 + u3 * r3)
                for k, one, other in ((0, a0, c0), (1, a1, c1), (2, a2, c2), (3, a3, c3)):
                    g_out[i + k, j] += one
                    g_out[i + k, j + 1] += other
        for j in range(n_hidden):
            h, g = hidden[j // 4, j % 4 * WIDTH :], grad_hidden[j // 4, j % 4 * WIDTH :]
            if cost > ZERO and on_lines:
                for lane in range(lanes):  # a half is the mean of v
                    loss += HALF * cost * times[lane] * abs(h[lane])
                    g[lane] += HALF * cost * times[lane] * np.sign(h[lane])
            elif cost > ZERO:
                for lane in range(lanes):
                    loss += cost * abs(h[lane])
                    g[lane] += cost * np.sign(h[lane])
            for k in range(n_here):
                rows[k, j] = g[k] * (hidden_leak if h[k] <= ZERO else ONE)
        for k in range(n_here):
            row = rows[k]
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = ZERO
                grad_in = g_in[i]
                for j in range(n_hidden):
                    grad_in[j] += v * row[j]
    return loss


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def steps_one_by_one(
    state, importance, inputs, lines, noise, work, kind, constants, steps, lr, revival, total
):  # fmt: skip
    """Train every model for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_instances, size): parameters, Adam's two moments, gradient; of a model the input
            weights (n_features, n_hidden), the output weights if untied, the biases, filled up to multiples
            of four. importance (n_instances, n_features); steps, lr, revival (n_steps,);
            total (n_instances,).
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    line_count, line_index, line_value, line_weight = lines
    beta1, beta2, eps, activity_cost, empty_weight, decay, q, sampled = constants
    exponent = np.float32(q)
    n_features, n_hidden = importance.shape[1], work[0].shape[1]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    share, cost, no_lines = np.float32(sampled), np.float32(activity_cost), np.empty(0, np.float32)
    for k in range(importance.shape[0]):
        p, g, weight, of_sampled = state[0, k], state[3, k], importance[k], share * importance[k]
        w_in, w_out, b = p[:size].reshape(shape), p[low:high].reshape(shape), p[high:]
        g_in, g_out, g_b = g[:size].reshape(shape), g[low:high].reshape(shape), g[high:]
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss = _batch_of_one(
                w_in, w_out, b, of_sampled, count[first:last], index[first:last], value[first:last], no_lines,
                noise[first:last], absolute, leaks, share * cost, exponent, g_in, g_out, g_b, work,
            )  # fmt: skip
            if line_weight.size:
                loss += _batch_of_one(
                    w_in, w_out, b, weight, line_count, line_index, line_value, line_weight,
                    noise[:0], absolute, leaks, cost, exponent, g_in, g_out, g_b, work,
                )  # fmt: skip
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                y = leaky(b[i], output_leak)
                error = empties * weight[i] * (y if exponent == TWO else slope_of(y, exponent))
                loss += error * y
                g_b[i] += exponent * error * (output_leak if b[i] <= ZERO else ONE)
            total[k] += loss * scale
            adam(p, state[1, k], state[2, k], g, scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1)
