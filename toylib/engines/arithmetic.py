"""What both compiled layouts do with single numbers, and Adam's step."""

from __future__ import annotations

import numpy as np

from ..jit import helper

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)


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
