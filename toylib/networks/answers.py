"""What neurons answer to: a handful of tokens or pairs, nothing at all, a spelling in two languages.

A *detector* is a neuron of whose squared activity a few tokens hold half, and hold it in other passages than
those in which they were found: in sparse text a few positions hold much of any neuron by chance.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.sparse import csr_array

from ..checks import a_number, a_whole_number, checked, must
from .lexical import standardised

ALIKE = "its spelling", "its translation", "a synonym of its spelling", "other words"
# of each word: contexts in the other language ended by it; English ones ended by it, by a substitute, and
# those of the first translated, ended by the translation; two of each
STIMULI = "word, other language", "word, English", "substitute", "translation"


def _energies(square: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    places = csr_array((np.ones(len(group), square.dtype), (group, np.arange(len(group)))),
                       shape=(n_groups, len(group)))  # fmt: skip
    return places @ square


@checked(
    must(
        lambda activity, shown, half: activity.ndim == 2 and len(activity) == len(shown) == len(half) > 0,
        "activity must be (n_positions, n_neurons), shown and half as long, not empty; got {activity:shape}, "
        "{shown:len} and {half:len}",
    ),
    must(
        lambda half: 0 < np.mean(half) < 1,
        "half must be True of some positions and False of others; got {half:len} alike",
    ),
    n_few=a_whole_number(),
)
def held_by_few(
    activity: Float[np.ndarray, "n_positions n_neurons"],
    shown: Int[np.ndarray, "n_positions ..."],
    half: Bool[np.ndarray, " n_positions"],
    *,
    n_few: int = 5,
) -> Float[np.ndarray, " n_neurons"]:
    """Share of a neuron's squared activity that the few things hold which hold most of it elsewhere.

    Activity is taken about its mean. `shown` says what each position shows, a token or, in two columns, a
    pair; the few are found in one half of the text and asked in the other, both ways round.

    Units:  0 to 1, the mean of both ways; 0 for a neuron that never changes.
    Raises: ValueError for arrays of other lengths, or a half that is all or nothing.
    Source: the detectors of Voita et al. 2023, for neurons without a threshold.
    """
    square = (activity - activity.mean(0)) ** 2
    _, group = np.unique(shown, axis=0, return_inverse=True)
    group, n_groups = group.ravel(), int(group.max()) + 1
    by_half = [_energies(square[half == side], group[half == side], n_groups) for side in (False, True)]
    few = min(n_few, n_groups)
    shares = []
    for found, asked in (by_half, by_half[::-1]):
        ordered = np.ascontiguousarray(-found.T)  # neighbours in memory, to be quick
        most = np.argpartition(ordered, few - 1, axis=1)[:, :few].T
        total = asked.sum(0)
        held = np.take_along_axis(asked, most, axis=0).sum(0)
        shares.append(np.divide(held, total, out=np.zeros_like(total), where=total > 0))
    return (shares[0] + shares[1]) / 2


@checked(
    must(lambda activity: activity.ndim == 2 and activity.size > 0,
         "activity must be (n_positions, n_neurons), not empty; got {activity:shape}"),
    below=a_number(at_least=0),
)  # fmt: skip
def dead(
    activity: Float[np.ndarray, "n_positions n_neurons"], *, below: float = 0.01
) -> Bool[np.ndarray, " n_neurons"]:
    """Whether a neuron never comes to a hundredth of what the layer's neurons come to at most, in the median.

    Gated and GELU neurons are never exactly 0, so that how far they go must be asked.

    Raises: ValueError for another shape.
    """
    most = np.abs(activity).max(0)
    return most < below * np.median(most)


@checked(
    must(
        lambda activity: activity.ndim == 4 and activity.shape[1:3] == (4, 2) and len(activity) > 1,
        "activity must be (n_words, 4, 2, n_neurons) of two words or more; got {activity:shape}",
    )
)
def by_spelling(activity: Float[np.ndarray, "n_words 4 2 n_neurons"]) -> Float[np.ndarray, "n_words 4"]:
    """How alike a word of another language is to its spelling in English, its translation, and others.

    Axes of `activity`: words that two languages spell alike, STIMULI, contexts. Neurons are standardised
    over all stimuli; likeness is the correlation over neurons. All are of one activity in the other language
    and one in English, so that what language does to them is in all of them alike; contexts are crossed.
    The substitute means what the spelling means in English; other words are the others' substitutes and
    translations.

    Shapes: -> (n_words, 4), as ALIKE names them.
    Raises: ValueError for activities of another shape, or of one word.
    """
    z = standardised(activity)
    other, word, substitute, translation = z.transpose(1, 0, 2, 3)
    pairs = (np.einsum("wcn,wdn->w", other, one) / 4 for one in (word, translation, substitute))
    english = (substitute + translation).sum(1)
    others = other.sum(1) * (english.sum(0) - english)
    return np.stack([*pairs, others.sum(1) / (8 * (len(other) - 1))], axis=1)


@checked(
    must(
        lambda activity, labels: activity.ndim == 2 and len(activity) == len(labels) > 0,
        "activity must be (n_texts, width), and labels as long; got {activity:shape} and {labels:len}",
    ),
    must(
        lambda labels: np.unique(labels, return_counts=True)[1].min() > 1,
        "labels must each be there twice or more; got {labels}",
    ),
)
def told_apart(
    activity: Float[np.ndarray, "n_texts width"], labels: Int[np.ndarray, " n_texts"]
) -> Bool[np.ndarray, " n_texts"]:
    """Which texts the nearest class mean puts in their own class, each left out of the means in its turn.

    Every entry is standardised over the texts first.

    Raises: ValueError for labels of another length, or a label that is there once.
    """
    z = (activity - activity.mean(0)) / (activity.std(0) + 1e-6)
    classes, label = np.unique(labels, return_inverse=True)
    member = np.eye(len(classes))[label]
    sums, sizes = member.T @ z, member.sum(0)
    right = []
    for row, own in zip(z, member, strict=True):
        means = (sums - own[:, None] * row) / (sizes - own)[:, None]
        right.append(own[((means - row) ** 2).sum(1).argmin()] == 1)
    return np.array(right)


@checked(
    must(
        lambda before, after: before.ndim == 1 and before.shape == after.shape,
        "before and after must be of the same texts; got {before:shape} and {after:shape}",
    ),
)
def gained_and_lost(
    before: Bool[np.ndarray, " n_texts"], after: Bool[np.ndarray, " n_texts"]
) -> tuple[int, int, float]:
    """How many texts one of two readings alone gets right, each way, and McNemar's exact p of that split.

    Raises: ValueError for readings of other lengths.
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return gained, lost, float(p)
