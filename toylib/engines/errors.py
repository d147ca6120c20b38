"""The loss at the outputs of a panel of inputs, and its slopes there: squares by vectors, powers by numbers.

Arrays of all functions: y, x (n_here, PANEL), flat: the outputs W h without biases, and the inputs; b and
importance (n_here,) or longer; times (PANEL,), how often each input counts, 0 where there is none. y becomes
the gradient at the outputs; added are the biases' to grad_b (n_here, LANES), flat, and the loss to loss
(LANES,). leak is the output's, slope the one that its shut part learns with. each, by_b (PANEL,) are room.
"""

from __future__ import annotations

from ..jit import helper
from .arithmetic import HALF, ONE, THIRD, TWO, ZERO, along_line_to_a_power, leaky, slope_of
from .registers import LANES, load, spread, store
from .vectors import absolute as magnitude
from .vectors import fma, where

PANEL = 32


@helper(error_model="numpy")
def errors(
    y, x, b, importance, times, absolute, leak, slope, n_here, on_lines, q, loss, grad_b, each, by_b
):  # fmt: skip
    """The loss of |r|^q at these outputs; on_lines: its mean over the lines (strata.py) that end there."""
    if q == TWO and on_lines:
        _square_on_lines(y, x, b, importance, times, absolute, leak, slope, n_here, loss, grad_b)
    elif q == TWO:
        _square(y, x, b, importance, times, absolute, leak, slope, n_here, loss, grad_b)
    else:
        _power(
            y, x, b, importance, times, absolute, leak, slope, n_here, on_lines, q, loss, grad_b, each, by_b
        )


@helper(error_model="numpy")
def _square(y, x, b, importance, times, absolute, leak, slope, n_here, loss, grad_b):
    leak, open_, slope = spread(leak), spread(TWO), spread(TWO * slope)
    sum_ = load(loss, 0)
    for i in range(n_here):
        bias, weight, grad = spread(b[i]), spread(importance[i]), load(grad_b, i * LANES)
        for lane in range(0, PANEL, LANES):
            at = i * PANEL + lane
            z, t = load(y, at) + bias, load(x, at)
            r = where(z <= ZERO, leak * z, z) - (magnitude(t) if absolute else t)
            weighted = r * (weight * load(times, lane))
            sum_ = fma(weighted, r, sum_)
            by_z = weighted * where(z <= ZERO, slope, open_)
            store(y, at, by_z)
            grad = grad + by_z
        store(grad_b, i * LANES, grad)
    store(loss, 0, sum_)


@helper(error_model="numpy")
def _square_on_lines(y, x, b, importance, times, absolute, leak, slope, n_here, loss, grad_b):
    """As `arithmetic.along_line`, which says how."""
    none, half, third, one, slope, whole = (
        spread(ZERO), spread(HALF), spread(THIRD), spread(ONE), spread(slope), leak != ZERO
    )  # fmt: skip
    sum_ = load(loss, 0)
    for i in range(n_here):
        b_i, weight, grad = spread(b[i]), spread(TWO * importance[i]), load(grad_b, i * LANES)
        at_zero = where(b_i <= ZERO, none, one)
        for lane in range(0, PANEL, LANES):
            at = i * PANEL + lane
            a, t = load(y, at), load(x, at)
            t = magnitude(t) if absolute else t
            low, high = none, one
            if not whole:
                end = (none - b_i) / a
                end = where(end <= ZERO, none, where(one - end <= ZERO, one, end))
                low = where(a <= ZERO, none, end)
                high = where(a <= ZERO, where(none - a <= ZERO, at_zero, end), one)
            c, low2, high2 = a - t, low * low, high * high
            m0, m1, m2 = high - low, half * (high2 - low2), third * (high2 * high - low2 * low)
            by_a, by_b = fma(c, m2, b_i * m1), fma(c, m1, b_i * m0)
            shut_t = t * (third - m2)
            weight_here = weight * load(times, lane)
            sum_ = fma(weight_here * half, fma(c, by_a, fma(b_i, by_b, t * shut_t)), sum_)
            store(y, at, weight_here * (by_a - slope * shut_t))
            grad = fma(weight_here, by_b - slope * (t * (half - m1)), grad)
        store(grad_b, i * LANES, grad)
    store(loss, 0, sum_)


@helper(error_model="numpy")
def _power(
    y, x, b, importance, times, absolute, leak, slope, n_here, on_lines, q, loss, grad_b, each, by_b
):  # fmt: skip
    for i in range(n_here):
        here, target, bias = y[i * PANEL : (i + 1) * PANEL], x[i * PANEL : (i + 1) * PANEL], b[i]
        for lane in range(PANEL):
            t = abs(target[lane]) if absolute else target[lane]
            if on_lines:
                each[lane], here[lane], by_b[lane] = along_line_to_a_power(
                    here[lane], bias, t, leak, slope, q
                )
            else:
                z = here[lane] + bias
                r = leaky(z, leak) - t
                by_r = slope_of(r, q)
                each[lane] = by_r * r / q
                here[lane] = by_b[lane] = by_r * (slope if z <= ZERO else ONE)
        for lane in range(0, PANEL, LANES):
            weight = spread(q * importance[i]) * load(times, lane)
            store(loss, 0, fma(weight, load(each, lane), load(loss, 0)))
            store(here, lane, weight * load(here, lane))
            store(grad_b, i * LANES, fma(weight, load(by_b, lane), load(grad_b, i * LANES)))
