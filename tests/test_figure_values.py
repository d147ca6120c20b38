"""The values that a figure draws, as a table: hand-made figures, of which each value is known."""

import csv
import io
import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Circle

from toylib.page import notebook, stamps
from toylib.page.figures import as_csv, facts, figure
from toylib.page.figures.values import COLUMNS, MOST


@pytest.fixture(autouse=True)
def without_windows():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def lines_of(fig, *columns, mark=None):
    """These columns of the figure's table, of rows with this mark."""
    rows = list(csv.DictReader(io.StringIO(as_csv(fig))))
    return [tuple(row[name] for name in columns) for row in rows if mark in (None, row["mark"])]


def test_a_line_and_points_have_a_row_for_each_point_under_their_label():
    fig, ax = figure()
    ax.plot([1, 2], [0.123456, 1e-9], label="trained")
    ax.plot([3], [4], "o")
    ax.set(xlabel="density", ylabel="share", title="all")
    assert as_csv(fig).splitlines() == [
        ",".join(COLUMNS),
        "all,x axis,label,,,,,density",
        "all,y axis,label,,,,,share",
        "all,trained,line,1,0.1235,,,",
        "all,trained,line,2,1e-09,,,",
        "all,1 1f77b4,point,3,4,,,".replace("1f77b4", "ff7f0e"),
    ]


def test_panels_are_named_by_their_titles_or_where_two_share_one_by_their_numbers():
    fig, axes = figure(1, 3)
    fig.supxlabel("depth")
    for ax, title in zip(axes, ("a", "a", "b"), strict=True):
        ax.plot([0, 1], [0, 1])
        ax.set_title(title)
    assert [panel for (panel,) in lines_of(fig, "panel", mark="line")[::2]] == ["1", "2", "b"]
    assert lines_of(fig, "series", "value", mark="label") == 3 * [("x axis", "depth")]


def test_a_line_across_the_panel_has_one_value_and_what_lies_outside_the_axes_none():
    fig, ax = figure()
    ax.axhline(0.5, label="null")
    ax.axvline(3)
    ax.plot([0, 1], [0, 1], transform=ax.transAxes)
    found = lines_of(fig, "x", "y", mark="line")
    assert found == [("", "0.5"), ("3", "")]


def test_bars_bands_segments_and_cells_have_their_ends_and_values():
    fig, axes = figure(1, 4)
    axes[0].bar([0, 1], [2, 3], bottom=[0, 1], width=0.5, label="share")
    axes[0].set_xticks([0, 1], ["few", "many"])
    axes[1].fill_between([1, 2], [0, 1], [5, 6])
    axes[2].errorbar([1], [2], yerr=[[0.5], [1]], label="mean")
    axes[3].imshow([[1.5, np.nan], [3, 4]], vmin=0)
    ends = ("x", "y", "x2", "y2")
    assert lines_of(fig, "series", *ends, mark="bar") == [
        ("share", "-0.25", "0", "0.25", "2"),
        ("share", "0.75", "1", "1.25", "4"),
    ]
    assert lines_of(fig, "series", "x", "value", mark="tick") == [
        ("x axis", "0", "few"),
        ("x axis", "1", "many"),
    ]
    assert lines_of(fig, *ends, mark="band") == [("1", "0", "", "5"), ("2", "1", "", "6")]
    assert lines_of(fig, "series", *ends, mark="segment") == [("mean", "1", "1.5", "1", "3")]
    cells = lines_of(fig, "x", "y", "value", mark="cell")
    assert cells == [("0", "0", "1.5"), ("0", "1", "3"), ("1", "1", "4")]


def test_cells_of_a_mesh_and_coloured_points_have_their_values():
    fig, axes = figure(1, 2)
    axes[0].pcolormesh([0, 1, 3], [0, 2], [[7, 8]])
    axes[1].scatter([1, 2], [3, 4], c=[0.5, 0.6])
    ends = ("x", "y", "x2", "y2", "value")
    assert lines_of(fig, *ends, mark="cell") == [("0", "0", "1", "2", "7"), ("1", "0", "3", "2", "8")]
    assert lines_of(fig, *ends, mark="point") == [("1", "3", "", "", "0.5"), ("2", "4", "", "", "0.6")]


def test_what_cannot_be_told_is_said():
    fig, axes = figure(1, 2)
    axes[0].add_patch(Circle((0, 0), 1))
    axes[1].imshow(np.zeros((2, 2, 3)))
    notes = [words for (words,) in lines_of(fig, "value", mark="note")]
    assert notes == ["values of a Circle are not told", "values of a AxesImage are not told"]


def test_a_figure_of_very_many_points_is_thinned_and_says_so():
    fig, ax = figure()
    ax.plot(np.arange(3 * MOST), label="long")
    ax.plot(np.arange(9), label="short")
    told = lines_of(fig, "series", mark="line")
    assert told.count(("short",)) == 9
    assert MOST * 0.7 < told.count(("long",)) <= MOST
    assert lines_of(fig, "value", mark="note") == [(f"one in 4 of {3 * MOST} is told",)]


def test_the_smallest_letters_and_the_panels_side_by_side_are_found():
    fig, axes = figure(2, 3)
    axes[0, 0].set_title("small", fontsize=5)
    axes[0, 1].text(0, 0, "", fontsize=2)
    axes[1, 2].remove()
    found = facts(fig)
    assert (found["type"], found["across"]) == (5, 3)
    assert found["csv"] == as_csv(fig)


def test_a_figure_that_a_notebook_shows_brings_its_values_and_nothing_else_does():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    notebook._store_values_of_figures(shell)
    fig, ax = figure()
    ax.plot([1], [2], "o")
    shown, _ = shell.display_formatter.format(fig)
    assert shown[stamps.FIGURE] == facts(fig)
    assert json.dumps(shown[stamps.FIGURE])
    assert stamps.FIGURE not in shell.display_formatter.format(ax)[0]
