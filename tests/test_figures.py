"""Figures: the data are read back from what was drawn."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bad_input import refused
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from toylib.page import figures

PENTAGON = np.stack([np.cos(2 * np.pi * np.arange(5) / 5), np.sin(2 * np.pi * np.arange(5) / 5)])
DENSITY = np.array([1.0, 0.3, 0.1, 0.03])
RISING = np.array([0.1, 0.4, 0.8, 0.9])
PAIR_IN = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])  # (n_hidden, n_features)


@pytest.fixture(autouse=True)
def no_global_state_is_touched():
    """Around every test: the first that leaves a setting changed or a figure open fails."""
    settings, before = dict(matplotlib.rcParams), plt.get_fignums()
    yield
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == before


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def bars(ax):
    """(x, bottom, top) of every bar, in the order drawn."""
    return [(p.get_x() + p.get_width() / 2, p.get_y(), p.get_y() + p.get_height()) for p in ax.patches]


# Every drawing function with good input: what holds for all of them is tested on all of them.
GOOD = {
    "feature_vectors": lambda ax: figures.feature_vectors(ax, PENTAGON),
    "weights_and_bias": lambda ax: figures.weights_and_bias(ax, PENTAGON, np.zeros(5)),
    "norm_and_interference": lambda ax: figures.norm_and_interference(ax, np.ones(3), np.zeros(3)),
    "dimensionality": lambda ax: figures.dimensionality(ax, 1 / DENSITY, np.full((4, 3), 0.5)),
    "neuron_stack": lambda ax: figures.neuron_stack(ax, PAIR_IN, kinds=np.array([0, 1, 2, 2])),
    "neuron_feature_graph": lambda ax: figures.neuron_feature_graph(ax, PAIR_IN, PAIR_IN.T),
    "phase_diagram": lambda ax: figures.phase_diagram(
        ax,
        DENSITY,
        np.array([0.1, 10]),
        np.array([[0, 0, 1, 2], [1, 1, 2, 2]]),
        labels=["no", "own", "shared"],
    ),
    "trend": lambda ax: figures.trend(ax, DENSITY, RISING, RISING - 0.1, RISING + 0.1),
    "distribution": lambda ax: figures.distribution(ax, DENSITY, np.zeros((4, 7))),
    "stacked_share": lambda ax: figures.stacked_share(ax, DENSITY, np.full((4, 3), 1 / 3)),
    "falling_density": figures.falling_density,
    "legend": lambda ax: figures.legend(figures.trend(ax, DENSITY, RISING, label="rising")),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_figure_function_returns_its_axes_and_draws_in_no_other(name):
    left, right = Figure(layout="constrained").subplots(1, 2)
    untouched = [len(right.get_children()), right.get_xlim(), right.get_xlabel()]
    assert GOOD[name](left) is left
    left.figure.canvas.draw()
    assert [len(right.get_children()), right.get_xlim(), right.get_xlabel()] == untouched


@pytest.mark.parametrize("name", GOOD)
def test_a_figure_function_can_be_drawn_small_without_a_warning(name, recwarn):
    fig, axes = figures.figure(1, 2, width=6)
    GOOD[name](axes[0])
    fig.canvas.draw()
    plt.close(fig)
    assert [str(w.message) for w in recwarn] == []


def test_no_figure_is_wider_than_the_page_has_room_for():
    fig, _ = figures.figure(1, 4, width=10, height=3)
    assert fig.get_size_inches().tolist() == [8.1, 3]
    plt.close(fig)


def test_every_text_is_at_least_eight_points():
    for draw in GOOD.values():
        fig, ax = figures.figure()
        draw(ax)
        fig.canvas.draw()
        sizes = {t.get_fontsize() for t in fig.findobj(matplotlib.text.Text) if t.get_text()}
        plt.close(fig)
        assert min(sizes, default=8) >= 8


def test_every_public_drawing_function_is_in_the_table_of_good_input():
    apart = {"figure", "interference_scale", "phase_legend"}
    public = {
        name
        for name, value in vars(figures).items()
        if callable(value) and getattr(value, "__module__", "").startswith(figures.__name__)
    }
    assert public <= set(figures.__all__)
    assert public - apart == set(GOOD)


# --- features and directions -----------------------------------------------------------------------------


def test_feature_vectors_draws_one_segment_per_feature_at_its_weight(ax):
    figures.feature_vectors(ax, torch.tensor(PENTAGON, requires_grad=True))
    segments, tips = ax.collections
    assert len(segments.get_segments()) == 5
    for i, segment in enumerate(segments.get_segments()):
        np.testing.assert_allclose(segment, [[0, 0], PENTAGON[:, i]])
    np.testing.assert_allclose(tips.get_offsets(), PENTAGON.T)
    assert ax.get_aspect() == 1


def test_feature_vectors_colours_by_importance_and_not_by_position(ax):
    figures.feature_vectors(ax, PENTAGON, importance=np.array([0.1, 0.2, 5.0, 0.3, 0.4]))
    colours = ax.collections[0].get_colors()
    by_luminance = np.argsort(colours[:, :3] @ [0.2126, 0.7152, 0.0722])
    assert by_luminance.tolist() == [2, 4, 3, 1, 0]  # the most important is the darkest


def test_feature_vectors_shows_long_vectors_whole_unless_told_a_limit(ax):
    figures.feature_vectors(ax, 3 * PENTAGON)
    assert ax.get_xlim()[1] > 3
    figures.feature_vectors(ax, 3 * PENTAGON, limit=2)
    assert ax.get_xlim() == (-2, 2)


def test_weights_and_bias_shows_the_product_a_gap_and_the_bias_on_one_symmetric_scale(ax):
    W, b = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]]), np.array([0.1, -0.2, 0.3])
    figures.weights_and_bias(ax, W, b)
    image = ax.images[0].get_array()
    # W^T W by hand: an antipodal pair, and a feature of squared length 4
    np.testing.assert_allclose(image[:, :3], [[1, -1, 0], [-1, 1, 0], [0, 0, 4]])
    assert image.mask[:, 3].all()
    np.testing.assert_allclose(image[:, 4], b)
    assert ax.images[0].get_clim() == (-4, 4)


def test_weights_and_bias_draws_negative_purple_and_positive_orange(ax):
    figures.weights_and_bias(ax, np.array([[1.0, -1.0]]), np.zeros(2))
    negative, _, positive = (ax.images[0].cmap(v)[:3] for v in (0.0, 0.5, 1.0))
    assert negative[2] > negative[0]  # more blue than red
    assert positive[0] > positive[2]


def test_norm_and_interference_has_a_bar_of_each_norm_darker_with_interference(ax):
    figures.norm_and_interference(ax, np.array([1.0, 0.5, 1.5]), np.array([0.0, 0.5, 3.0]))
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5, 1.5]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches] == [0, 1, 2]
    luminance = [np.dot(bar.get_facecolor()[:3], [0.2126, 0.7152, 0.0722]) for bar in ax.patches]
    assert luminance[0] > luminance[1] > luminance[2]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first feature is on top
    assert ax.get_xlim()[1] > 1.5


def test_the_scale_beside_the_axes_says_what_the_colours_mean():
    fig = Figure(layout="constrained")
    ax = fig.subplots()
    figures.interference_scale(fig, ax)
    scale = fig.axes[1]
    assert scale.get_ylabel() == "interference"
    assert scale.get_ylim() == (0, 1)


def test_dimensionality_puts_a_dot_at_every_feature_and_names_the_plateaus(ax):
    x, D = np.array([1.0, 10.0]), np.array([[1.0, 0.5, 0.0], [0.4, 0.4, 0.375]])
    figures.dimensionality(ax, x, torch.tensor(D))
    dots = ax.lines[-1].get_xydata()
    np.testing.assert_allclose(dots, [[1, 1], [1, 0.5], [1, 0], [10, 0.4], [10, 0.4], [10, 0.375]])
    drawn = {line.get_ydata()[0]: text.get_text() for line, text in zip(ax.lines[:-1], ax.texts, strict=True)}
    assert drawn == {1: "1", 0.75: "3/4", 2 / 3: "2/3", 0.5: "1/2", 0.4: "2/5", 0.375: "3/8", 0: "0"}
    assert ax.get_xscale() == "log"


# --- neurons ---------------------------------------------------------------------------------------------


def test_neuron_stack_stacks_positive_weights_upwards_and_negative_ones_downwards(ax):
    figures.neuron_stack(ax, np.array([[1.0, -0.5, 2.0], [0.0, -1.0, -1.0]]))
    found = sorted((round(x), low, high) for x, low, high in ((x, *sorted(y)) for x, *y in bars(ax)))
    assert found == [(0, -0.5, 0.0), (0, 0.0, 1.0), (0, 1.0, 3.0), (1, -2.0, -1.0), (1, -1.0, 0.0)]
    low, high = ax.get_ylim()
    assert low < -2
    assert high > 3


def test_neuron_stacks_that_share_a_scale_are_all_within_it():
    fig, axes = figures.figure(1, 3, sharey=True)
    for ax, size in zip(axes, (1, -3, 2), strict=True):
        figures.neuron_stack(ax, np.full((2, 2), float(size)))
    low, high = axes[0].get_ylim()
    assert -6.5 < low < -6
    assert 4 < high < 4.5
    plt.close(fig)


def test_neuron_stack_gives_a_feature_the_same_colour_in_every_neuron_and_no_other(ax):
    figures.neuron_stack(ax, np.array([[1.0, 2.0], [-3.0, 4.0]]))
    colours = {abs(p.get_height()): to_hex(p.get_facecolor()) for p in ax.patches}
    assert colours[1.0] == colours[3.0] != colours[2.0] == colours[4.0]


def test_neuron_stack_marks_each_neuron_in_the_colour_of_its_kind(ax):
    figures.neuron_stack(ax, PAIR_IN, kinds=torch.tensor([2, 0, 1, 1]))
    kinds = {x: line.get_color() for line in ax.lines if line.get_marker() == "s" for x in line.get_xdata()}
    names = ["polysemantic", "dead", "monosemantic", "monosemantic"]
    assert kinds == {neuron: figures.KIND_COLOURS[name] for neuron, name in enumerate(names)}


def test_neuron_stacks_above_each_other_leave_room_for_the_marks():
    fig, (upper, lower) = figures.figure(2, 1, sharex=True)
    for ax in (upper, lower):
        figures.neuron_stack(ax, PAIR_IN, kinds=np.array([1, 1, 2, 2])).set_title("a layer")
        ax.label_outer()
    fig.canvas.draw()
    marks = [line.get_window_extent() for line in upper.lines if line.get_marker() == "s"]
    assert min(box.y0 for box in marks) > lower.title.get_window_extent().y1
    plt.close(fig)


def test_neuron_feature_graph_draws_a_line_for_each_weight_above_the_threshold(ax):
    W_in = np.array([[1.0, 0.05], [-0.5, 0.2]])
    figures.neuron_feature_graph(ax, W_in, threshold=0.1)
    lines, features, neurons = ax.collections
    x_feature, x_neuron = features.get_offsets()[:, 0], neurons.get_offsets()[:, 0]
    drawn = {(tuple(a), tuple(b)) for a, b in lines.get_segments()}
    pairs = [(0, 0), (1, 0), (1, 1)]  # (neuron, feature)
    assert drawn == {((x_feature[i], 2.0), (x_neuron[j], 1.0)) for j, i in pairs}
    widths = lines.get_linewidths()  # in order of strength: 0.2, -0.5, 1
    assert widths[0] < widths[1] < widths[2]
    colours = [to_hex(c) for c in lines.get_colors()]
    assert colours[0] == colours[2] != colours[1]


def test_neuron_feature_graph_without_output_weights_draws_no_outputs(ax):
    figures.neuron_feature_graph(ax, PAIR_IN)
    assert ax.get_ylim()[0] > 0
    assert len(ax.collections) == 3


def test_weights_of_zero_are_drawn_as_nothing_and_break_nothing(ax):
    figures.neuron_stack(ax, np.zeros((3, 2)))
    assert not ax.patches
    figures.neuron_feature_graph(ax, np.zeros((3, 2)), np.zeros((2, 3)), threshold=0)
    assert not ax.collections[0].get_segments()


# --- along a setting -------------------------------------------------------------------------------------


def test_phase_diagram_has_each_code_in_the_cell_of_its_density_and_importance(ax):
    density, importance = np.array([1.0, 0.1, 0.01]), np.array([0.1, 1.0, 10.0, 100.0])
    codes = np.arange(12).reshape(4, 3) % 3
    figures.phase_diagram(ax, density, importance, codes, labels=["none", "own", "shared"])
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array(), codes)
    corners = np.log10(mesh.get_coordinates())
    # in logarithms every setting is in the middle of its cell, at the ends as well
    np.testing.assert_allclose(corners[0, :, 0], [0.5, -0.5, -1.5, -2.5])
    np.testing.assert_allclose(corners[:, 0, 1], [-1.5, -0.5, 0.5, 1.5, 2.5])
    assert ax.xaxis_inverted()
    colours = dict(zip(["none", "own", "shared"], figures.PHASE_COLOURS, strict=False))
    figures.phase_legend(ax.figure, list(colours), 3)
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(colours)
    for code, patch in enumerate(legend.get_patches()):
        assert patch.get_facecolor() == to_rgba(figures.PHASE_COLOURS[code]) == mesh.cmap(mesh.norm(code))


def test_trend_has_a_point_for_every_density_and_the_interval_around_it(ax):
    figures.trend(ax, DENSITY, RISING, RISING - 0.1, RISING + 0.05, label="trained")
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xydata(), np.c_[DENSITY, RISING])
    assert line.get_marker() == "o"
    assert line.get_label() == "trained"
    (band,) = ax.collections
    outline = {(round(x, 9), round(y, 9)) for x, y in band.get_paths()[0].vertices}
    expected = [(x, round(y + d, 9)) for x, y in zip(DENSITY, RISING, strict=True) for d in (-0.1, 0.05)]
    assert set(expected) <= outline


def test_density_falls_to_the_right_on_a_log_axis_however_many_trends_are_drawn(ax):
    for _ in range(2):
        figures.trend(ax, DENSITY, RISING)
        assert ax.xaxis_inverted()
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()
    assert {"1", "0.1"} <= {t.get_text() for t in ax.get_xticklabels()}


def test_trend_leaves_the_axis_alone_if_it_is_not_a_density(ax):
    figures.trend(ax, np.array([-1.0, 0.0, 1.0]), np.zeros(3), density_axis=False)
    assert ax.get_xscale() == "linear"
    assert not ax.xaxis_inverted()


def test_distribution_draws_the_median_and_the_two_bands(ax):
    samples = np.stack([np.arange(101.0), np.arange(101.0) + 1000])  # quantile q of the first is 100 q
    figures.distribution(ax, np.array([0.0, 1.0]), samples)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [50, 1050])
    at_first = [band.get_paths()[0].vertices for band in ax.collections]
    at_first = [v[v[:, 0] == 0, 1] for v in at_first]
    assert [(y.min(), y.max()) for y in at_first] == [(5, 95), (25, 75)]


def test_stacked_share_stacks_the_shares_in_the_kinds_colours(ax):
    shares = np.array([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9]])
    figures.stacked_share(ax, np.array([1.0, 0.1]), shares)
    heights = np.array([[bar.get_height() for bar in group] for group in ax.containers])
    np.testing.assert_allclose(heights, shares.T)
    tops = [bar.get_y() + bar.get_height() for bar in ax.containers[-1]]
    np.testing.assert_allclose(tops, 1)
    for group, (name, colour) in zip(ax.containers, figures.KIND_COLOURS.items(), strict=True):
        assert group.get_label() == name
        assert group[0].get_facecolor() == to_rgba(colour)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "0.1"]


def test_figure_has_the_books_style():
    fig, axes = figures.figure(2, 3, width=6, height=4, sharex=True)
    assert axes.shape == (2, 3)
    assert fig.get_size_inches().tolist() == [6, 4]
    assert not axes[0, 0].spines["top"].get_visible()
    fig.canvas.draw()
    assert axes[1, 0].get_xticklabels()[0].get_fontsize() == figures.SMALL
    plt.close(fig)


def test_the_kinds_are_named_as_the_measures_name_them():
    from toylib import measures

    assert tuple(figures.KIND_COLOURS) == measures.KINDS


# --- bad input -------------------------------------------------------------------------------------------

ONES, NAN = np.ones(4), np.array([1.0, np.nan, 1.0, 1.0])
IMPORTANCE, CODES = np.array([0.1, 10.0]), np.zeros((2, 4))
BAD = [
    # function, arguments, options, what the message says: the argument, and what came
    ("feature_vectors", (np.ones((3, 5)),), {}, r"W must be \(2, n_features\); got shape \(3, 5\)"),
    ("feature_vectors", (ONES,), {}, r"W must be 2-D; got shape \(4,\)"),
    ("feature_vectors", (np.ones((2, 0)),), {}, r"W must not be empty"),
    ("feature_vectors", (np.full((2, 2), np.nan),), {}, r"W must be finite; got nan"),
    ("feature_vectors", (PENTAGON,), {"importance": ONES}, r"importance must have W's 5 entries; got 4"),
    ("feature_vectors", (PENTAGON,), {"limit": 0}, r"limit must be a finite number, above 0; got 0"),
    ("weights_and_bias", (PENTAGON, ONES), {}, r"b_final must have W's n_features = 5 entries; got 4"),
    ("weights_and_bias", (PENTAGON[None], ONES), {}, r"W must be 2-D; got shape \(1, 2, 5\)"),
    ("weights_and_bias", (PENTAGON, np.ones((1, 5))), {}, r"b_final must be 1-D; got shape \(1, 5\)"),
    ("weights_and_bias", (PENTAGON, np.ones(5)), {"limit": -1}, r"limit must be .* above 0; got -1"),
    (
        "norm_and_interference",
        (ONES, np.ones(3)),
        {},
        r"norm, interference must be equally long; got \[4, 3\]",
    ),
    ("norm_and_interference", (-ONES, ONES), {}, r"norm must be 0 or more; got -1"),
    ("norm_and_interference", (ONES, -ONES), {}, r"interference must be 0 or more; got -1"),
    ("norm_and_interference", (NAN, ONES), {}, r"norm must be finite; got nan"),
    ("dimensionality", (ONES, np.ones((3, 2))), {}, r"x, D must be equally long; got \[4, 3\]"),
    ("dimensionality", (0 * ONES, np.ones((4, 2))), {}, r"x must be positive, for its log scale; got 0"),
    ("dimensionality", (ONES, ONES), {}, r"D must be 2-D; got shape \(4,\)"),
    ("neuron_stack", (ONES,), {}, r"weights must be 2-D; got shape \(4,\)"),
    (
        "neuron_stack",
        (PAIR_IN,),
        {"kinds": np.ones(3)},
        r"kinds must be 0, 1 or 2 for each of 4 neurons; got \[",
    ),
    ("neuron_stack", (PAIR_IN,), {"kinds": 3 * ONES}, r"kinds must be 0, 1 or 2 .* got \[3.0"),
    ("neuron_feature_graph", (ONES,), {}, r"W_in must be 2-D; got shape \(4,\)"),
    ("neuron_feature_graph", (PAIR_IN, PAIR_IN), {}, r"W_out must be \(2, 4\).*; got \(4, 2\)"),
    ("neuron_feature_graph", (PAIR_IN,), {"threshold": 2}, r"threshold must be .* 1 or less; got 2"),
    (
        "phase_diagram",
        (ONES, IMPORTANCE, np.ones((4, 2))),
        {"labels": ["a"]},
        r"values must be \(2, 4\); got shape \(4, 2\)",
    ),
    ("phase_diagram", (0 * ONES, IMPORTANCE, CODES), {"labels": ["a"]}, r"density must be positive.*; got 0"),
    (
        "phase_diagram",
        (DENSITY, -IMPORTANCE, CODES),
        {"labels": ["a"]},
        r"importance must be positive.*; got -10",
    ),
    ("phase_diagram", (DENSITY, IMPORTANCE, CODES), {"labels": []}, r"labels must be 1 to 4 names; got 0"),
    (
        "phase_diagram",
        (DENSITY[[1, 0, *range(2, len(DENSITY))]], IMPORTANCE, CODES),
        {"labels": list("abc")},
        r"density must rise or fall all along; got \[",
    ),
    (
        "phase_diagram",
        (DENSITY, IMPORTANCE, CODES),
        {"labels": list("abcde")},
        r"labels must be 1 to 4 .* got 5",
    ),
    (
        "phase_diagram",
        (DENSITY, IMPORTANCE, CODES + 2),
        {"labels": ["a", "b"]},
        r"values must be .* 0 to 1; got 2",
    ),
    (
        "phase_diagram",
        (DENSITY, IMPORTANCE, CODES * np.nan),
        {"labels": ["a"]},
        r"values must be finite; got nan",
    ),
    ("trend", (DENSITY, np.ones(3)), {}, r"x, estimate must be equally long; got \[4, 3\]"),
    ("trend", (DENSITY, NAN), {}, r"estimate must be finite; got nan"),
    ("trend", (DENSITY - 1, ONES), {}, r"x must be positive, for its log scale; got -0.97"),
    ("trend", (DENSITY, ONES, ONES), {}, r"low and high must be given together; got only low"),
    ("trend", (DENSITY, ONES), {"high": ONES}, r"low and high must be given together; got only high"),
    ("trend", (DENSITY, ONES, ONES, np.ones(3)), {}, r"x, low, high must be equally long; got \[4, 4, 3\]"),
    ("trend", (DENSITY, ONES, 2 * ONES, ONES), {}, r"low must not be above high; got 2.0 > 1.0"),
    ("distribution", (DENSITY, np.ones((3, 9))), {}, r"x, samples must be equally long; got \[4, 3\]"),
    ("distribution", (DENSITY, np.ones((4, 0))), {}, r"samples must not be empty; got shape \(4, 0\)"),
    ("stacked_share", (DENSITY, np.ones((4, 2))), {}, r"shares must be \(4, 3\); got shape \(4, 2\)"),
    (
        "stacked_share",
        (DENSITY, np.ones((4, 3))),
        {},
        r"shares must be 0 or more and add up to 1; got 1.0, \[3",
    ),
    ("stacked_share", (DENSITY, np.array([[2.0, -1.0, 0.0]] * 4)), {}, r"shares must be 0 or more .* got -1"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("name", "arguments", "options", "message"), BAD)
def test_bad_input_is_named_before_anything_is_drawn(name, arguments, options, message, ax):
    before = ax.get_children()
    refused(lambda: getattr(figures, name)(ax, *arguments, **options), re.compile(message))
    assert ax.get_children() == before


@pytest.mark.bad_input
@pytest.mark.parametrize("size", [{"width": 0}, {"height": -1.0}, {"width": "wide"}])
def test_figure_names_a_size_that_is_not_positive_and_opens_nothing(size):
    with pytest.raises(ValueError, match=f"{next(iter(size))} must be a finite number, above 0; got"):
        figures.figure(**size)
