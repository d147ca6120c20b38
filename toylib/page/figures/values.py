"""What a figure draws, as a table of values: for those who want the numbers behind a picture."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

COLUMNS = ("panel", "series", "mark", "x", "y", "x2", "y2", "value")
MOST = 2000  # lines of a table, about 60 kB; of a figure that draws more, every k-th point of long series
LONG = 100  # points of a series, from which on it is thinned in such a figure

Row = dict[str, Any]


def _shown(value: Any) -> str:
    """Four significant digits; what is not there or no number is empty."""
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if value is not None and np.isfinite(value) else ""


def _in_data(artist: Artist, ax: Axes) -> tuple[bool, bool]:
    """Whether an artist's x and its y are values of the axes, not places on the paper."""
    x, y = artist.get_transform().contains_branch_seperately(ax.transData)
    return bool(x), bool(y)


def _rows(mark: str, ends: Iterable[Any], value: Any = None) -> list[Row]:
    """A row for each of `ends`: (x, y) or (x, y, x2, y2), and its entry of `value`, if there are any."""
    of_each = None if value is None else np.ma.filled(np.ma.asarray(value, float), np.nan).ravel()
    return [
        {"mark": mark, **dict(zip(COLUMNS[3:], end, strict=False))}
        | ({} if of_each is None or len(of_each) <= k else {"value": of_each[k]})
        for k, end in enumerate(ends)
    ]


# --- an artist's rows --------------------------------------------------------------------------------


def _of_line(line: Line2D, ax: Axes) -> list[Row]:
    x, y = (np.asarray(line.get_xdata(orig=False)), np.asarray(line.get_ydata(orig=False)))
    in_x, in_y = _in_data(line, ax)
    if not (in_x or in_y):
        return []
    if not (in_x and in_y) and len(x) == 2:  # axhline or axvline: one value
        x, y = x[:1], y[:1]
    mark = "point" if line.get_linestyle() == "None" else "line"
    return _rows(mark, ((a if in_x else None, b if in_y else None) for a, b in zip(x, y, strict=True)))


def _of_band(band: PolyCollection) -> Iterator[Row]:
    """What fill_between and fill_betweenx fill: both ends at each place."""
    along_x = getattr(band, "t_direction", "x") == "x"
    for path in band.get_paths():
        ends: dict[float, list[float]] = {}
        for x, y in path.vertices:
            place, end = (x, y) if along_x else (y, x)
            ends.setdefault(float(place), []).append(float(end))
        for place, found in sorted(ends.items()):
            low, high = min(found), max(found)
            row = {"x": place, "y": low, "y2": high} if along_x else {"x": low, "y": place, "x2": high}
            yield {"mark": "band", **row}


def _of_collection(drawn: Collection, ax: Axes) -> list[Row]:
    value = drawn.get_array()
    if isinstance(drawn, PathCollection):
        offsets = np.ma.filled(np.ma.asarray(drawn.get_offsets(), float), np.nan)
        return _rows("point", offsets, value)
    if isinstance(drawn, LineCollection):
        in_x, in_y = _in_data(drawn, ax)
        of_data = np.where([in_x, in_y], 1.0, np.nan)
        segments = [np.asarray(segment, float) * of_data for segment in drawn.get_segments()]
        if all(len(segment) == 2 for segment in segments):
            return _rows("segment", (segment.ravel() for segment in segments), value)
        return [row for segment in segments for row in _rows("line", segment)]
    if isinstance(drawn, PolyCollection):
        return list(_of_band(drawn))
    if isinstance(drawn, QuadMesh):
        corners = drawn.get_coordinates()
        return _rows("cell", np.concatenate([corners[:-1, :-1], corners[1:, 1:]], 2).reshape(-1, 4), value)
    return _untold(drawn)


def _of_image(image: AxesImage) -> list[Row]:
    """A cell's middle and its value; of a picture in colours, nothing can be told."""
    values = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    if values.ndim != 2:
        return _untold(image)
    left, right, bottom, top = image.get_extent()
    n_rows, n_columns = values.shape
    first, last = (bottom, top) if image.origin == "lower" else (top, bottom)
    x = left + (right - left) * (np.arange(n_columns) + 0.5) / n_columns
    y = first + (last - first) * (np.arange(n_rows) + 0.5) / n_rows
    kept = np.isfinite(values)
    places = np.stack(np.meshgrid(x, y), 2)[kept]
    return _rows("cell", places, values[kept])


def _of_patch(patch: Artist, ax: Axes) -> list[Row]:
    if isinstance(patch, Rectangle):
        in_x, in_y = _in_data(patch, ax)
        (x, y), (x2, y2) = patch.get_bbox().get_points()
        kept = zip((x, y, x2, y2), (in_x, in_y) * 2, strict=True)
        return _rows("bar", [[end if told else None for end, told in kept]] if in_x or in_y else [])
    if isinstance(patch, Polygon):
        return _rows("outline", patch.get_xy())
    return _untold(patch)


def _untold(artist: Artist) -> list[Row]:
    return [{"mark": "note", "value": f"values of a {type(artist).__name__} are not told"}]


def _artists(ax: Axes) -> Iterator[tuple[Artist, list[Row]]]:
    for artist in (*ax.lines, *ax.collections, *ax.patches, *ax.images):
        if not artist.get_visible():
            continue
        if isinstance(artist, Line2D):
            yield artist, _of_line(artist, ax)
        elif isinstance(artist, Collection):
            yield artist, _of_collection(artist, ax)
        elif isinstance(artist, AxesImage):
            yield artist, _of_image(artist)
        else:
            yield artist, _of_patch(artist, ax)


# --- the table ----------------------------------------------------------------------------------------


def _colour(artist: Any) -> str:
    for name in ("get_color", "get_facecolor", "get_edgecolor"):
        colours = np.atleast_2d(getattr(artist, name)()) if hasattr(artist, name) else []
        if len(colours) == 1 and not isinstance(artist, AxesImage):
            colour = colours[0] if len(colours[0]) > 1 else colours[0][0]
            return to_hex(colour).lstrip("#")
    return ""


def _series(ax: Axes) -> Iterator[tuple[str, list[Row]]]:
    """The name of each artist, or its number and colour, and its rows; bars drawn together are one."""
    labels = {id(part): box for box in ax.containers for part in box.get_children()}
    unnamed: dict[int, str] = {}
    for artist, rows in _artists(ax):
        group = labels.get(id(artist), artist)
        name = str(group.get_label())
        if name.startswith("_"):
            number = f"{len(unnamed) + 1} {_colour(artist)}".strip()
            name = unnamed.setdefault(id(group), number)
        yield name, rows


def _of_axis(name: str, axis: Axis) -> Iterator[Row]:
    """An axis's label, and what its ticks stand for where that was written by hand."""
    label = axis.get_label_text() or getattr(axis.get_figure(), f"get_sup{name}label")()
    if label:
        yield {"series": f"{name} axis", "mark": "label", "value": label}
    locator, formatter = axis.get_major_locator(), axis.get_major_formatter()
    if isinstance(locator, FixedLocator) and isinstance(formatter, FixedFormatter | FuncFormatter):
        for place, text in zip(locator.locs, formatter.format_ticks(locator.locs), strict=True):
            if text not in ("", f"{place:g}"):
                yield {"series": f"{name} axis", "mark": "tick", name: place, "value": str(text)}


def _panels(fig: Figure) -> list[Axes]:
    return [ax for ax in fig.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]


def as_csv(fig: Figure) -> str:
    """All that a figure's panels draw, a line for each point, segment, bar, cell or place of a band.

    A panel is named by its title, or else its number; a series by its label, or else its number and colour.
    A point has x and y, a segment and a bar their two ends, a band y and y2 at x, a cell its value. What has
    no place on an axis is empty. Words in the panels are left out.

    Units:  the axes'; four significant digits.
    """
    panels, table = _panels(fig), []
    titles = Counter(ax.get_title() for ax in panels)
    series = [(ax, list(_series(ax))) for ax in panels]
    step = -(-sum(len(rows) for _, of in series for _, rows in of) // MOST)
    for number, (ax, of_panel) in enumerate(series, 1):
        panel = ax.get_title() if titles[ax.get_title()] == 1 and ax.get_title() else str(number)
        if of_panel:
            axes = [*_of_axis("x", ax.xaxis), *_of_axis("y", ax.yaxis)]
            table += [{"panel": panel, **row} for row in axes]
        for name, rows in of_panel:
            thin = step if len(rows) >= LONG else 1
            kept = rows[::thin]
            if thin > 1:
                kept.append({"mark": "note", "value": f"one in {thin} of {len(rows)} is told"})
            table += [{"panel": panel, "series": name, **row} for row in kept]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_shown(row.get(column)) for column in COLUMNS] for row in table)
    return text.getvalue()


def facts(fig: Figure) -> dict[str, Any]:
    """What a notebook stores beside a figure's picture: `csv`, its values; `type`, the size of its smallest
    letters in points; `across`, how many panels stand side by side."""
    words = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]
    rows = Counter(
        (id(spec.get_gridspec()), spec.rowspan.start)
        for ax in _panels(fig)
        if (spec := ax.get_subplotspec()) is not None
    )
    smallest = min((float(t.get_fontsize()) for t in words), default=None)
    return {"csv": as_csv(fig), "type": smallest, "across": max(rows.values(), default=1)}
