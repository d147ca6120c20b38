"""Overlaps of vectors, against cases worked out by hand and nulls that can fail."""

import numpy as np
import pytest
from bad_input import table

from toylib.networks import overlaps

CROSS = np.array([[1.0, 0], [0, 2], [-3, 0], [0, -4]])  # two antipodal pairs: of six pairs two have cosine -1


def drawn(n, m, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m))


def whole(vectors, **options):
    blocks = overlaps.blocks_of(vectors, n_blocks=2, **options)
    return blocks.overlap(np.arange(2))


def test_of_two_antipodal_pairs_a_third_of_the_pairs_overlap():
    assert whole(CROSS) == pytest.approx(2 * 2 / 6)
    assert overlaps.welch(4, 2) == pytest.approx(2 / 3)  # so they are as good as can be
    assert overlaps.dimensions(CROSS) == pytest.approx(2)


def test_orthogonal_vectors_do_not_overlap_and_equal_ones_do_by_m():
    assert whole(np.eye(6)) == pytest.approx(0)
    assert whole(np.ones((6, 5))) == pytest.approx(5)
    assert overlaps.dimensions(np.eye(6)) == pytest.approx(6)
    assert overlaps.dimensions(np.ones((6, 5))) == pytest.approx(1)
    assert overlaps.welch(6, 6) == overlaps.welch(6, 8) == 0


def test_random_vectors_have_an_overlap_of_one_within_its_interval():
    found = overlaps.overlap(overlaps.blocks_of(drawn(3000, 40)))
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.02
    assert found.estimate > overlaps.welch(3000, 40)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = [
        f.low <= 1 <= f.high
        for f in (
            overlaps.overlap(overlaps.blocks_of(drawn(600, 12, seed), n_blocks=32)) for seed in range(100)
        )
    ]
    assert 0.95 - 5 * (0.95 * 0.05 / 100) ** 0.5 < np.mean(held)


def test_blocks_give_the_mean_over_pairs_and_copies_are_no_pairs():
    vectors = drawn(30, 4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    squares = (unit @ unit.T) ** 2
    by_hand = 4 * (squares.sum() - 30) / (30 * 29)
    blocks = overlaps.blocks_of(vectors, n_blocks=3)
    assert blocks.overlap(np.arange(3)) == pytest.approx(by_hand)
    part = np.random.default_rng(0).permutation(30)[:10]  # the first block
    alone = 4 * (squares[np.ix_(part, part)].sum() - 10) / 90
    assert blocks.overlap(np.array([0])) == pytest.approx(alone)
    assert blocks.overlap(np.array([0, 0])) == pytest.approx(alone)


def test_the_mean_square_of_all_pairs_is_one_over_the_effective_dimension():
    vectors = drawn(50, 7) + 2
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert overlaps.dimensions(vectors) == pytest.approx(1 / np.mean((unit @ unit.T) ** 2))
    assert overlaps.dimensions(vectors[:5]) == pytest.approx(1 / np.mean((unit[:5] @ unit[:5].T) ** 2))


def test_lengths_do_not_matter_and_a_vector_without_one_is_left_out():
    vectors = drawn(40, 5)
    longer = vectors * np.linspace(0.1, 9, 40)[:, None]
    assert whole(longer) == pytest.approx(whole(vectors))
    with_zero = np.concatenate([vectors, np.zeros((1, 5))])
    assert whole(with_zero) == pytest.approx(whole(vectors))


def test_vectors_shorter_than_half_the_long_ones_are_not_represented():
    lengths = np.array([0, 0.4, 0.6, 1, 1, 1, 1, 1, 1, 1, 30])  # the 90th percentile is 1
    vectors = np.eye(11) * lengths[:, None]
    assert overlaps.represented(vectors).tolist() == [False, False, *[True] * 9]


def test_a_common_direction_is_found_and_taken_out():
    vectors = drawn(2000, 20)
    common = np.zeros(20)
    common[3] = 40
    cone = vectors + common
    along = vectors + common * np.random.default_rng(1).choice([-1, 1], (2000, 1))
    assert whole(cone) > 15
    assert whole(along) > 15
    assert whole(overlaps.without_common(cone, 0)) == pytest.approx(1, abs=0.03)
    assert whole(overlaps.without_common(along, 0)) > 15  # it has no mean
    left = overlaps.without_common(along, 1)
    assert np.abs(left[:, 3]).max() < 2
    assert np.linalg.matrix_rank(left) == 19
    assert whole(left, rank=19) == pytest.approx(1, abs=0.03)


def test_shuffled_coordinates_keep_their_distribution_and_lose_what_goes_together():
    vectors = np.repeat(drawn(400, 10), 2, axis=1)  # every coordinate twice
    dealt = overlaps.shuffled(vectors, seed=1)
    np.testing.assert_array_equal(np.sort(dealt, axis=0), np.sort(vectors, axis=0))
    assert whole(vectors) == pytest.approx(2, abs=0.1)
    assert whole(dealt) == pytest.approx(1, abs=0.05)


def test_the_null_of_shuffled_coordinates_can_fall_on_either_side():
    packed = np.concatenate([np.eye(8), -np.eye(8)] * 4)  # as evenly as can be
    alike = np.repeat(drawn(8, 8), 8, axis=0)
    for vectors, side in ((packed, 1), (alike, -1)):
        own, dealt = (overlaps.blocks_of(v, n_blocks=16) for v in (vectors, overlaps.shuffled(vectors, 3)))
        found = overlaps.less(dealt, own)
        assert side * found.estimate > 0
    assert found.high < 0


def test_all_orthogonal_vectors_are_read_back_and_equal_ones_by_chance():
    assert overlaps.read_back(np.eye(12), 5).mean() == 1
    assert overlaps.read_back(np.ones((1000, 3)), 5, n_sums=200).mean() < 0.05
    pairs = np.repeat(np.eye(50), 2, axis=0)  # each vector has a twin: one of the two is named
    assert overlaps.read_back(pairs, 1, n_sums=400).mean() == pytest.approx(0.5, abs=5 * 0.025)


def test_more_at_once_are_read_back_worse():
    found = [overlaps.read_back(drawn(3000, 60), k).mean() for k in (1, 4, 12, 30)]
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5


test_bad_vectors_are_named = table([
    (lambda: overlaps.represented(np.ones((1, 3))), "vectors must be two vectors or more"),
    (lambda: overlaps.dimensions(np.array([[1, np.nan], [1, 2]])), "vectors must be finite; got NaN"),
    (lambda: overlaps.blocks_of(CROSS, n_blocks=9), "n_blocks must be"),
    (lambda: overlaps.blocks_of(CROSS, n_blocks=2, rank=3), "rank must be"),
    (lambda: overlaps.without_common(CROSS, 2), "n must be"),
    (lambda: overlaps.read_back(CROSS, 5), "n_at_once must be"),
])  # fmt: skip
