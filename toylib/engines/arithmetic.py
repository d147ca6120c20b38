"""What both compiled layouts do with single numbers, and Adam's step."""

from __future__ import annotations

import numpy as np

from ..jit import helper
from .vectors import fma, where

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
HALF, THIRD = np.float32(1 / 2), np.float32(1 / 3)

# On the way from the zero of a residual to an end of a piece, v = zero + (end - zero) y^2 makes |r|^(q - 1) a
# power of y, which nine nodes integrate: exactly for whole q up to 8, and for halves.
_y, _weight = np.polynomial.legendre.leggauss(9)
RAY, RAY_WEIGHT = ((_y + 1) / 2) ** 2, _weight * (_y + 1) / 2
_RAY, _RAY_WEIGHT = RAY.astype(np.float32), RAY_WEIGHT.astype(np.float32)


@helper(inline="always")
def leaky(z, leak):  # a ReLU for leak 0, the identity for leak 1; passes NaN on
    return leak * z if z <= ZERO else z


@helper(inline="always")
def slope_of(r, q):  # of |r|^q, by r, without its factor q
    return abs(r) ** (q - ONE) * np.sign(r)


@helper(error_model="numpy", fastmath={"contract"})
def adam(parameters, mean, square, gradient, scale, lr, beta1, beta2, eps, decay, step):
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
        gradient[i] = ZERO
        mean[i] = first * mean[i] + other1 * g
        square[i] = second * square[i] + other2 * (g * g)
        parameters[i] = kept * parameters[i] - size * mean[i] / (np.sqrt(square[i]) * root + small)


@helper(inline="always")
def open_piece(a, b, leak):
    """From where to where, of v in [0, 1], the output a v + b passes its ReLU; all of it for leak 1."""
    end = -b / a
    end = ZERO if end < ZERO else (ONE if end > ONE else end)
    low = end if a > ZERO else ZERO
    high = ONE if a > ZERO else (end if a < ZERO else (ONE if b > ZERO else ZERO))
    return (low, high) if leak == ZERO else (ZERO, ONE)


@helper(inline="always")
def along_line(a, b, t, leak, slope):
    """Mean of r^2 / 2 over a line, and half its slopes by a and b: r = o(a v + b) - t v, v uniform on [0, 1].

    As `gradients._along`, which says how; leak is the output's, slope the one its shut part learns with.
    """
    low, high = open_piece(a, b, leak)
    c = a - t
    m0, m1 = high - low, HALF * (high * high - low * low)
    m2 = THIRD * (high * high * high - low * low * low)
    by_a, by_b = c * m2 + b * m1, c * m1 + b * m0
    loss = HALF * (c * by_a + b * by_b + t * t * (THIRD - m2))
    return loss, by_a - slope * t * (THIRD - m2), by_b - slope * t * (HALF - m1)


@helper(error_model="numpy")
def along_lines(a, b, t, leak, slope):
    """Mean of r^2 over lines, and half its slopes by a and b: `along_line` for vectors (vectors.py)."""
    end = (ZERO - b) / a
    end = where(end <= ZERO, ZERO, where(end <= ONE, end, ONE))
    closes = a <= ZERO  # along the line; else it opens
    low = where(closes, ZERO, end)
    high = where(closes, where(ZERO <= a, where(b <= ZERO, ZERO, ONE), end), ONE)
    low, high = low * (ONE - leak), fma(leak, ONE - high, high)
    c = a - t
    low2, high2 = low * low, high * high
    m0, m1, m2 = high - low, HALF * (high2 - low2), THIRD * (high2 * high - low2 * low)
    shut1, shut2 = HALF - m1, THIRD - m2
    by_a, by_b = fma(c, m2, b * m1), fma(c, m1, b * m0)
    loss = fma(c, by_a, fma(b, by_b, t * t * shut2))
    return loss, by_a - slope * t * shut2, by_b - slope * t * shut1


@helper(error_model="numpy")
def along_line_to_a_power(a, b, t, leak, slope, q):
    """As `along_line` for |r|^q: mean of |r|^q / q, and its slopes over q; by `gradients._by_quadrature`."""
    low, high = open_piece(a, b, leak)
    c = a - t
    zero = -b / c if c != ZERO else ZERO
    zero = low if zero < low else (high if zero > high else zero)
    loss = by_a = by_b = ZERO
    for k in range(2 * _RAY.size):
        far = (high if k % 2 else low) - zero
        v = zero + far * _RAY[k // 2]
        r = c * v + b
        s = (ONE if k % 2 else -ONE) * _RAY_WEIGHT[k // 2] * far * slope_of(r, q)
        loss += s * r
        by_a += s * v
        by_b += s
    shut1 = abs(t) ** (q - ONE) * (ONE - high ** (q + ONE) + low ** (q + ONE)) / (q + ONE)
    shut0 = abs(t) ** (q - ONE) * (ONE - high**q + low**q) / q
    return (loss + abs(t) * shut1) / q, by_a - slope * np.sign(t) * shut1, by_b - slope * np.sign(t) * shut0
