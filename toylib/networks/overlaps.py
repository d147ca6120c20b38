"""How vectors overlap: whether n of them stand in fewer dimensions, and how near to as well as they can.

The mean squared cosine of n vectors in m dimensions, over pairs of different ones, is 1/m if they are drawn
at random, and never below (n - m) / (m (n - 1)), Welch's bound, which is near 1/m for many vectors. So
`overlap` is given times m: 1 for random vectors. It is an effective dimension in another dress: over all
pairs, each vector with itself too, the mean squared cosine is 1 / participation ratio of the spectrum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..checks import Rule, a_seed, a_whole_number, checked, depending, optional, refuse
from ..evidence import Interval, bootstrap

LONG = 0.9  # the quantile of lengths that others are compared with


def _vectors(name: str, value: np.ndarray) -> np.ndarray:
    if getattr(value, "ndim", 0) != 2 or len(value) < 2 or value.shape[1] < 1:
        refuse(
            f"{name} must be two vectors or more, (n, m)", str(getattr(value, "shape", type(value).__name__))
        )
    if not np.isfinite(value).all():
        refuse(f"{name} must be finite", "NaN or an infinity")
    return value


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1; a vector without a direction stays 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


@checked(vectors=_vectors)
def represented(vectors: Float[np.ndarray, "n m"]) -> Bool[np.ndarray, " n"]:
    """Which vectors are longer than half the length that one in ten exceeds.

    Raises: ValueError for fewer than two vectors, another shape, or numbers that are not finite.
    """
    length = np.linalg.norm(vectors, axis=1)
    return length > np.quantile(length, LONG) / 2


def welch(n: int, m: int) -> float:
    """The least overlap that n vectors in m dimensions can have; 0 where there is a dimension for each.

    Source: Welch 1974.
    """
    return max(n - m, 0) / (n - 1)


@checked(vectors=_vectors)
def dimensions(vectors: Float[np.ndarray, "n m"]) -> float:
    """Effective dimension of the vectors' directions: participation ratio of their spectrum, 1 to m.

    Raises: as `represented`.
    """
    unit = _unit(vectors)
    gram = unit.T @ unit if unit.shape[0] > unit.shape[1] else unit @ unit.T
    return float(np.trace(gram) ** 2 / np.square(gram).sum(dtype=float))


class Blocks(NamedTuple):
    """Sums of squared cosines between blocks of vectors: all that `overlap` needs, resampled or not.

    Shapes: products (n_blocks, n_blocks); sizes (n_blocks,); m dimensions.
    """

    products: Float[np.ndarray, "n_blocks n_blocks"]
    sizes: Float[np.ndarray, " n_blocks"]
    m: int

    def overlap(self, drawn: np.ndarray) -> float:
        """Of the vectors of these blocks, m times the mean squared cosine; a block may be drawn again.

        Copies of one vector are no pair.
        """
        times = np.bincount(drawn.astype(int), minlength=len(self.sizes)).astype(float)
        copies = times**2 @ self.sizes
        pairs = (times @ self.sizes) ** 2 - copies
        return float(self.m * (times @ self.products @ times - copies) / pairs)


def _some_blocks(vectors: np.ndarray) -> Rule:
    return a_whole_number(at_least=2, at_most=max(len(vectors) // 2, 2))


def _no_more_than(vectors: np.ndarray) -> Rule:
    return optional(a_whole_number(at_most=vectors.shape[1]))


@checked(vectors=_vectors, n_blocks=depending(_some_blocks), rank=depending(_no_more_than), seed=a_seed())
def blocks_of(
    vectors: Float[np.ndarray, "n m"], *, n_blocks: int = 32, rank: int | None = None, seed: int = 0
) -> Blocks:
    """Vectors in random blocks of about one size; `rank` where they lie in fewer than m dimensions.

    A vector without a direction is left out.

    Raises: as `represented`; ValueError for fewer than 2 blocks, or more than half as many as vectors.
    """
    unit = _unit(vectors)[np.linalg.norm(vectors, axis=1) > 0]
    parts = np.array_split(np.random.default_rng(seed).permutation(len(unit)), n_blocks)
    sums = np.stack([(unit[part].T @ unit[part]).ravel() for part in parts])
    sizes = np.array([len(part) for part in parts], float)
    return Blocks((sums @ sums.T).astype(float), sizes, rank or vectors.shape[1])


def overlap(blocks: Blocks) -> Interval:
    """Mean squared cosine over pairs times m, with its interval over blocks."""
    return bootstrap(np.arange(len(blocks.sizes)), statistic=blocks.overlap, n_resamples=1000)


def less(a: Blocks, b: Blocks) -> Interval:
    """Overlap of the first less that of the second, with its interval over the blocks of both."""

    def apart(of_a: np.ndarray, of_b: np.ndarray) -> float:
        return a.overlap(of_a) - b.overlap(of_b)

    places = np.arange(len(a.sizes)), np.arange(len(b.sizes))
    return bootstrap(*places, statistic=apart, n_resamples=1000, paired=False)


def _fewer(vectors: np.ndarray) -> Rule:
    return a_whole_number(at_least=0, at_most=min(vectors.shape) - 1)


@checked(vectors=_vectors, n=depending(_fewer))
def without_common(vectors: Float[np.ndarray, "n m"], n: int) -> Float[np.ndarray, "n m"]:
    """The vectors without their mean, and without the n directions along which they vary most.

    What is left has m - n dimensions.

    Raises: as `represented`; ValueError unless n is below the number of dimensions and of vectors.
    Source: Mu and Viswanath 2018, who take out m / 100.
    """
    centred = vectors - vectors.mean(0)
    if not n:
        return centred
    _, directions = np.linalg.eigh((centred.T @ centred).astype(float))
    leading = directions[:, -n:].astype(vectors.dtype)
    return centred - (centred @ leading) @ leading.T


@checked(vectors=_vectors, seed=a_seed())
def shuffled(vectors: Float[np.ndarray, "n m"], seed: int) -> Float[np.ndarray, "n m"]:
    """Every coordinate's values dealt anew among the vectors, so that its distribution alone is kept.

    Raises: as `represented`.
    """
    return np.random.default_rng(seed).permuted(vectors, axis=0)


@checked(
    vectors=_vectors,
    n_at_once=depending(lambda vectors: a_whole_number(at_most=len(vectors))),
    n_sums=a_whole_number(at_least=2),
    seed=a_seed(),
)
def read_back(
    vectors: Float[np.ndarray, "n m"], n_at_once: int, *, n_sums: int = 128, seed: int = 0
) -> Float[np.ndarray, " n_sums"]:
    """Of sums of `n_at_once` different vectors of length 1, the share that a linear reader finds again.

    It names the vectors with the largest products with the sum, as many as there were.

    Raises: as `represented`; ValueError for more at once than there are vectors.
    """
    unit, rng = _unit(vectors), np.random.default_rng(seed)
    chosen = np.stack([rng.choice(len(unit), n_at_once, replace=False) for _ in range(n_sums)])
    score = np.stack([unit[one].sum(0) for one in chosen]) @ unit.T
    named = np.argpartition(score, -n_at_once, axis=1)[:, -n_at_once:]
    return np.array([np.isin(a, b).mean() for a, b in zip(chosen, named, strict=True)])
