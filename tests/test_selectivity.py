"""Measures of real neurons, worked by hand."""

import numpy as np
import pytest
from bad_input import table

from toylib.networks import selectivity


def test_auroc_counts_the_pairs_that_the_concept_wins_with_ties_half():
    a = np.array([[1.0], [2.0], [2.0], [3.0]])
    # concept 1 has the stimuli with 2 and 3, the rest 1 and 2: pairs (2,1) won, (2,2) tied, (3,1) (3,2) won
    assert selectivity.auroc(a, np.array([0, 1, 0, 1])).tolist() == [[0.125, 0.875]]


def test_auroc_is_one_for_a_perfect_detector_and_one_half_for_a_constant():
    a = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0], [9.0, 5.0]])
    assert selectivity.auroc(a, np.array([0, 0, 1, 2]))[:, 2].tolist() == [1.0, 0.5]


def test_auroc_is_nan_for_a_concept_without_stimuli():
    area = selectivity.auroc(np.array([[0.0], [1.0]]), np.array([0, 2]))
    assert np.isnan(area[0, 1])
    assert area[0, 2] == 1


def test_effective_labels_counts_equal_shares_as_their_number():
    a = np.array([[5.0], [4.0], [3.0], [2.0], [1.0], [0.0]])
    labels = np.array([0, 1, 0, 1, 2, 2])
    assert selectivity.effective_labels(a, labels, k=1) == pytest.approx([1])
    assert selectivity.effective_labels(a, labels, k=4) == pytest.approx([2])
    assert selectivity.effective_labels(a, labels, k=6) == pytest.approx([3])
    # shares 2/3 and 1/3: exp(H) = 3 / 2^(2/3)
    assert selectivity.effective_labels(a, labels, k=3) == pytest.approx([3 / 2 ** (2 / 3)])


def test_effective_labels_of_a_constant_neuron_are_not_defined():
    assert np.isnan(selectivity.effective_labels(np.ones((4, 1)), np.array([0, 0, 1, 1]), k=2)).all()


def test_treves_rolls_is_zero_for_uniform_and_one_for_a_single_stimulus():
    a = np.array([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, -1.0], [1.0, 3.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    # half of four stimuli: (1 - 1/2) / (1 - 1/4) = 2/3
    np.testing.assert_allclose(selectivity.treves_rolls(a), [0, 1, np.nan, 2 / 3])


def test_class_selectivity_compares_the_favourite_label_with_the_mean_of_the_others():
    a = np.array([[6.0, 1.0, 0.0, 0.0], [2.0, 1.0, 5.0, 0.0], [1.0, 1.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    # first neuron: means 4 (label 0), 1 and 3: (4 - 2) / (4 + 2)
    found = selectivity.class_selectivity(a, np.array([0, 0, 1, 2]))
    np.testing.assert_allclose(found, [1 / 3, 0, 1, np.nan])


def test_vendi_score_counts_directions():
    states = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    a = np.array([[5.0, 5.0, 1.0], [4.0, 1.0, 1.0], [1.0, 4.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    # the two that drive the first neuron differ in length alone, those of the second have nothing in common
    np.testing.assert_allclose(selectivity.vendi_score(a, states, k=2), [1, 2, np.nan], atol=1e-9)


A = np.zeros((3, 2))


test_bad_input_is_refused_by_name = table(
    [
        (
            lambda: selectivity.vendi_score(A, A[:2], k=2),
            "activations and states must be of the same stimuli",
        ),
        (
            lambda: selectivity.auroc(A, np.array([0, 1])),
            "labels must be one whole number, 0 or more, per stimulus (3)",
        ),
        (lambda: selectivity.auroc(A, np.array([0, 1, -1])), "labels must be one whole number, 0 or more"),
        (lambda: selectivity.auroc(A, np.array([0, 1, 10**7])), "labels must be 65535 or less; got 10000000"),
        (lambda: selectivity.auroc(A + np.nan, np.array([0, 1, 1])), "activations must be finite; got nan"),
        (lambda: selectivity.effective_labels(A, np.array([0, 1, 1]), k=4), "1 or more and 3 or less; got 4"),
        (lambda: selectivity.treves_rolls(A[:1]), "activations must hold two stimuli or more; got 1"),
        (
            lambda: selectivity.class_selectivity(A, np.ones(3, int)),
            "labels must hold two different ones or more; got",
        ),
    ]
)
