"""Features per neuron where the truth is not known: instruments that read them from activity and weights.

A *dictionary* of a layer's states is learned without labels: directions (atoms) of which every state is a
sparse sum. What a neuron has is then counted over atoms in the place of features,

    reading = (sum_i s_i)^2 / sum_i s_i^2,

s_i being the variance that atom i gives the neuron: a participation ratio. `by_activity` takes s from a
regression of the neuron on the atoms of another network, `by_weights` from the neuron's weights on those of
the layer that it reads, `by_gradient` from the same weights while the neuron is on.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import nnls
from scipy.stats import rankdata

from ..checks import a_number, a_seed, a_whole_number, an_array, checked, depending, must, refuse
from .recovery import SparseAutoencoder, train_autoencoder

FAINT = 1e-9  # of the largest variance: what an atom that is never used has
RIDGE = 1e-6  # of the mean variance, so that two equal atoms can be told apart


class Dictionary:
    """A dictionary of states, and how to write states in it.

    Shapes: atoms (d, n_atoms), of unit length; scale: what states are divided by before they are written.
    """

    def __init__(self, autoencoder: SparseAutoencoder, scale: float) -> None:
        self.autoencoder, self.scale = autoencoder, scale

    @property
    def atoms(self) -> Float[np.ndarray, "d n_atoms"]:
        return self.autoencoder.atoms[0].astype(float)

    @torch.no_grad()
    @checked(states=an_array(ndim=2))
    def codes(self, states: Float[np.ndarray, "n_stimuli d"]) -> Float[np.ndarray, "n_stimuli n_atoms"]:
        """How much of every atom is in every state, 0 or more, in the states' units.

        Raises: ValueError for states of another width.
        """
        if states.shape[1] != len(self.autoencoder.atoms[0]):
            refuse(f"states must have {len(self.autoencoder.atoms[0])} columns", states.shape[1])
        h = torch.from_numpy(states / self.scale).float()[None]
        return self.scale * self.autoencoder.encode(h)[0].double().numpy()

    def lost(self, states: Float[np.ndarray, "n_stimuli d"]) -> float:
        """Share of the states' squared length that the dictionary does not give back."""
        error = states - self.codes(states) @ self.atoms.T
        return float((error**2).sum() / (states**2).sum())


@checked(
    must(
        lambda states: np.any(states),
        "states must hold one that is not 0; got only zeros",
    ),
    states=an_array(ndim=2),
    n_atoms=a_whole_number(at_least=2),
    top=depending(lambda n_atoms: a_whole_number(at_most=n_atoms)),
    n_steps=a_whole_number(),
    lr=a_number(above=0),
    seed=a_seed(),
)
def learn_dictionary(
    states: Float[np.ndarray, "n_stimuli d"],
    *,
    n_atoms: int = 200,
    top: int = 5,
    n_steps: int = 600,
    lr: float = 0.01,
    seed: int = 0,
) -> Dictionary:
    """A dictionary in which every state is written with `top` atoms at most.

    Atoms start at states drawn from the stronger half: from random directions, many would never be used.
    States are taken as they are, so 0 should mean that nothing is there: centre those for which it does not.

    Raises: ValueError for states that are none or all 0, or settings out of range.
    Source: top-k sparse autoencoders, Gao et al. 2024.
    """
    length = np.linalg.norm(states, axis=1)
    scale = float(np.sqrt((length**2).mean()))
    h = torch.from_numpy(states / scale).float()[None]
    autoencoder = SparseAutoencoder(states.shape[1], n_atoms, [seed], top=top)
    strong = np.flatnonzero((length >= np.median(length)) & (length > 0))
    drawn = np.random.default_rng(seed).choice(strong, n_atoms, replace=len(strong) < n_atoms)
    with torch.no_grad():
        atoms = h[0, drawn].mT / h[0, drawn].norm(dim=1)
        autoencoder.W_dec.copy_(atoms[None])
        autoencoder.W_enc.copy_(atoms.mT[None])
    batch = min(256, len(states))
    train_autoencoder(autoencoder, h, l1=0, n_steps=n_steps, batch_size=batch, lr=lr, seed=seed)
    return Dictionary(autoencoder, scale)


def participation(amounts: Float[np.ndarray, "n_atoms n_neurons"]) -> Float[np.ndarray, " n_neurons"]:
    """Participation ratio over atoms; NaN for a neuron that has nothing of any."""
    total, square = amounts.sum(0), (amounts**2).sum(0)
    return np.divide(total**2, square, out=np.full(len(total), np.nan), where=square > 0)


_same_stimuli = must(
    lambda activity, codes: len(activity) == len(codes) > 1,
    "activity and codes must be of the same stimuli, two or more; got {activity:len} and {codes:len}",
)


@checked(_same_stimuli, activity=an_array(ndim=2), codes=an_array(ndim=2))
def by_activity(
    activity: Float[np.ndarray, "n_stimuli n_neurons"], codes: Float[np.ndarray, "n_stimuli n_atoms"]
) -> Float[np.ndarray, " n_neurons"]:
    """A: the neuron's activity as a non-negative sum of atoms; participation ratio of what each explains.

        a = sum_i b_i c_i + rest,  b_i >= 0;    s_i = (b_i sd(c_i))^2

    The codes should be of *another* network on the same stimuli: a dictionary of the neuron's own layer has
    atoms that are that layer's mixtures.

    Units:  atoms; 1 if one atom explains all that is explained, NaN for a neuron that no atom explains.
    Raises: ValueError unless both are of the same stimuli.
    Source: non-negative least squares by scipy.
    """
    c, a = codes - codes.mean(0), activity - activity.mean(0)
    variance = (c**2).mean(0)
    c = c[:, variance > FAINT * variance.max()]
    if not c.shape[1]:
        return np.full(a.shape[1], np.nan)
    gram = c.T @ c / len(c)
    # |c b - a|^2 is |L' b - L^-1 c'a|^2 but for a constant, L L' being the Gram matrix: no stimuli any more
    lower = np.linalg.cholesky(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)))
    target = np.linalg.solve(lower, c.T @ a / len(c))
    weight = np.stack([nnls(lower.T, column)[0] for column in target.T], 1)
    return participation(weight**2 * np.diag(gram)[:, None])


_same_width = must(
    lambda weights, atoms, codes: weights.shape[1] == len(atoms) and atoms.shape[1] == codes.shape[1],
    "weights, atoms and codes must be (n_neurons, d), (d, n_atoms) and (n_stimuli, n_atoms); "
    "got {weights:shape}, {atoms:shape} and {codes:shape}",
)


@checked(_same_width, weights=an_array(ndim=2), atoms=an_array(ndim=2), codes=an_array(ndim=2))
def by_weights(
    weights: Float[np.ndarray, "n_neurons d"],
    atoms: Float[np.ndarray, "d n_atoms"],
    codes: Float[np.ndarray, "n_stimuli n_atoms"],
) -> Float[np.ndarray, " n_neurons"]:
    """B: the neuron's weights on the atoms of the layer that it reads; participation ratio of the variance.

        s_i = (max(0, w . d_i) sd(c_i))^2

    What an atom takes away from the neuron is no feature of it, as in `measures.contributions`.

    Units:  atoms; NaN for a neuron that no atom drives.
    Raises: ValueError unless the shapes fit.
    """
    drive = np.maximum(atoms.T @ weights.T, 0)
    return participation((drive * codes.std(0)[:, None]) ** 2)


_of_neurons = must(
    lambda weights, on, codes: on.shape == (len(codes), len(weights)),
    "on must say of every stimulus whether each neuron is on; got {on:shape}",
)


@checked(
    _same_width,
    _of_neurons,
    must(
        lambda sums, weights: sums is None or len(sums) == len(weights),
        "sums must have a row for each neuron; got {sums:shape}",
    ),
    weights=an_array(ndim=2),
    atoms=an_array(ndim=2),
    codes=an_array(ndim=2),
    on=an_array(ndim=2),
)
def by_gradient(
    weights: Float[np.ndarray, "n_neurons d"],
    on: Float[np.ndarray, "n_stimuli n_neurons"],
    atoms: Float[np.ndarray, "d n_atoms"],
    codes: Float[np.ndarray, "n_stimuli n_atoms"],
    sums: Float[np.ndarray, "n_neurons n_sums"] | None = None,
) -> Float[np.ndarray, " n_read"]:
    """B where neurons are on: participation ratio of what atoms add to a rectified neuron as it is driven.

        s_i = mean over stimuli of (c_i max(0, sum_j on_j w_j . d_i))^2

    on: 1 where a neuron's output follows its drive, 0 below its threshold and at its ceiling. sums: of
    planted neurons, which are then read in the neurons' place; the sum over j is over a neuron's parts.

    Units:  atoms; NaN for a neuron that no atom drives while it is on.
    Raises: ValueError unless the shapes fit.
    """
    drive = weights @ atoms
    if sums is None:
        return participation(np.maximum(drive.T, 0) ** 2 * ((codes**2).T @ on) / len(codes))
    read = []
    for parts in (np.flatnonzero(column) for column in sums.T):
        added = np.maximum(on[:, parts] @ drive[parts], 0)
        read.append(((added * codes) ** 2).mean(0))
    return participation(np.stack(read, 1))


@checked(
    must(
        lambda atoms, codes: atoms.shape[1] == codes.shape[1],
        "atoms and codes must have the same atoms; got {atoms:shape} and {codes:shape}",
    ),
    atoms=an_array(ndim=2),
    codes=an_array(ndim=2),
)
def by_own_layer(
    atoms: Float[np.ndarray, "n_neurons n_atoms"], codes: Float[np.ndarray, "n_stimuli n_atoms"]
) -> Float[np.ndarray, " n_neurons"]:
    """The neuron's entries in the atoms of its own layer's dictionary; participation ratio of the variance.

    Units:  atoms; NaN for a neuron that is in none.
    Raises: ValueError unless the shapes fit.
    """
    return participation((np.maximum(atoms.T, 0) * codes.std(0)[:, None]) ** 2)


@checked(
    n_neurons=a_whole_number(at_least=2),
    n_added=depending(lambda n_neurons: a_whole_number(at_most=n_neurons)),
    n_sums=a_whole_number(),
    seed=a_seed(),
)
def planted_sums(
    n_neurons: int, n_added: int, *, n_sums: int = 50, seed: int = 0
) -> Float[np.ndarray, "n_neurons n_sums"]:
    """Which neurons are added to make planted ones: activity @ sums, and sums.T @ weights.

    Divide each neuron by its root mean square first, so that none drowns the others. An instrument that
    works must read more from a sum of four neurons of a layer than from one of them.

    Raises: ValueError for more added than there are.
    """
    rng, sums = np.random.default_rng(seed), np.zeros((n_neurons, n_sums))
    for column in sums.T:
        column[rng.choice(n_neurons, n_added, replace=False)] = 1
    return sums


_as_long = must(
    lambda x, y, given: len(x) == len(y) == len(given) > 2,
    "x, y and given must be equally long, 3 or more; got {x:len}, {y:len} and {given:len}",
)


@checked(_as_long, x=an_array(ndim=1), y=an_array(ndim=1), given=an_array(ndim=1))
def partial_spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], given: Float[np.ndarray, " n"]
) -> float:
    """Rank correlation of x and y with a third variable taken out of the ranks of both, by a line.

    Units:  -1 to 1; 0 where x or y is a function of the third, or the same throughout.
    Raises: ValueError unless the three are equally long.
    """
    ranks = [rankdata(values) - (len(x) + 1) / 2 for values in (x, y, given)]
    third = ranks[2]
    size = third @ third
    left = [r - third * (r @ third / size) if size > 0 else r for r in ranks[:2]]
    lengths = [np.linalg.norm(r) for r in left]
    if min(lengths) < 1e-9 * len(x) ** 1.5:
        return 0.0
    return float(left[0] @ left[1] / (lengths[0] * lengths[1]))
