"""The compiled loops of training: a batch's loss and gradients, and Adam, in two layouts.

*Models side by side.* A tile is LANES models that see the same inputs. Every array of a tile ends in an
axis of LANES, and every inner loop runs over that axis: the compiler turns it into vector instructions, and
a model gets the same arithmetic in every lane, whoever its neighbours are. Four inputs are worked on
together, so that a weight is loaded once for four. Only the active features of an input are touched where
it enters.

*Inputs side by side.* One model at a time; the inner loops run over the WIDTH inputs of a part of a batch.
For models too large or too few to fill the lanes. Outputs are worked on in fours, and hidden units in
fours, so that what is loaded is used four times; sizes are filled up to multiples of four with zeros,
which stay zero. Only the active features of an input are touched where it enters, here too.

Three things keep the inner loops fast. Rows of one array lie a constant apart (_1 to _7, _W1 to _W3):
otherwise the compiler guards each loop against rows that overlap. Offsets are unsigned: otherwise it guards
against negative indices. The number of turns is read from an array: a loop of known length is unrolled
before it can become vector instructions. Together they are worth a factor of two to four.

The inputs are drawn before the call: the machine code cached for this file depends on this file alone.
What compiled code calls is a `helper` (compiled.py says why the bits depend on it).
"""

from __future__ import annotations

import numpy as np

from ..jit import compiled, helper

LANES = 32
WIDTH = 256

_1, _2, _3, _4, _5, _6, _7 = (np.uint64(k * LANES) for k in range(1, 8))
_W1, _W2, _W3 = (np.uint64(k * WIDTH) for k in range(1, 4))
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


@helper(inline="always")
def _leaky(z, leak):  # a ReLU for leak 0, the identity for leak 1; passes NaN on
    return leak * z if z <= _ZERO else z


@helper(inline="always")
def _slope(r, q):  # of |r|^q, by r, without its factor q
    return abs(r) ** (q - _ONE) * np.sign(r)


@helper(error_model="numpy", fastmath={"contract"})
def _adam(parameters, mean, square, gradient, scale, lr, beta1, beta2, eps, decay, step):
    """One step of Adam on flat arrays; the gradient is `scale` times what is given, and is cleared.

    decay is decoupled: a share of the parameters, times lr, is taken before the step.
    """
    first, second = np.float32(beta1), np.float32(beta2)
    other1, other2 = np.float32(1 - beta1), np.float32(1 - beta2)
    size = np.float32(lr / (1 - beta1**step))
    root = np.float32(1 / np.sqrt(1 - beta2**step))
    small, kept = np.float32(eps), np.float32(1 - lr * decay)
    for i in range(parameters.size):
        g = gradient[i] * scale
        gradient[i] = _ZERO
        mean[i] = first * mean[i] + other1 * g
        square[i] = second * square[i] + other2 * (g * g)
        parameters[i] = kept * parameters[i] - size * mean[i] / (np.sqrt(square[i]) * root + small)


# --- models side by side -----------------------------------------------------------------------------------


@helper(error_model="numpy", fastmath={"contract"})
def _batch(
    w_in,
    w_out,
    b,
    importance,
    count,
    index,
    value,
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
            the hidden layer, or (0, n_hidden) if there is none. work: hidden (n_hidden, 8 LANES), h of
            four inputs and its gradient; output (4 LANES,); target (n_features, 4).
    """
    n_features, n_hidden = w_in.shape[0], w_in.shape[1]
    hidden, output, target = work
    hidden_leak, output_leak, output_slope = leaks
    lanes, four = np.uint64(loss.size), np.uint64(4 * loss.size)
    n_inputs = count.size
    for first in range(0, n_inputs, 4):
        n_here = min(4, n_inputs - first)
        for j in range(n_hidden):
            row = hidden[j]
            for lane in range(four + four):
                row[lane] = _ZERO
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
                row[lane] = _leaky(row[lane], hidden_leak)
        # one where there is an input, zero where the last four are not all there
        k1, k2, k3 = np.float32(n_here > 1), np.float32(n_here > 2), np.float32(n_here > 3)
        for i in range(n_features):
            bias, weight, grad_bias = b[i], importance[i], g_b[i]
            for lane in range(lanes):
                output[lane] = bias[lane]
                output[lane + _1] = bias[lane]
                output[lane + _2] = bias[lane]
                output[lane + _3] = bias[lane]
            for j in range(n_hidden):
                row, w = hidden[j], w_out[i, j]
                for lane in range(lanes):
                    output[lane] += w[lane] * row[lane]
                    output[lane + _1] += w[lane] * row[lane + _1]
                    output[lane + _2] += w[lane] * row[lane + _2]
                    output[lane + _3] += w[lane] * row[lane + _3]
            t0, t1, t2, t3 = target[i, 0], target[i, 1], target[i, 2], target[i, 3]
            if exponent == _TWO:
                for lane in range(lanes):
                    o0, o1, o2, o3 = output[lane], output[lane + _1], output[lane + _2], output[lane + _3]
                    r0 = _leaky(o0, output_leak) - t0
                    r1 = (_leaky(o1, output_leak) - t1) * k1
                    r2 = (_leaky(o2, output_leak) - t2) * k2
                    r3 = (_leaky(o3, output_leak) - t3) * k3
                    loss[lane] += weight[lane] * ((r0 * r0 + r1 * r1) + (r2 * r2 + r3 * r3))
                    double = _TWO * weight[lane]
                    r0 *= double * (output_slope if o0 <= _ZERO else _ONE)
                    r1 *= double * (output_slope if o1 <= _ZERO else _ONE)
                    r2 *= double * (output_slope if o2 <= _ZERO else _ONE)
                    r3 *= double * (output_slope if o3 <= _ZERO else _ONE)
                    output[lane], output[lane + _1], output[lane + _2], output[lane + _3] = r0, r1, r2, r3
                    grad_bias[lane] += (r0 + r1) + (r2 + r3)
            else:
                for k in range(n_here):
                    t, part = target[i, k], output[k * LANES :]
                    for lane in range(lanes):
                        r = _leaky(part[lane], output_leak) - t
                        slope = weight[lane] * _slope(r, exponent)
                        loss[lane] += slope * r
                        slope *= exponent * (output_slope if part[lane] <= _ZERO else _ONE)
                        part[lane] = slope
                        grad_bias[lane] += slope
                for lane in range(n_here * lanes, four):  # no input there
                    output[lane] = _ZERO
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
            if cost > _ZERO:
                for lane in range(lanes):
                    loss[lane] += cost * (
                        (abs(row[lane]) + abs(row[lane + _1])) + (abs(row[lane + _2]) + abs(row[lane + _3]))
                    )
                for lane in range(four):
                    row[lane + _4] += cost * np.sign(row[lane])
            for lane in range(four):
                row[lane + _4] *= hidden_leak if row[lane] <= _ZERO else _ONE
        for k in range(n_here):
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = _ZERO
                for j in range(n_hidden if learn else 0):
                    row, grad = hidden[j, (4 + k) * LANES :], g_in[i, j]
                    for lane in range(lanes):
                        grad[lane] += v * row[lane]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def steps_side_by_side(state, importance, inputs, noise, work, kind, constants, steps, lr, revival, total):
    """Train every tile for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_tiles, rows, LANES): parameters, Adam's two moments, gradient; rows are the input
            weights, the output weights if untied, the biases. importance (n_tiles, n_features, LANES);
            steps, lr, revival (n_steps,); total (n_tiles, LANES).
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    beta1, beta2, eps, activity_cost, empty_weight, decay, q = constants
    exponent = np.float32(q)
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p, g, weight = state[0, tile], state[3, tile], importance[tile]
        w_in, w_out, b = p[:size].reshape(shape), p[low:high].reshape(shape), p[high:]
        g_in, g_out, g_b = g[:size].reshape(shape), g[low:high].reshape(shape), g[high:]
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss[:] = _ZERO
            _batch(
                w_in, w_out, b, weight, count[first:last], index[first:last], value[first:last],
                noise[first:last], absolute, leaks, np.float32(activity_cost), exponent, True,
                g_in, g_out, g_b, loss, work,
            )  # fmt: skip
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                for lane in range(LANES):
                    y = _leaky(b[i, lane], output_leak)
                    error = empties * weight[i, lane] * (y if exponent == _TWO else _slope(y, exponent))
                    loss[lane] += error * y
                    g_b[i, lane] += exponent * error * (output_leak if b[i, lane] <= _ZERO else _ONE)
            for lane in range(LANES):
                total[tile, lane] += loss[lane] * scale
            _adam(
                p.reshape(-1), state[1, tile].reshape(-1), state[2, tile].reshape(-1), g.reshape(-1),
                scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1,
            )  # fmt: skip


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def losses_side_by_side(parameters, importance, inputs, work, kind, exponent, total):
    """Add the summed loss on these inputs to total (n_tiles, LANES); shapes as for `steps_side_by_side`."""
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    n_features, n_hidden = importance.shape[1], work[0].shape[0]
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden, LANES)
    leaks, unused = (hidden_leak, output_leak, output_leak), np.zeros((n_features, LANES), np.float32)
    no_noise = np.zeros((0, work[0].shape[0]), np.float32)
    loss = np.empty(LANES, np.float32)
    for tile in range(importance.shape[0]):
        p = parameters[tile]
        w_in, w_out = p[:size].reshape(shape), p[low:high].reshape(shape)
        for first in range(0, count.size, 512):  # single precision adds up few numbers only
            last = min(count.size, first + 512)
            loss[:] = _ZERO
            _batch(
                w_in, w_out, p[high:], importance[tile], count[first:last], index[first:last],
                value[first:last], no_noise, absolute, leaks, _ZERO, np.float32(exponent), False,
                w_in, w_out, unused, loss, work,
            )  # fmt: skip
            for lane in range(LANES):
                total[tile, lane] += loss[lane]


# --- inputs side by side -----------------------------------------------------------------------------------


@helper(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _batch_of_one(
    w_in, w_out, b, importance, count, index, value, noise, absolute, leaks, cost, exponent,
    g_in, g_out, g_b, work,
):  # fmt: skip
    """Return a batch's summed loss; add its gradients, times the batch size, to g_in, g_out, g_b.

    Shapes: w_in, w_out, g_in, g_out (n_features, n_hidden), b, importance, g_b (n_features,), multiples of
            four; count (batch,), index, value (batch, real n_features); noise (batch, real n_hidden), or
            (0, ...) if there is none. work: rows (WIDTH, n_hidden);
            hidden, its gradient (n_hidden / 4, 4 WIDTH); output (4 WIDTH,); target (n_features, WIDTH).
    """
    rows, hidden, grad_hidden, output, target = work
    hidden_leak, output_leak, output_slope = leaks
    n_features, n_hidden = w_in.shape
    loss = 0.0
    for first in range(0, count.size, WIDTH):
        n_here = min(WIDTH, count.size - first)
        lanes = np.uint64(n_here)
        for k in range(n_here):
            row = rows[k]
            for j in range(n_hidden):
                row[j] = _ZERO
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
                h[k] = _leaky(rows[k, j], hidden_leak)
        grad_hidden[:] = _ZERO
        for i in range(0, n_features, 4):
            for k in range(4):
                o, bias = output[k * WIDTH :], b[i + k]
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
                powers = grad = _ZERO
                if exponent == _TWO:
                    for lane in range(lanes):
                        r = _leaky(o[lane], output_leak) - t[lane]
                        powers += r * r
                        r *= factor * (output_slope if o[lane] <= _ZERO else _ONE)
                        o[lane] = r
                        grad += r
                else:
                    for lane in range(lanes):
                        r = _leaky(o[lane], output_leak) - t[lane]
                        slope = _slope(r, exponent)
                        powers += slope * r
                        slope *= factor * (output_slope if o[lane] <= _ZERO else _ONE)
                        o[lane] = slope
                        grad += slope
                loss += importance[i + k] * powers
                g_b[i + k] += grad
            for j in range(0, n_hidden, 2):
                h, g = hidden[j // 4, j % 4 * WIDTH :], grad_hidden[j // 4, j % 4 * WIDTH :]
                a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = _ZERO
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
            if cost > _ZERO:
                for lane in range(lanes):
                    loss += cost * abs(h[lane])
                    g[lane] += cost * np.sign(h[lane])
            for k in range(n_here):
                rows[k, j] = g[k] * (hidden_leak if h[k] <= _ZERO else _ONE)
        for k in range(n_here):
            row = rows[k]
            for a in range(count[first + k]):
                i, v = index[first + k, a], value[first + k, a]
                target[i, k] = _ZERO
                grad_in = g_in[i]
                for j in range(n_hidden):
                    grad_in[j] += v * row[j]
    return loss


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def steps_one_by_one(state, importance, inputs, noise, work, kind, constants, steps, lr, revival, total):
    """Train every model for these steps, on inputs drawn for all of them; add each step's loss to total.

    Shapes: state (4, n_instances, size): parameters, Adam's two moments, gradient; of a model the input
            weights (n_features, n_hidden), the output weights if untied, the biases, filled up to multiples
            of four. importance (n_instances, n_features); steps, lr, revival (n_steps,);
            total (n_instances,).
    """
    count, index, value = inputs
    untied, absolute, hidden_leak, output_leak = kind
    beta1, beta2, eps, activity_cost, empty_weight, decay, q = constants
    exponent = np.float32(q)
    n_features, n_hidden = importance.shape[1], work[0].shape[1]
    batch_size = count.size // steps.size
    size = n_features * n_hidden
    low, high = (size, 2 * size) if untied else (0, size)
    shape = (n_features, n_hidden)
    scale, empties = np.float32(1 / batch_size), np.float32(empty_weight * batch_size)
    for k in range(importance.shape[0]):
        p, g, weight = state[0, k], state[3, k], importance[k]
        w_in, w_out, b = p[:size].reshape(shape), p[low:high].reshape(shape), p[high:]
        g_in, g_out, g_b = g[:size].reshape(shape), g[low:high].reshape(shape), g[high:]
        for s in range(steps.size):
            first, last = s * batch_size, (s + 1) * batch_size
            leaks = hidden_leak, output_leak, max(output_leak, np.float32(revival[s]))
            loss = _batch_of_one(
                w_in, w_out, b, weight, count[first:last], index[first:last], value[first:last],
                noise[first:last], absolute, leaks, np.float32(activity_cost), exponent,
                g_in, g_out, g_b, work,
            )  # fmt: skip
            for i in range(n_features):  # the empty input, counted exactly: only the biases meet it
                y = _leaky(b[i], output_leak)
                error = empties * weight[i] * (y if exponent == _TWO else _slope(y, exponent))
                loss += error * y
                g_b[i] += exponent * error * (output_leak if b[i] <= _ZERO else _ONE)
            total[k] += loss * scale
            _adam(p, state[1, k], state[2, k], g, scale, lr[s], beta1, beta2, eps, decay, steps[s] + 1)
