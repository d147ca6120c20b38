"""Sparse synthetic features: the data of every toy model.

A feature is zero most of the time. When it is active its value is uniform, on [0, 1] or, if the
features are signed, on [-1, 1]. Features are drawn in *units*: an independent feature is a unit of
its own; a correlated set is a unit whose members are active together; an anticorrelated set is a
unit of which one member at a time is active.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from .checks import (
    Rule,
    a_bool,
    a_kind,
    a_whole_number,
    array,
    checked,
    depending,
    must,
    refuse,
    some_rows,
    some_seeds,
    whole_number,
)
from .draws import ANTICORRELATED, AS_THEY_COME, CORRELATED, HELD_OUT, INDEPENDENT, draw_dense, new_stream

LOWEST = 1e-12  # feature_probability: a uniform number has 53 bits, of which p leaves too few for the value
Sets = tuple[tuple[int, ...], ...]


class Units(NamedTuple):
    """Which features are drawn together: members[start[u]:start[u + 1]] belong to unit u."""

    kind: np.ndarray
    start: np.ndarray
    members: np.ndarray


def _rows(n_features: int, at_least: float, at_most: float = np.inf) -> Rule:
    """Broadcast to (n_rows, n_features). A vector is read by the name: importance is per feature,
    feature_probability per instance."""

    def rule(name: str, value: object) -> np.ndarray:
        result = array(name, value, ndim=(0, 1, 2))
        if result.ndim == 0:
            result = np.full((1, n_features), float(result))
        elif result.ndim == 1 and name == "feature_probability":
            result = np.repeat(result[:, None], n_features, axis=1)
        result = np.atleast_2d(result)
        if result.shape[1] != n_features:
            refuse(f"{name} must have n_features = {n_features} entries a row", f"shape {result.shape}")
        if (outside := result[(result < at_least) | (result > at_most)]).size:
            limits = f"{at_least} or more" + (f" and {at_most} or less" if at_most < np.inf else "")
            refuse(f"{name} must be {limits}", outside.min() if at_most == np.inf else outside[0])
        return result

    return rule


def _sets(name: str, given: Any) -> tuple[tuple[int, ...], ...]:
    try:
        return tuple(tuple(whole_number(name, i, at_least=0) for i in members) for members in given)
    except TypeError:
        refuse(f"{name} must be sets of features, as [[0, 1], [2, 3]]", repr(given))


def _disjoint(n_features: int, correlated_sets: Sets, anticorrelated_sets: Sets) -> None:
    seen: set[int] = set()
    both = {"correlated_sets": correlated_sets, "anticorrelated_sets": anticorrelated_sets}
    for name, members in ((name, list(members)) for name, sets in both.items() for members in sets):
        if not members or len(set(members)) < len(members) or seen & set(members):
            refuse(f"{name} must be disjoint sets without repeats", members)
        if max(members) >= n_features:
            refuse(f"{name} must name features 0 to {n_features - 1}", members)
        seen |= set(members)


def _possible(feature_probability: np.ndarray, correlated_sets: Sets, anticorrelated_sets: Sets) -> None:
    for members in map(list, (*correlated_sets, *anticorrelated_sets)):
        if np.ptp(feature_probability[:, members], axis=1).max() > 0:
            raise ValueError(
                "feature_probability must be equal within a correlated or anticorrelated set; "
                f"features {members} differ"
            )
    together = [feature_probability[:, members[0]].max() * len(members) for members in anticorrelated_sets]
    if together and max(together) > 1 + 1e-12:
        refuse("feature_probability of an anticorrelated set must sum to at most 1", f"{max(together):g}")


_agree_on_rows = must(
    lambda feature_probability, importance: len({len(feature_probability), len(importance)} - {1}) < 2,
    "feature_probability and importance must agree on n_instances; "
    "got {feature_probability:len} and {importance:len} rows",
)
_one_stream_or_each = must(
    lambda self, seeds: 1 in (len(seeds), self.n_instances) or len(seeds) == self.n_instances,
    "seeds must be one, or one for each of {self.n_instances} instances; got {seeds:len}",
)


@checked(
    _agree_on_rows,
    _disjoint,
    _possible,
    n_features=a_whole_number(),
    feature_probability=depending(lambda n_features: _rows(n_features, LOWEST, 1)),
    importance=depending(lambda n_features: _rows(n_features, 0)),
    signed=a_bool(),
    correlated_sets=_sets,
    anticorrelated_sets=_sets,
)
@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """The distribution of the inputs, and how much each feature matters to the loss.

    Shapes: feature_probability: a number, (n_instances,) or (n_instances, n_features);
            importance: a number, (n_features,) or (n_instances, n_features).
            Both attributes are (n_rows, n_features); a single row serves any number of instances.
    Units:  feature_probability, from 1e-12 to 1, is the density, 1 - sparsity; importance >= 0 is the
            weight of a feature's squared error.
    Raises: ValueError for anything else, for sets that overlap or name unknown features, and for sets
            whose members differ in probability (or, if anticorrelated, together exceed 1).
    Source: Elhage et al. 2022, 'Setup'; sets: 'Correlated and Anticorrelated Features'.
    """

    n_features: int
    feature_probability: Any = 1.0
    importance: Any = 1.0
    signed: bool = False
    correlated_sets: Iterable[Iterable[int]] = ()
    anticorrelated_sets: Iterable[Iterable[int]] = ()
    units: Units = field(init=False, repr=False)
    unit_probability: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        units = self._units()
        size = np.where(units.kind == ANTICORRELATED, np.diff(units.start), 1)
        unit_probability = self.feature_probability[:, units.members[units.start[:-1]]] * size
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "unit_probability", np.ascontiguousarray(unit_probability))

    def _units(self) -> Units:
        groups = [list(members) for members in (*self.correlated_sets, *self.anticorrelated_sets)]
        kinds = [CORRELATED for _ in self.correlated_sets] + [
            ANTICORRELATED for _ in self.anticorrelated_sets
        ]
        alone = [[i] for i in range(self.n_features) if i not in {i for members in groups for i in members}]
        kinds += [INDEPENDENT] * len(alone)
        groups += alone
        start = np.cumsum([0] + [len(group) for group in groups])
        return Units(
            np.array(kinds, np.int64), start.astype(np.int64), np.concatenate(groups).astype(np.int64)
        )

    @property
    def n_instances(self) -> int:
        """How many instances the settings are for; 1 serves any number."""
        return max(len(self.feature_probability), len(self.importance))

    @property
    def empty_probability(self) -> np.ndarray:
        """Probability (n_rows,) that no feature is active."""
        return np.prod(1 - np.minimum(self.unit_probability, 1), axis=1)

    @property
    def active_probability(self) -> np.ndarray:
        """Probability (n_rows,) that any feature is active, exact where it is tiny too."""
        with np.errstate(divide="ignore"):  # log 0: a unit that is always active
            return -np.expm1(np.log1p(-np.minimum(self.unit_probability, 1)).sum(1))

    @checked(index=depending(lambda self: some_rows(self.n_instances)))
    def select(self, index: Any) -> SparseFeatures:
        """The settings of these instances, in this order."""
        return SparseFeatures(
            self.n_features,
            np.broadcast_to(self.feature_probability, (self.n_instances, self.n_features))[index],
            np.broadcast_to(self.importance, (self.n_instances, self.n_features))[index],
            self.signed,
            self.correlated_sets,
            self.anticorrelated_sets,
        )

    @property
    def equal_rows(self) -> np.ndarray:
        """For every row of the settings, the first row with the same probabilities."""
        _, first, inverse = np.unique(self.unit_probability, axis=0, return_index=True, return_inverse=True)
        return first[inverse.ravel()]

    def streams(self, seeds: np.ndarray, models_per_stream: int) -> tuple[np.ndarray, np.ndarray]:
        """Who sees the same inputs: instances with the same probabilities and seed // models_per_stream.

        Shapes: -> (n_streams, 2), a row of the settings and a seed for each stream; (n_instances,), the
                stream of each instance.
        """
        rows = np.broadcast_to(self.equal_rows, len(seeds))
        keys = np.stack([rows, seeds // models_per_stream], 1)
        streams, of_instance = np.unique(keys, axis=0, return_inverse=True)
        return streams, of_instance.ravel()

    def given_active(self, row: int) -> np.ndarray:
        """For `draws.draw`: inputs with an active feature only."""
        q = np.minimum(self.unit_probability[row], 1)
        first = q * np.concatenate([[1.0], np.cumprod(1 - q)[:-1]])
        return (np.cumsum(first) / first.sum())[None]

    @checked(_one_stream_or_each, batch_size=a_whole_number(), seeds=some_seeds(bits=53))
    def sample(self, batch_size: int, seeds: Any) -> Float[torch.Tensor, "n_instances batch n_features"]:
        """Draw inputs, one stream of random numbers per seed.

        Shapes: seeds (n_instances,), or one seed that all instances share
                -> (n_instances, batch_size, n_features), float32.
        Raises: ValueError for a batch_size below 1 or seeds that do not match the instances.
        """
        n_instances = max(len(seeds), self.n_instances)
        x = np.empty((n_instances, batch_size, self.n_features), np.float32)
        for k, seed in enumerate(np.broadcast_to(seeds, n_instances)):
            q = self.unit_probability[k % len(self.unit_probability)]
            draw_dense(new_stream(seed, HELD_OUT), q, AS_THEY_COME, *self.units, self.signed, x[k])
        return torch.from_numpy(x)


sparse_features = a_kind(SparseFeatures, "SparseFeatures", "{:type}")
