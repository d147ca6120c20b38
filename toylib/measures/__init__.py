"""What a trained model does with its features: pure functions of weights.

All are unchanged when a neuron's input weights are multiplied by a and its output weights divided by a, since
that leaves the function unchanged.
"""

from .baselines import no_superposition_loss, random_rotation
from .directions import dimensions_per_feature, feature_dimensionality, feature_norm, interference
from .neurons import (
    DEAD,
    DEAD_BELOW,
    KINDS,
    MONOSEMANTIC,
    POLYSEMANTIC,
    THETA,
    contributions,
    exp_entropy,
    features_of_neurons,
    features_per_neuron,
    holds_both_kinds,
    maximum_share,
    neuron_kinds,
    participation_ratio,
    polysemantic_fraction,
    regime,
    represented,
)
