"""Shapes whose names and dimensionalities are known beforehand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from bad_input import table

from toylib import measures
from toylib.studies import geometry

LEVELS = {
    "single": Fraction(1),
    "tetrahedron": Fraction(3, 4),
    "triangle": Fraction(2, 3),
    "digon": Fraction(1, 2),
    "pentagon": Fraction(2, 5),
    "square antiprism": Fraction(3, 8),
}


def product_of(names: list[str], *, seed: int = 0, noise: float = 0.0) -> torch.Tensor:
    """A weight matrix whose features are these shapes in orthogonal subspaces, rotated and shuffled."""
    rng = np.random.default_rng(seed)
    shapes = [geometry.VERTICES[name] for name in names]
    n_features, n_hidden = (sum(v.shape[axis] for v in shapes) for axis in (0, 1))
    W = np.zeros((n_hidden, n_features))
    row = column = 0
    for v in shapes:
        W[row : row + v.shape[1], column : column + len(v)] = v.T
        row, column = row + v.shape[1], column + len(v)
    rotation, _ = np.linalg.qr(rng.normal(size=(n_hidden, n_hidden)))
    W = (rotation @ W)[:, rng.permutation(n_features)] + noise * rng.normal(size=W.shape)
    return torch.tensor(W, dtype=torch.float32)


@pytest.mark.parametrize("name", LEVELS)
def test_every_shape_has_the_dimensionality_that_the_paper_gives_it(name: str) -> None:
    W = torch.tensor(geometry.VERTICES[name].T, dtype=torch.float64)[None]
    expected = torch.full_like(W[:, 0], float(LEVELS[name]))
    torch.testing.assert_close(measures.feature_dimensionality(W), expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_rotated_and_shuffled_product_of_shapes_is_taken_apart(seed: int) -> None:
    names = ["single", *geometry.VERTICES, "digon", "pentagon"]
    found = geometry.polytopes(product_of(names, seed=seed, noise=0.005))
    assert sorted(name for name, _ in found) == sorted(names)
    assert sorted(np.concatenate([group for _, group in found])) == list(range(31))


def test_features_that_are_not_learned_belong_to_no_shape() -> None:
    W = torch.tensor([[1.0, -1.0, 0.1, 0.4]])
    assert [(name, group.tolist()) for name, group in geometry.polytopes(W)] == [("digon", [0, 1])]
    assert geometry.polytopes(0.1 * W) == []


def test_random_directions_are_no_named_shape() -> None:
    W = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)) * 2
    assert {name for name, _ in geometry.polytopes(W)} == {"other"}


def test_a_hexagon_and_a_cube_are_not_taken_for_shapes_of_other_size_or_angle() -> None:
    angle = torch.arange(6) * torch.pi / 3
    hexagon = torch.stack([angle.cos(), angle.sin()])
    cube = torch.tensor([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)]).T / 3**0.5
    assert [name for name, _ in geometry.polytopes(hexagon)] == ["other"]
    assert [name for name, _ in geometry.polytopes(cube)] == ["other"]  # eight vertices, not the antiprism


def test_a_deformed_pentagon_loses_its_name_beyond_the_tolerance() -> None:
    W = product_of(["pentagon"])
    turned = W.clone()
    turned[:, 0] = 0.75 * W[:, 0] + 0.25 * torch.tensor([[0.0, -1.0], [1.0, 0.0]]) @ W[:, 0]  # by 18 degrees
    assert geometry.polytopes(W)[0][0] == "pentagon"
    assert geometry.polytopes(turned)[0][0] == "other"
    unit = torch.nn.functional.normalize(turned, dim=0)
    gram = (unit.T @ unit).double().numpy()
    pentagon = geometry.VERTICES["pentagon"] @ geometry.VERTICES["pentagon"].T
    assert geometry.same_shape(gram, pentagon, tolerance=0.4)


def test_same_shape_finds_an_order_that_matching_rows_alone_would_miss() -> None:
    gram = np.eye(4) + np.diag([0.5, 0, 0.5], 1) + np.diag([0.5, 0, 0.5], -1)  # pairs 01, 23
    order = [0, 2, 1, 3]
    assert geometry.same_shape(gram, gram[np.ix_(order, order)], tolerance=0.01)
    path = np.eye(4) + np.diag([0.5, 0.5, 0.5], 1) + np.diag([0.5, 0.5, 0.5], -1)
    assert not geometry.same_shape(gram, path, tolerance=0.01)


test_wrong_input_is_named = table(
    [
        (
            lambda: geometry.components(torch.ones(2, 3, 4)),
            "W must be one model's tensor (n_hidden, n_features)",
        ),
        (lambda: geometry.components(torch.ones(2, 3), edge=1.0), "edge must be a finite number"),
        (lambda: geometry.components(torch.full((2, 3), torch.nan)), "W must be finite; got nan"),
        (lambda: geometry.same_shape(np.eye(2), np.eye(3)), "equally large; got (2, 2) and (3, 3)"),
        (
            lambda: geometry.same_shape(np.ones((2, 3)), np.ones((2, 3))),
            "must be square and equally large; got (2, 3)",
        ),
        (
            lambda: geometry.same_shape(np.eye(2), np.eye(2), tolerance=0),
            "tolerance must be a finite number, above 0",
        ),
    ]
)
