"""Recovering features from activations: a sparse autoencoder, and scores against the truth.

The toy models know their features, so a dictionary learned from hidden activations alone can be marked:
each feature is matched with one atom, and the cosines of the pairs are averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ..checks import (
    a_number,
    a_seed,
    a_whole_number,
    an_array,
    checked,
    depending,
    must,
    optional,
    refuse,
    some_seeds,
)
from ..inspection import check_plain, trainable
from ..models import PLAIN


class SparseAutoencoder(nn.Module):
    """f = ReLU(W_enc h + b_enc), h' = W_dec f, the columns of W_dec being kept at unit length.

    One for every instance, along the leading axis, each initialised from its own seed alone. There is no
    decoder bias: the models of this book map the empty input to h = 0. With top, only the `top` largest
    entries of f are kept for each input, and the others are 0.

    Shapes: W_enc (n_instances, n_atoms, d_in), W_dec (n_instances, d_in, n_atoms), b_enc (n_instances,
            n_atoms).
    Raises: ValueError for sizes below 1, more at the top than atoms, or seeds that are not whole numbers.
    Source: Sharkey et al. 2022; Bricken et al. 2023; the k largest: Gao et al. 2024.
    """

    @checked(
        seeds=some_seeds(),
        d_in=a_whole_number(),
        n_atoms=a_whole_number(),
        top=depending(lambda n_atoms: optional(a_whole_number(at_most=n_atoms))),
    )
    def __init__(self, d_in: int, n_atoms: int, seeds: Any = 0, *, top: int | None = None) -> None:
        super().__init__()
        self.seeds, self.top = seeds, top
        shape = (d_in, n_atoms)
        drawn = torch.stack(
            [
                torch.randn(shape, generator=torch.Generator().manual_seed(int(seed)), **PLAIN)
                for seed in self.seeds
            ]
        )
        self.W_dec = nn.Parameter(drawn / drawn.norm(dim=1, keepdim=True))
        self.W_enc = nn.Parameter(self.W_dec.detach().mT.clone())
        self.b_enc = nn.Parameter(torch.zeros(len(self.seeds), n_atoms, **PLAIN))

    def encode(
        self, h: Float[Tensor, "n_instances batch d_in"]
    ) -> Float[Tensor, "n_instances batch n_atoms"]:
        """Activations of the atoms, 0 or more."""
        f = torch.relu(torch.baddbmm(self.b_enc[:, None], h, self.W_enc.mT))
        if self.top is None:
            return f
        largest, where = f.topk(self.top, dim=2, sorted=False)
        return torch.zeros_like(f).scatter(2, where, largest)

    def forward(self, h: Float[Tensor, "n_instances batch d_in"]) -> Float[Tensor, "n_instances batch d_in"]:
        """The reconstruction of h."""
        return self.encode(h) @ self.W_dec.mT

    @property
    def atoms(self) -> Float[np.ndarray, "n_instances d_in n_atoms"]:
        """The dictionary, its columns of unit length."""
        return self.W_dec.detach().numpy().copy()


def _activations(autoencoder: SparseAutoencoder, h: Tensor) -> None:
    check_plain("autoencoder", autoencoder, SparseAutoencoder)
    trainable(autoencoder)
    if h.shape[0] != len(autoencoder.seeds) or h.shape[2] != autoencoder.W_dec.shape[1]:
        wanted = (len(autoencoder.seeds), "n_samples", autoencoder.W_dec.shape[1])
        refuse(f"h must be {wanted}", tuple(h.shape))
    if not torch.isfinite(h).all():
        refuse("h must be finite", h[~torch.isfinite(h)][0].item())


@torch.enable_grad()
@checked(
    _activations,
    l1=a_number(at_least=0),
    n_steps=a_whole_number(),
    batch_size=depending(lambda h: a_whole_number(at_most=h.shape[1])),
    lr=a_number(above=0),
    seed=a_seed(),
)
def train_autoencoder(
    autoencoder: SparseAutoencoder,
    h: Float[Tensor, "n_instances n_samples d_in"],
    *,
    l1: float,
    n_steps: int = 1500,
    batch_size: int = 256,
    lr: float = 0.01,
    seed: int = 0,
) -> Float[np.ndarray, " n_instances"]:
    """Train with Adam along a cosine on |h - h'|^2 + l1 sum f; returns the last batches' mean loss.

    Activations should come scaled (a mean square length of 1, say), or l1 means something else in every
    model.

    Units:  l1 in squared activation per unit of atom activity.
    Raises: ValueError for an h that does not fit or is not finite, or settings out of range.
    """
    learned = trainable(autoencoder)
    optimiser = torch.optim.Adam(list(learned.values()), lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    generator = torch.Generator().manual_seed(seed)
    last: list[Tensor] = []
    for step in range(n_steps):
        batch = h[:, torch.randint(h.shape[1], (batch_size,), generator=generator, device="cpu")]
        f = autoencoder.encode(batch)
        error = (f @ autoencoder.W_dec.mT - batch).square().sum(2) + l1 * f.sum(2)
        loss = error.mean(1)
        optimiser.zero_grad()
        loss.sum().backward()
        # An atom cannot grow, so the part of its gradient along itself says nothing. Adam would turn it into
        # a pull towards the corners of the cube (Bricken et al. 2023 take it out, too).
        atoms, slope = autoencoder.W_dec, autoencoder.W_dec.grad
        with torch.no_grad():
            if slope is not None:  # a frozen dictionary has none
                slope.sub_((slope * atoms).sum(1, keepdim=True) * atoms)
            optimiser.step()
            schedule.step()
            if slope is not None:
                atoms.div_(atoms.norm(dim=1, keepdim=True))
        if step >= n_steps - 50:
            last.append(loss.detach())
    return torch.stack(last).mean(0).double().numpy()


_one_length = must(
    lambda truth, atoms: len(truth) == len(atoms),
    "truth and atoms must have columns of one length; got {truth:len} and {atoms:len}",
)


@checked(_one_length, truth=an_array(ndim=2), atoms=an_array(ndim=2))
def mean_max_matching(truth: Float[np.ndarray, "d n_true"], atoms: Float[np.ndarray, "d n_atoms"]) -> float:
    """Mean cosine (MCC) of the one-to-one matching of columns that makes it largest.

    A feature without an atom of its own counts 0, so a dictionary that is too small cannot score 1. The
    cosine keeps its sign: features are active in one direction only, and the members of an antipodal pair
    are two features.

    Units:  cosine; 1 if every true direction is an atom.
    Raises: ValueError if the columns differ in length or a column of truth is zero.
    Source: Hungarian matching by scipy; the score is that of Song et al. 2025 with its sign.
    """
    lengths = np.linalg.norm(truth, axis=0)
    if lengths.min() == 0:
        refuse("truth must hold directions", f"zeros in column {int(lengths.argmin())} of {len(lengths)}")
    cosine = (truth / lengths).T @ (atoms / np.maximum(np.linalg.norm(atoms, axis=0), 1e-12))
    cosine = np.maximum(cosine, 0)  # an atom that points away is no atom of this feature
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    return float(cosine[rows, columns].sum() / truth.shape[1])
