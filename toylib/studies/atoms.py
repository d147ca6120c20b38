"""How many atoms of what a layer reads its neurons have: the instruments on one layer of a network.

Every reading stands beside that of rotated axes of the same layer, which are on as often as the neurons are,
and of planted sums of two and of four neurons: an instrument that does not read more from those is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ..checks import a_seed, a_whole_number, checked, must
from ..measures import random_rotation
from . import instrument

DEAD = 1e-3  # a neuron on in a smaller share of states is left out
TOGETHER = 2, 4  # neurons that are added up for the gate
N_SUMS, MOST_OF_SUMS, N_AXES = 50, 4000, 100  # planted sums, states that they are read on, rotated axes


@runtime_checkable
class Layer(Protocol):
    """A rectified layer: states (n, d), weights (n_neurons, d), and its activity on the states.

    ceiling: what the activity is at most, 6 of a ReLU6.
    """

    states: np.ndarray
    weights: np.ndarray
    ceiling: float

    def activity(self) -> np.ndarray: ...


@dataclass
class Reading:
    """What the instruments read of a layer by one dictionary, and how the dictionary's atoms are used.

    logs: "B" and "on" (B while neurons are on) -> mean log reading of neurons, along rotated
    axes, of sums of two and of four. lost: of the states' variance. spread: median over atoms of
    the share of pictures that an atom is spread over; sparse: mean lifetime sparsity of atoms; active: mean
    share of states in which a neuron is on; dead: share of neurons left out.
    """

    logs: dict[str, list[float]]
    lost: float
    spread: float
    sparse: float
    active: float
    dead: float
    codes: Float[np.ndarray, "n n_atoms"]

    def relative(self, name: str) -> float:
        return self.logs[name][0] - self.logs[name][1]


def gate(logs: list[float]) -> float:
    """By how much log reading rises with the log of the number of neurons added: 1, 2, 4."""
    return float(np.polyfit(np.log([1, *TOGETHER]), [logs[0], *logs[2:]], 1)[0])


def _mean_log(readings: np.ndarray) -> float:
    return float(np.nanmean(np.log(readings)))


def spread_over_pictures(
    sums: Float[np.ndarray, "n_pictures n_atoms"], n: Float[np.ndarray, " n_pictures"]
) -> Float[np.ndarray, " n_atoms"]:
    """Share of the pictures that each atom is spread over: participation ratio of its mean in a picture.

    Units:  1 for an atom that is in all pictures alike, 1 / n_pictures for one of a single picture; NaN for
            one that is never used.
    """
    mean = sums / n[:, None]
    square = (mean**2).sum(0)
    return np.divide(mean.sum(0) ** 2, len(mean) * square, out=np.full(len(square), np.nan), where=square > 0)


def by_picture(values: np.ndarray, picture: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the rows of each picture, and how many rows it has."""
    index = np.unique(picture, return_inverse=True)[1]
    order = np.argsort(index, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(index[order])) + 1]
    return np.add.reduceat(values[order], starts, axis=0), np.bincount(index).astype(float)


def _lifetime_sparsity(codes: np.ndarray) -> float:
    """Mean over the atoms that are used of how unevenly they are, as `networks.selectivity` has it."""
    square = (codes**2).mean(0)
    used = square > 0
    return float(np.mean(1 - codes.mean(0)[used] ** 2 / square[used]) / (1 - 1 / len(codes)))


class _Axes:
    """Some axes of a layer, its neurons or others: weights, and where each is on."""

    def __init__(self, weights: np.ndarray, on: np.ndarray) -> None:
        self.weights, self.on = weights.astype(np.float32), on.astype(np.float32)

    def read(self, atoms: np.ndarray, codes: np.ndarray, sums: np.ndarray | None = None) -> list[float]:
        """Mean log B and mean log B while on."""
        weights = self.weights if sums is None else sums.T @ self.weights
        some = slice(None) if sums is None else slice(None, None, len(codes) // MOST_OF_SUMS + 1)
        found = instrument.by_weights(weights, atoms, codes)
        on = instrument.by_gradient(self.weights, self.on[some], atoms, codes[some], sums)
        return [_mean_log(found), _mean_log(on)]


def _rotated(layer: Layer, weights: np.ndarray, activity: np.ndarray, n: int, seed: int) -> _Axes:
    """Random combinations of all neurons, each on as often as one of the neurons is."""
    chosen = np.random.default_rng(seed).choice(len(weights), min(n, len(weights)), replace=False)
    turned = (random_rotation(len(weights), seed).numpy()[chosen] @ weights).astype(np.float32)
    drive = layer.states @ turned.T
    below, full = (activity[:, chosen] <= 0).mean(0), (activity[:, chosen] >= layer.ceiling).mean(0)
    on = np.empty(drive.shape, bool)
    for k, column in enumerate(drive.T):
        low, high = np.quantile(column, [below[k], 1 - full[k]])
        on[:, k] = (column > low) & (column <= high)
    return _Axes(turned, on)


@checked(
    must(
        lambda picture, layer: len(picture) == len(layer.states),
        "picture must be a number for each state; got {picture:len}",
    ),
    n_atoms=a_whole_number(at_least=2),
    seed=a_seed(),
)
def read(
    layer: Layer,
    picture: Int[np.ndarray, " n"],
    *,
    n_atoms: int = 256,
    top: int = 16,
    n_steps: int = 250,
    seed: int = 0,
) -> Reading:
    """A layer's neurons on a dictionary of what they read, against rotated axes; planted sums.

    Neurons are divided by the root mean square of their activity, and those that are hardly ever on are
    left out; states are centred. Rotated axes are on as often as neurons are. picture: of every
    state, the picture that it is of.

    Raises: ValueError unless there is a picture for each state.
    """
    activity = layer.activity()
    share = (activity > 0).mean(0)
    alive = share >= DEAD
    activity = activity[:, alive]
    size = np.sqrt((activity**2).mean(0))
    weights = layer.weights[alive] / size[:, None]
    states = (layer.states - layer.states.mean(0)).astype(float)
    learned = instrument.learn_dictionary(
        states, n_atoms=n_atoms, top=top, n_steps=n_steps, lr=0.003, seed=seed
    )
    atoms, codes = learned.atoms.astype(np.float32), learned.codes(states).astype(np.float32)
    own = _Axes(weights, (activity > 0) & (activity < layer.ceiling))
    turned = _rotated(layer, weights, activity, N_AXES, seed)
    sums = [instrument.planted_sums(len(weights), k, n_sums=N_SUMS, seed=seed) for k in TOGETHER]
    each = [own.read(atoms, codes), turned.read(atoms, codes), *(own.read(atoms, codes, s) for s in sums)]
    logs = dict(zip(("B", "on"), np.array(each).T.tolist(), strict=True))
    by_atom, n = by_picture(codes, picture)
    return Reading(
        logs=logs,
        lost=learned.lost(states),
        spread=float(np.nanmedian(spread_over_pictures(by_atom, n))),
        sparse=_lifetime_sparsity(codes),
        active=float(share[alive].mean()),
        dead=float(1 - alive.mean()),
        codes=codes,
    )


@checked(
    must(
        lambda codes, layer: len(codes) == len(layer.states),
        "codes must be of the layer's states; got {codes:len}",
    ),
    seed=a_seed(),
)
def read_activity(layer: Layer, codes: Float[np.ndarray, "n n_atoms"], *, seed: int = 0) -> list[float]:
    """A on another network's codes at the same places: mean logs as in `Reading.logs`.

    Of at most a hundred neurons, and half as many rotated axes and sums; rotated are centred activities.

    Raises: ValueError unless there is a code for each state.
    """
    activity = layer.activity()
    activity = activity[:, (activity > 0).mean(0) >= DEAD]
    activity = activity / np.sqrt((activity**2).mean(0))
    n = activity.shape[1]
    chosen = np.random.default_rng(seed).choice(n, min(N_AXES, n), replace=False)
    turn = random_rotation(n, seed).numpy()[chosen[:N_SUMS]]
    sums = [instrument.planted_sums(n, k, n_sums=N_SUMS, seed=seed) for k in TOGETHER]
    of = [activity[:, chosen], (activity - activity.mean(0)) @ turn.T, *(activity @ s for s in sums)]
    return [_mean_log(instrument.by_activity(a, codes)) for a in of]
