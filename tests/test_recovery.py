"""The sparse autoencoder and the matching score, against dictionaries whose answer is known."""

import re

import numpy as np
import pytest
import torch
from bad_input import refused, table

from toylib.studies.recovery import SparseAutoencoder, mean_max_matching, train_autoencoder


def known(n_samples=6000, d=8, n=12, density=0.05):
    """Sparse sums of known unit directions: (1, n_samples, d), of mean square length 1, and (d, n)."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((d, n))
    truth /= np.linalg.norm(truth, axis=0)
    strength = rng.random((n_samples, n)) * (rng.random((n_samples, n)) < density)
    h = strength[strength.any(1)] @ truth.T
    return torch.tensor(h / np.sqrt((h**2).sum(1).mean()), dtype=torch.float32)[None], truth


def test_a_permuted_and_rescaled_dictionary_scores_one():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((5, 7))
    assert mean_max_matching(truth, truth[:, rng.permutation(7)] * rng.uniform(0.1, 9, 7)) == pytest.approx(1)


def test_the_best_matching_is_found_where_the_greedy_one_is_not():
    # cosines [[1, .9], [.9, 0]]-like: greedy takes the pair of cosine 1 and leaves the worst one
    angle = np.array([0.0, 0.7])
    truth = np.stack([np.cos(angle), np.sin(angle)])
    other = np.array([0.0, -0.7])
    atoms = np.stack([np.cos(other), np.sin(other)])
    straight = (np.cos(0) + np.cos(1.4)) / 2
    crossed = (np.cos(0.7) + np.cos(0.7)) / 2
    assert crossed > straight
    assert mean_max_matching(truth, atoms) == pytest.approx(crossed)


def test_an_atom_of_the_opposite_sign_is_not_the_feature():
    truth = np.eye(3)
    assert mean_max_matching(truth, -truth) == pytest.approx(0)
    # nor does it count against the features that have one
    assert mean_max_matching(np.eye(2), np.array([[1.0, 0.0], [0.0, -1.0]])) == pytest.approx(0.5)


def test_a_feature_without_an_atom_counts_nothing():
    assert mean_max_matching(np.eye(4), np.eye(4)[:, :1]) == pytest.approx(1 / 4)


def test_an_atom_of_zeros_is_no_direction():
    assert mean_max_matching(np.eye(2), np.zeros((2, 2))) == 0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("truth", "atoms", "message"),
    [
        (np.eye(3), np.eye(4), "columns of one length; got 3 and 4"),
        (np.zeros((3, 2)), np.eye(3), "truth must hold directions; got zeros in column"),
        (np.full((3, 2), np.nan), np.eye(3), "must be finite"),
    ],
)
def test_wrong_dictionaries_are_named(truth, atoms, message):
    refused(lambda: mean_max_matching(truth, atoms), re.compile(message))


test_other_bad_calls_are_named = table(
    [
        (lambda: SparseAutoencoder(0, 4), "d_in must be a whole number, 1 or more; got 0"),
        (
            lambda: train_autoencoder(SparseAutoencoder(8, 12), known()[0], l1=0.1, seed="x"),
            "2**32 - 1; got 'x'",
        ),
        (
            lambda: train_autoencoder(SparseAutoencoder(8, 12), known()[0] * torch.nan, l1=0.1),
            "h must be finite; got nan",
        ),
    ]
)


def test_dense_antipodal_pairs_are_recovered():
    # Adam's steps along the whole gradient leave the atoms of unit length askew (a cosine of 0.95 here)
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    truth = np.hstack([axes, -axes])
    x = rng.random((4000, 8)) * (rng.random((4000, 8)) < 0.3)
    h = torch.tensor(x @ truth.T, dtype=torch.float32)[None]
    autoencoder = SparseAutoencoder(4, 8)
    train_autoencoder(autoencoder, h / h.square().sum(2).mean().sqrt(), l1=0.2, n_steps=1000)
    assert mean_max_matching(truth, autoencoder.atoms[0]) > 0.999


def test_the_autoencoder_is_encoder_relu_decoder():
    autoencoder = SparseAutoencoder(1, 2)
    with torch.no_grad():
        autoencoder.W_enc.copy_(torch.tensor([[[2.0], [-1.0]]]))
        autoencoder.b_enc.copy_(torch.tensor([[-1.0, 0.0]]))
        autoencoder.W_dec.copy_(torch.tensor([[[1.0, -1.0]]]))
    h = torch.tensor([[[3.0], [-2.0]]])
    # f = ReLU(2 h - 1), ReLU(-h): (5, 0) and (0, 2); h' = 5 and -2
    assert autoencoder.encode(h).tolist() == [[[5.0, 0.0], [0.0, 2.0]]]
    assert autoencoder(h).tolist() == [[[5.0], [-2.0]]]


def test_same_seed_gives_same_weights_alone_and_in_a_batch():
    alone, batch = SparseAutoencoder(3, 5, 7), SparseAutoencoder(3, 5, range(10))
    for name, value in alone.state_dict().items():
        assert torch.equal(value[0], batch.state_dict()[name][7]), name


def test_atoms_keep_unit_length_through_training():
    h, _ = known()
    autoencoder = SparseAutoencoder(8, 12)
    train_autoencoder(autoencoder, h, l1=0.1, n_steps=20)
    torch.testing.assert_close(autoencoder.W_dec.detach().norm(dim=1), torch.ones(1, 12))


def test_training_recovers_known_directions_better_than_it_began():
    h, truth = known()
    autoencoder = SparseAutoencoder(8, 12)
    before = mean_max_matching(truth, autoencoder.atoms[0])
    train_autoencoder(autoencoder, h, l1=0.3, n_steps=800)
    after = mean_max_matching(truth, autoencoder.atoms[0])
    assert before < 0.8
    assert after > before + 0.15


def test_the_penalty_makes_activity_smaller():
    h, _ = known()
    activity = []
    for l1 in (0.0, 1.0):
        autoencoder = SparseAutoencoder(8, 12)
        train_autoencoder(autoencoder, h, l1=l1, n_steps=200)
        with torch.no_grad():
            activity.append(autoencoder.encode(h).sum(2).mean().item())
    assert activity[1] < 0.7 * activity[0]


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2, 50, 8), {}, r"h must be \(1, 'n_samples', 8\); got \(2, 50, 8\)"),
        ((1, 50, 7), {}, r"h must be \(1, 'n_samples', 8\); got \(1, 50, 7\)"),
        ((1, 50, 8), {"n_steps": 0}, "n_steps must be a whole number, 1 or more; got 0"),
        ((1, 50, 8), {"l1": -1.0}, "l1 must be a finite number, 0 or more; got -1.0"),
        (
            (1, 50, 8),
            {"batch_size": 51},
            "batch_size must be a whole number, 1 or more and 50 or less; got 51",
        ),
    ],
)
def test_wrong_activations_and_settings_are_named(shape, settings, message):
    settings = {"l1": 0.1, "batch_size": 10} | settings
    refused(
        lambda: train_autoencoder(SparseAutoencoder(8, 12), torch.zeros(shape), **settings),
        re.compile(message),
    )
