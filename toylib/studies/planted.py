"""Layers of known truth for an instrument to be calibrated on: planted neurons, and networks beside them.

Stimuli are sparse sums of features on a faint background. Every layer sees the same ones. The layer *below*
and *another network* hold them in neurons that are random mixtures of all features, through a ReLU.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..checks import a_bool, a_number, a_seed, a_whole_number, an_array, checked, depending, must

N_FEATURES, WIDTH, DENSITY, BACKGROUND = 100, 200, 0.02, 0.02
STRENGTHS = 0.5, 1.5  # of a planted neuron's weights
ACTIVE = 0.01, 0.6  # share of stimuli that drive a planted neuron, whatever it holds
HIGHEST = 0.6  # a threshold's, of the neuron's largest weight


class World:
    """Features, and how a layer below and another network mix them.

    lacking is the share of features that the other network does not have; background the standard deviation
    of what every feature has on every stimulus, present or not.

    Raises: ValueError for sizes below 1, or shares outside their bounds.
    """

    @checked(
        seed=a_seed(),
        n_features=a_whole_number(at_least=2),
        density=a_number(above=0, at_most=1),
        width=a_whole_number(),
        background=a_number(at_least=0),
        lacking=a_number(at_least=0, at_most=0.99),
        signed=a_bool(),
    )
    def __init__(
        self,
        seed: int,
        *,
        n_features: int = N_FEATURES,
        density: float = DENSITY,
        width: int = WIDTH,
        background: float = BACKGROUND,
        lacking: float = 0.0,
        signed: bool = False,
    ) -> None:
        self.seed, self.n_features, self.density, self.signed = seed, n_features, density, signed
        self.background = background
        rng = np.random.default_rng([seed, 1])
        mixed = rng.standard_normal((2, n_features, width)) / np.sqrt(width)
        lost = rng.permutation(n_features)[: round(lacking * n_features)]
        mixed[1, lost] = 0
        self.to_below, self.to_other = mixed

    def _with_background(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return x + self.background * rng.standard_normal(x.shape)

    @checked(n_stimuli=a_whole_number(), draw=a_seed())
    def stimuli(self, n_stimuli: int, draw: int = 0) -> Float[np.ndarray, "n_stimuli n_features"]:
        """Stimuli as they come: a feature is present with probability `density`, at a uniform strength."""
        rng = np.random.default_rng([self.seed, 2, draw])
        size = (n_stimuli, self.n_features)
        strength = rng.uniform(-1 if self.signed else 0, 1, size)
        return self._with_background(strength * (rng.random(size) < self.density), rng)

    @checked(n_stimuli=a_whole_number(), n_labels=a_whole_number(at_least=2))
    def labelled(
        self, n_stimuli: int = 335, n_labels: int = 40, *, own: int = 4, often: float = 0.6
    ) -> tuple[Float[np.ndarray, "n_stimuli n_features"], Int[np.ndarray, " n_stimuli"]]:
        """Stimuli in labelled folders: each label has `own` features, which its stimuli have `often`."""
        rng = np.random.default_rng([self.seed, 3])
        label = np.sort(np.arange(n_stimuli) % n_labels)
        label = label[rng.permutation(n_stimuli)]
        probability = np.full((n_labels, self.n_features), self.density)
        for row in probability:
            row[rng.choice(self.n_features, own, replace=False)] = often
        size = (n_stimuli, self.n_features)
        x = rng.random(size) * (rng.random(size) < probability[label])
        return self._with_background(x, rng), label

    def below(self, x: Float[np.ndarray, "n_stimuli n_features"]) -> Float[np.ndarray, "n_stimuli width"]:
        """States of the layer below."""
        return np.maximum(x @ self.to_below, 0)

    def other(self, x: Float[np.ndarray, "n_stimuli n_features"]) -> Float[np.ndarray, "n_stimuli width"]:
        """States of the other network."""
        return np.maximum(x @ self.to_other, 0)

    @checked(W=an_array(ndim=2))
    def read(self, W: Float[np.ndarray, "n_neurons n_features"]) -> Float[np.ndarray, "n_neurons width"]:
        """Weights on the layer below that come nearest to W on the features: ridge regression.

        Raises: ValueError for a W that is no matrix of numbers.
        """
        x = self.stimuli(20_000, draw=1)
        states = self.below(x)
        gram = states.T @ states
        penalty = 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
        return np.linalg.solve(gram + penalty, states.T @ (x @ W.T)).T


class Neurons(NamedTuple):
    """A layer whose features are known: ReLU(W x - threshold).

    Shapes: W (n_neurons, n_features), threshold (n_neurons,), truth (n_neurons,) features per neuron.
    """

    W: Float[np.ndarray, "n_neurons n_features"]
    threshold: Float[np.ndarray, " n_neurons"]
    truth: Float[np.ndarray, " n_neurons"]

    def activity(
        self, x: Float[np.ndarray, "n_stimuli n_features"]
    ) -> Float[np.ndarray, "n_stimuli n_neurons"]:
        """What the neurons answer."""
        return np.maximum(x @ self.W.T - self.threshold, 0)


def features_answered(
    W: Float[np.ndarray, "n_neurons n_features"], threshold: Float[np.ndarray, " n_neurons"]
) -> Float[np.ndarray, " n_neurons"]:
    """Participation ratio of what a neuron adds to its answer for each feature alone, at full strength."""
    alone = np.maximum(W - threshold[:, None], 0) - np.maximum(-threshold, 0)[:, None]
    C = np.maximum(alone, 0)
    return C.sum(1) ** 2 / (C**2).sum(1)


@checked(
    must(
        lambda low, high, world: low <= high <= world.n_features,
        "low must be at most high, and high at most the world's features; got {low} and {high}",
    ),
    n_neurons=a_whole_number(),
    low=a_whole_number(),
    high=depending(lambda low: a_whole_number(at_least=low)),
    seed=a_seed(),
    matched=a_bool(),
)
def plant(world: World, n_neurons: int, low: int, high: int, *, seed: int, matched: bool = True) -> Neurons:
    """Neurons of `low` to `high` features, evenly in the logarithm.

    How often a neuron is driven is drawn without regard to its features, from `ACTIVE`, and its threshold
    set so; but no higher than lets its strongest feature through. Unless it is `matched` so, thresholds are
    drawn without regard to the features: then neurons with more of them are driven more often.

    Raises: ValueError for a range that is none, or beyond the world's features.
    """
    rng = np.random.default_rng([world.seed, 4, seed])
    count = np.exp(rng.uniform(np.log(low), np.log(high + 1), n_neurons)).astype(int)
    W = np.zeros((n_neurons, world.n_features))
    for row, k in zip(W, np.minimum(count, high), strict=True):
        row[rng.choice(world.n_features, k, replace=False)] = rng.uniform(*STRENGTHS, k)
    if not matched:
        threshold = W.max(1) * rng.uniform(0, HIGHEST, n_neurons)
        return Neurons(W, threshold, features_answered(W, threshold))
    drive = world.stimuli(5000, draw=2) @ W.T
    least, most = ACTIVE
    active = np.exp(rng.uniform(np.log(least), np.log(most), n_neurons))
    wanted = np.array([np.quantile(d, 1 - share) for d, share in zip(drive.T, active, strict=True)])
    threshold = np.minimum(wanted, HIGHEST * W.max(1))
    return Neurons(W, threshold, features_answered(W, threshold))
