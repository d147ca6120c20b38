"""How selective the neurons of a real network are: pure functions of activations and labels.

Activations are arrays (n_stimuli, n_neurons), as `networks.record` and `language.record` make them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from ..checks import Rule, a_whole_number, array, checked, depending, must, refuse

MOST_LABELS = 2**16 - 1  # every number up to the largest label takes a column


def _activations(name: str, activations: object) -> np.ndarray:
    return array(name, activations, ndim=2)


def _labels(activations: np.ndarray) -> Rule:
    n_stimuli = len(activations)

    def rule(name: str, labels: object) -> np.ndarray:
        result = np.asarray(labels)
        whole = result.dtype.kind in "biu" and result.size > 0 and result.min() >= 0
        if not whole or result.shape != (n_stimuli,):
            refuse(
                f"{name} must be one whole number, 0 or more, per stimulus ({n_stimuli})",
                f"{result.dtype} of shape {result.shape}",
            )
        if result.max() > MOST_LABELS:
            refuse(f"{name} must be {MOST_LABELS} or less", result.max())
        return result.astype(np.int64)

    return rule


_several_stimuli = must(
    lambda activations: len(activations) > 1,
    "activations must hold two stimuli or more; got {activations:len}",
)
_several_labels = must(
    lambda labels: len(np.unique(labels)) > 1,
    "labels must hold two different ones or more; got only {labels[0]}",
)


@checked(activations=_activations, labels=depending(lambda activations: _labels(activations)))
def auroc(
    activations: Float[np.ndarray, "n_stimuli n_neurons"], labels: Int[np.ndarray, " n_labels"]
) -> Float[np.ndarray, "n_neurons n_concepts"]:
    """How well each neuron alone detects each concept: area under the ROC curve, concept against the rest.

    The probability that a stimulus of the concept drives the neuron harder than another one does, ties
    counted half. All neurons and concepts come from one ranking.

    Shapes: labels (n_stimuli,) whole numbers 0 ... n_concepts - 1.
    Units:  a probability; 1/2 is chance. NaN for a concept without stimuli, or with all of them.
    Raises: ValueError for activations that are not 2-D and finite, or labels that do not match.
    """
    a, y = activations, labels
    ranks = rankdata(a, axis=0)
    member = np.eye(y.max() + 1)[y]  # (n_stimuli, n_concepts)
    n_in = member.sum(0)
    n_pairs = n_in * (len(a) - n_in)
    # Mann and Whitney: rank sum less its least possible value is the number of pairs won
    won = ranks.T @ member - n_in * (n_in + 1) / 2
    return np.divide(won, n_pairs, out=np.full(won.shape, np.nan), where=n_pairs > 0)


@checked(
    activations=_activations,
    labels=depending(lambda activations: _labels(activations)),
    k=depending(lambda activations: a_whole_number(at_most=len(activations))),
)
def effective_labels(
    activations: Float[np.ndarray, "n_stimuli n_neurons"], labels: Int[np.ndarray, " n_labels"], k: int = 20
) -> Float[np.ndarray, " n_neurons"]:
    """Number of different labels among the k stimuli that drive a neuron hardest, counted smoothly.

        exp(H(p)),  p the share of each label among the top k

    The Hill number of order 1, as `measures.exp_entropy` counts a toy neuron's features. Ties are broken
    by the order of the stimuli: shuffle them if they are sorted by label.

    Units:  labels; 1 if all k have the same one. NaN for a neuron that is the same on all stimuli.
    Raises: ValueError if k is more than the number of stimuli, or labels do not match.
    Source: Hill 1973.
    """
    a, y = activations, labels
    top = np.argsort(-a, axis=0, kind="stable")[:k]
    share = np.stack([(y[top] == label).mean(0) for label in np.unique(y)])
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1)), axis=0)
    return np.where(np.ptp(a, axis=0) > 0, np.exp(entropy), np.nan)


@checked(_several_stimuli, activations=_activations)
def treves_rolls(
    activations: Float[np.ndarray, "n_stimuli n_neurons"],
) -> Float[np.ndarray, " n_neurons"]:
    """Lifetime sparsity of each neuron: how unevenly its activation is spread over the stimuli.

        (1 - mean(a)^2 / mean(a^2)) / (1 - 1/n),   a = |activation|, so that signs are allowed

    Units:  0 for a neuron that is equally active on all stimuli, 1 if one stimulus alone drives it;
            NaN for a neuron that is silent.
    Raises: ValueError for activations that are not 2-D and finite, or of fewer than two stimuli.
    Source: Treves and Rolls 1991, in the form of Vinje and Gallant 2000.
    """
    a = np.abs(activations)
    square = (a**2).mean(0)
    ratio = np.divide(a.mean(0) ** 2, square, out=np.full(len(square), np.nan), where=square > 0)
    return (1 - ratio) / (1 - 1 / len(a))


@checked(
    _several_labels, activations=_activations, labels=depending(lambda activations: _labels(activations))
)
def class_selectivity(
    activations: Float[np.ndarray, "n_stimuli n_neurons"], labels: Int[np.ndarray, " n_labels"]
) -> Float[np.ndarray, " n_neurons"]:
    """How far a neuron's favourite label stands above the others.

        (mu_max - mu_rest) / (mu_max + mu_rest)

    mu_max is the largest of the mean activations |a| by label, mu_rest the mean of the other means. It
    rises with sparsity whatever the labels are: print it for shuffled labels too.

    Units:  0 for a neuron that is the same for all labels, 1 if one label alone drives it; NaN if silent.
    Raises: ValueError if labels do not match or are all the same.
    Source: Morcos et al. 2018.
    """
    a = np.abs(activations)
    y = labels
    means = np.stack([a[y == label].mean(0) for label in np.unique(y)])
    largest = means.max(0)
    rest = (means.sum(0) - largest) / (len(means) - 1)
    total = largest + rest
    return np.divide(largest - rest, total, out=np.full(len(total), np.nan), where=total > 0)


@checked(
    must(
        lambda activations, states: len(activations) == len(states),
        "activations and states must be of the same stimuli; got {activations:len} and {states:len}",
    ),
    activations=_activations,
    states=_activations,
    k=depending(lambda activations: a_whole_number(at_most=len(activations))),
)
def vendi_score(
    activations: Float[np.ndarray, "n_stimuli n_neurons"],
    states: Float[np.ndarray, "n_stimuli d"],
    k: int = 20,
) -> Float[np.ndarray, " n_neurons"]:
    """Number of different stimuli among the k that drive a neuron hardest, by their cosines in `states`.

        exp(H(eigenvalues of K / k)),  K the cosines of the k stimuli's states

    It needs no labels: states of another network say how alike two stimuli are.

    Units:  stimuli; 1 if all k have the same direction, k if they have nothing in common. NaN for a neuron
            that is the same on all stimuli.
    Raises: ValueError if k is more than the number of stimuli, or states are of others.
    Source: Friedman and Dieng 2023.
    """
    unit = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    top = unit[np.argsort(-activations, axis=0, kind="stable")[:k].T]  # (n_neurons, k, d)
    share = np.linalg.eigvalsh(top @ top.mT / k).clip(0)
    share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1)), axis=1)
    return np.where(np.ptp(activations, axis=0) > 0, np.exp(entropy), np.nan)
