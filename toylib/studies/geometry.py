"""Regular shapes among a model's feature directions.

Features that interfere belong together: connect two learned features when their directions overlap, and
every connected part of that graph is a shape in a subspace of its own. A part is named by its Gram
matrix, so that neither rotation nor the order of the features matters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..checks import a_number, an_array, checked, must, refuse

LEARNED = 0.5  # a feature with a shorter direction is not represented
EDGE = 0.2  # |cos| above which two features interfere; every shape below stays connected at it
OTHER = "other"


def _circle(n: int, *, turn: float = 0.0) -> np.ndarray:
    angle = 2 * np.pi * (np.arange(n) + turn) / n
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _square_antiprism() -> np.ndarray:
    """Two squares, one turned against the other, at the height that makes all D_i equal, 3/8."""
    height, radius = np.sqrt(1 / 3), np.sqrt(2 / 3)
    squares = [np.c_[radius * _circle(4, turn=t), np.full(4, z)] for t, z in [(0, height), (0.5, -height)]]
    return np.concatenate(squares)


VERTICES = {  # unit vectors (n_vertices, n_dimensions)
    "single": np.ones((1, 1)),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3),
    "triangle": _circle(3),
    "digon": np.array([[1.0], [-1.0]]),
    "pentagon": _circle(5),
    "square antiprism": _square_antiprism(),
}


def _one_model(name: str, W: Any) -> Tensor:
    if not isinstance(W, Tensor) or W.ndim != 2:
        shape = tuple(W.shape) if isinstance(W, Tensor) else type(W).__name__
        refuse(f"{name} must be one model's tensor (n_hidden, n_features)", shape)
    if not torch.isfinite(W).all():
        refuse(f"{name} must be finite", W[~torch.isfinite(W)][0].item())
    return W


@checked(W=_one_model, edge=a_number(at_least=0, at_most=0.999))
def components(W: Float[Tensor, "n_hidden n_features"], *, edge: float = EDGE) -> list[np.ndarray]:
    """Groups of learned features that interfere with each other and with no one else, largest first.

    Features longer than LEARNED are the nodes; |cos| > edge makes an edge. Each group is an array of
    feature indices.

    Raises: ValueError unless W is 2-D and edge is in [0, 1).
    """
    norm = W.detach().norm(dim=0)
    nodes = torch.nonzero(norm > LEARNED).ravel()
    if not len(nodes):
        return []
    unit = (W.detach()[:, nodes] / norm[nodes]).double()
    _, part = connected_components(((unit.mT @ unit).abs() > edge).numpy(), directed=False)
    groups = [nodes.numpy()[part == p] for p in range(part.max() + 1)]
    return sorted(groups, key=len, reverse=True)


_alike = must(
    lambda gram, other: gram.shape == other.shape == gram.shape[::-1],
    "gram and other must be square and equally large; got {gram:shape} and {other:shape}",
)


@checked(_alike, gram=an_array(ndim=2), other=an_array(ndim=2), tolerance=a_number(above=0))
def same_shape(
    gram: Float[np.ndarray, "k k"], other: Float[np.ndarray, "k k"], *, tolerance: float = 0.1
) -> bool:
    """Whether some order of the vertices makes the two Gram matrices agree entry by entry.

    Vertices are matched one after another; a partial match that breaks the tolerance is given up, so the
    answer is exact and quick even for eight vertices.

    Raises: ValueError unless both are square and equally large, and tolerance is positive.
    """

    def extend(order: list[int]) -> bool:
        k = len(order)
        if k == len(gram):
            return True
        for vertex in set(range(len(gram))) - set(order):
            row = other[vertex, [*order, vertex]]
            if (np.abs(gram[k, : k + 1] - row) <= tolerance).all() and extend([*order, vertex]):
                return True
        return False

    return extend([])


def polytopes(W: Float[Tensor, "n_hidden n_features"], *, edge: float = EDGE) -> list[tuple[str, np.ndarray]]:
    """Every group of interfering features with the name of its shape, "other" if it has none.

    Raises: ValueError as `components` does.
    Source: Elhage et al. 2022, 'Uniform Superposition', where shapes are told by eye.
    """
    found = []
    for group in components(W, edge=edge):
        unit = torch.nn.functional.normalize(W.detach()[:, group].double(), dim=0)
        gram = (unit.mT @ unit).numpy()
        names = [name for name, v in VERTICES.items() if len(v) == len(group)]
        match = (n for n in names if same_shape(gram, VERTICES[n] @ VERTICES[n].T))
        found.append((next(match, OTHER), group))
    return found
