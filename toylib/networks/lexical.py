"""How lexical a layer's neurons are: the share of their variance that the token explains, and the pair.

    x = f(token) + g(token and the one before) + context

A token's own showings must not count as explained: what a token says is asked of *other* documents. For a
position i with token t the activity x_i (less its mean) is multiplied with the mean of the same token's
activities in all other documents, m_i. These two share nothing but the token, so

    sum_i x_i m_i / sum_i x_i^2

is the share of variance that the token explains, without bias whatever the number of showings, where held-out
prediction (1 - sum (x_i - m_i)^2 / sum x_i^2) also pays for the noise in m_i. A token that no other document
has is explained by the mean, and adds nothing above the line; so sums are also taken over the positions alone
whose token, or pair, another document has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from ..checks import checked, must

# where another document has the token: variance, and what the token explains of it; where another has the
# pair too: variance, what the token explains and what the pair
ROWS = ("variance", "token", "variance, pairs", "token, pairs", "pair, pairs")


class Lexical(NamedTuple):
    """Variance, and what explains it, summed over positions and neurons; shares are ratios of them.

    Of each of the rows (ROWS) there is a sum for every document and for every neuron.

    Shapes: by_document (5, n_documents), by_neuron (5, n_neurons), variance (n_documents,) that of all
            positions, known (2,) the share of positions whose token, and whose pair, another document has.
    """

    by_document: Float[np.ndarray, "5 n_documents"]
    by_neuron: Float[np.ndarray, "5 n_neurons"]
    variance: Float[np.ndarray, " n_documents"]
    known: Float[np.ndarray, " 2"]


class _Groups:
    """Positions by what they show (a token, a pair), and by that and their document."""

    def __init__(self, shown: np.ndarray, document: np.ndarray):
        self.n = len(shown)
        _, group = np.unique(shown, axis=0, return_inverse=True)
        self.within, self.cell = np.unique(
            np.stack([group.ravel(), document], axis=1), axis=0, return_inverse=True
        )
        self.cell = self.cell.ravel()
        n_here = np.bincount(self.cell)
        self.elsewhere = np.bincount(group.ravel())[self.within[:, 0]] - n_here
        self.known = (self.elsewhere > 0)[self.cell]  # by position

    def _sums(self, index: np.ndarray, values: np.ndarray) -> np.ndarray:
        ones = np.ones(len(index), dtype=values.dtype)
        places = csr_array((ones, (index, np.arange(len(index)))), shape=(index.max() + 1, len(index)))
        return places @ values

    def products(self, x: np.ndarray, *parts: np.ndarray) -> list[np.ndarray]:
        """Sums over a cell's positions of x times the mean of its group elsewhere: (n_cells, n_neurons) each.

        One for each part, a mask over positions that says which of them are summed.
        """
        here = self._sums(self.cell, x)
        there = self._sums(self.within[:, 0], here)[self.within[:, 0]] - here
        there /= np.maximum(self.elsewhere, 1)[:, None]
        there[self.elsewhere == 0] = 0
        return [(here if part.all() else self._sums(self.cell, x * part[:, None])) * there for part in parts]


@checked(
    must(
        lambda activity, token, before, document: (
            activity.ndim == 2
            and all(len(activity) == len(places) > 0 for places in (token, before, document))
        ),
        "activity must be (n_positions, n_neurons), token, before and document as long, not empty; got "
        "{activity:shape}, {token:len}, {before:len} and {document:len}",
    ),
)
def lexical(
    activity: Float[np.ndarray, "n_positions n_neurons"],
    token: Int[np.ndarray, " n_positions"],
    before: Int[np.ndarray, " n_positions"],
    document: Int[np.ndarray, " n_positions"],
) -> Lexical:
    """What the token, and the token with the one before it, explain of a layer's variance.

    `document` counts from 0. Sums, so that shares are ratios of them: over documents, which can be resampled,
    or over neurons.

    Raises: ValueError for arrays of other shapes or lengths.
    """
    _, document = np.unique(document, return_inverse=True)
    x = activity - activity.mean(0)
    tokens, pairs = _Groups(token, document), _Groups(np.stack([before, token], 1), document)
    every, square = np.ones(len(x), bool), x * x
    of_token, where_paired = tokens.products(x, every, pairs.known)
    (of_pair,) = pairs.products(x, every)
    n = int(document.max()) + 1
    rows = [
        _summed(square[tokens.known], document[tokens.known], n),
        _summed(of_token, tokens.within[:, 1], n),
        _summed(square[pairs.known], document[pairs.known], n),
        _summed(where_paired, tokens.within[:, 1], n),
        _summed(of_pair, pairs.within[:, 1], n),
    ]
    by_document, by_neuron = (np.stack(part) for part in zip(*rows, strict=True))
    variance, _ = _summed(square, document, n)
    return Lexical(by_document, by_neuron, variance, np.array([tokens.known.mean(), pairs.known.mean()]))


def _summed(values: np.ndarray, document: np.ndarray, n_documents: int) -> tuple[np.ndarray, np.ndarray]:
    """By document, and by neuron."""
    return np.bincount(document, values.sum(1, dtype=float), n_documents), values.sum(0, dtype=float)


@checked(
    must(
        lambda activity, table: activity.ndim == 2 and activity.shape == table.shape,
        "activity and table must be (n_positions, n_neurons) both; got {activity:shape} and {table:shape}",
    ),
)
def missed_by_table(
    activity: Float[np.ndarray, "n_positions n_neurons"], table: Float[np.ndarray, "n_positions n_neurons"]
) -> Float[np.ndarray, " n_positions"]:
    """What a table of the vocabulary leaves of each position's variance: the squares of activity less table.

    `table` holds, for each position, the neurons at its token when nothing stands before it.

    Raises: ValueError for arrays of other shapes.
    """
    apart = activity - table
    return np.einsum("ij,ij->i", apart, apart, dtype=float)


def standardised(
    activity: Float[np.ndarray, "*stimuli n_neurons"],
) -> Float[np.ndarray, "*stimuli n_neurons"]:
    """Neurons over all stimuli, then each stimulus over neurons: products of two are their correlations."""
    flat = activity.reshape(-1, activity.shape[-1]).astype(float)
    scale = flat.std(0)
    z = ((flat - flat.mean(0)) / np.where(scale > 0, scale, 1)).reshape(activity.shape)
    z = z - z.mean(-1, keepdims=True)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


@checked(
    must(
        lambda activity: activity.ndim == 5 and activity.shape[1:4] == (2, 2, 2) and len(activity) > 1,
        "activity must be (n_words, 2, 2, 2, n_neurons) of two words or more; got {activity:shape}",
    )
)
def by_word_and_meaning(
    activity: Float[np.ndarray, "n_words 2 2 2 n_neurons"],
) -> Float[np.ndarray, "n_words 2 2"]:
    """How alike two activities are that share the word, the meaning, both or neither.

    Axes of `activity`: ambiguous words, their meanings, contexts, and what stands at the context's end (the
    word itself, a substitute of that meaning). Neurons are standardised over all stimuli; likeness is the
    correlation over neurons of one activity in a first context and one in a second, so that no two stand in
    the same context. Different words are the word and a substitute.

    Shapes: -> (n_words, 2, 2): the same word, another; the same meaning, another.
    Raises: ValueError for activities of another shape, or of one word.
    """
    z = standardised(activity)
    alike = np.einsum("wmfn,wkgn->wmkfg", z[:, :, 0], z[:, :, 1])  # meanings m and k, endings f and g
    words = np.stack([alike[..., 0, 0], (alike[..., 0, 1] + alike[..., 1, 0]) / 2], axis=1)
    same = np.einsum("wimm->wi", words) / 2
    return np.stack([same, words.sum((2, 3)) / 2 - same], axis=2)
