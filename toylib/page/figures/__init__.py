"""Figures of toy models: axes in, axes out.

Functions take arrays (torch or numpy) and draw them; they compute no statistic, show nothing and change
no global setting. Kinds and series are in Okabe and Ito's colours, amounts in viridis or cividis, signs
in purple and orange: all of them can be told apart by colour-blind readers.
"""

from .canvas import KIND_COLOURS, SERIES, SMALL, figure, legend
from .sweeps import (
    PHASE_COLOURS,
    PLATEAUS,
    dimensionality,
    distribution,
    falling_density,
    phase_diagram,
    phase_legend,
    stacked_share,
    trend,
)
from .values import as_csv, facts
from .weights import (
    FEATURES,
    INTERFERENCE,
    SIGNED,
    feature_vectors,
    interference_scale,
    neuron_feature_graph,
    neuron_stack,
    norm_and_interference,
    weights_and_bias,
)

__all__ = [
    "FEATURES",
    "INTERFERENCE",
    "KIND_COLOURS",
    "PHASE_COLOURS",
    "PLATEAUS",
    "SERIES",
    "SIGNED",
    "SMALL",
    "as_csv",
    "dimensionality",
    "distribution",
    "facts",
    "falling_density",
    "feature_vectors",
    "figure",
    "interference_scale",
    "legend",
    "neuron_feature_graph",
    "neuron_stack",
    "norm_and_interference",
    "phase_diagram",
    "phase_legend",
    "stacked_share",
    "trend",
    "weights_and_bias",
]
