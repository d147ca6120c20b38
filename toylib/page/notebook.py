"""What a chapter calls: set-up, tables, numbers for the prose, all verdicts in a table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import Rule, checked, depending, refuse
from ..claims import PARTLY, SUPPORTED, holm, models_needed, p_value
from ..claims.worlds import BEYOND, BOUND
from . import cards
from .records import read, shown_estimate
from .stamps import EXERCISES, FIGURE, SCOREBOARD, STAMP, content_stamp, stamp


class Display:
    """Something to show whose text form is stable; nbval compares the text, readers see the HTML."""

    def __init__(self, text: str, **data: Any) -> None:
        self.text, self.data = text, data

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": self.text, **self.data}


def setup() -> Display:
    """Sharp figures that bring their values, and the stamp of the toylib modules imported so far.

    The last line of a set-up cell.
    """
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        if get_ipython() is not None:
            set_matplotlib_formats("retina")
            cards.register_with(get_ipython())
            _store_values_of_figures(get_ipython())
    except ImportError:
        pass
    return Display("toylib is ready", **{STAMP: stamp()})


def _facts(figure: Any) -> dict[str, Any]:
    from .figures import facts  # a page without figures needs no matplotlib

    return facts(figure)


def _store_values_of_figures(shell: Any) -> None:
    """Beside its picture a figure shows what it draws, under a type that only the site's build reads."""
    from IPython.core.formatters import JSONFormatter

    display = shell.display_formatter
    values = JSONFormatter(parent=display, format_type=FIGURE, print_method="_repr_toylib_figure_")
    values.for_type_by_name("matplotlib.figure", "Figure", _facts)
    display.formatters[FIGURE] = values


def _rows(header: Sequence[str]) -> Rule:
    def rule(name: str, value: Any) -> list[Any]:
        rows = []
        for row in value if isinstance(value, Iterable) else [value]:
            if not isinstance(row, Sequence | np.ndarray) or isinstance(row, str):
                refuse(f"{name} must be lists, one for each line of the table", repr(row))
            if len(row) != len(header):
                refuse(f"{name} must have {len(header)} entries, like the header", len(row))
            rows.append(row)
        return rows

    return rule


@checked(rows=depending(_rows))
def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> Display:
    """A table to read; numbers are shown to three significant digits, bools as yes and no.

    Raises: ValueError if rows are no rows, or a row is not as long as the header.
    """
    lines = [[_shown(value) for value in row] for row in rows]
    text = f"table of {len(lines)} rows: " + ", ".join(header)
    return Display(text, **{"text/html": cards.html_table(lines, [html.escape(name) for name in header])})


def _shown(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        large = 1e4 <= abs(float(value)) < 1e7  # 24,200 and not 2.42e+04
        return f"{float(f'{value:.3g}'):,.0f}" if large else f"{value:.3g}"
    if hasattr(value, "_repr_html_"):
        return value._repr_html_()
    return html.escape(str(value))


def glue(**values: object) -> None:
    """Make numbers available to the prose: glue(rate=0.5) and then {glue:text}`rate` in a text cell.

    The same output that myst_nb.glue gives, without needing myst_nb (Colab has none).
    """
    from IPython.display import display

    for name, value in values.items():
        display(
            {"application/papermill.record/text/plain": html.unescape(_shown(value))},  # text, not HTML
            raw=True,
            metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
        )


VERDICT_COLOURS = {  # text and background, readable in light and dark themes alike
    "supported": "color:#0b3d1e;background:#cdeeda",
    "partly supported": "color:#4d3800;background:#fdeebf",
    "not supported": "color:#5c0f0b;background:#f8d3d1",
    "not tested": "color:#333333;background:#e2e2e2",
}


def _holm(claims: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Holm's adjusted p of every claim's own rule, by id, where it has an interval."""
    firsts = {claim["id"]: cards.of_rule(claim["rules"][0]) for claim in claims if claim["rules"]}
    p = {name: p_value(*first) for name, first in firsts.items() if first is not None}
    return dict(zip(p, holm(list(p.values())).tolist(), strict=True)) if p else {}


def scoreboard(folder: str | Path = ".") -> Display:
    """Every claim of the chapters in `folder`, with its verdict, estimate and interval.

    A claim whose own rule holds is marked where it would not after Holm's correction over all of them.
    """
    claims = read(folder)
    lines, adjusted = [], _holm(claims)
    for claim in claims:
        link = f'<a href="{claim["chapter"]}.html">{html.escape(claim["statement"])}</a>'
        style = f"{VERDICT_COLOURS[claim['verdict']]};padding:0.1em 0.5em;border-radius:0.3em"
        notes = [claim["why"]] if claim["why"] else []
        if claim["verdict"] in (SUPPORTED, PARTLY) and adjusted.get(claim["id"], 0) > 0.025:
            notes.append("its own rule holds by itself, not after Holm's correction over all claims")
        why = f"<br><small>{html.escape('; '.join(notes))}</small>" if notes else ""
        verdict = f'<span style="{style}">{claim["verdict"]}</span>{why}'
        named = f"{link}<br><small>{html.escape(claim['id'])}</small>"
        lines.append([named, verdict, shown_estimate(claim), html.escape(claim["measure"])])
    header, said = (
        ("Claim", "Verdict", "Estimate", "Measure"),
        "Every claim with its verdict and its estimate",
    )
    shown = cards.html_table(lines, header, "scoreboard", caption=said)
    summary = f"All {len(claims)} claims with their numbers, as a table"
    return Display(
        "\n".join(f"{claim['id']}: {claim['verdict']}" for claim in claims),
        **{
            "text/html": f'<details class="tl-all"><summary>{summary}</summary>{shown}</details>',
            SCOREBOARD: content_stamp(claims),
        },
    )


def undecided(folder: str | Path = ".") -> Display:
    """The rules of all claims in `folder` that could not do their job, and what would mend them."""
    lines = []
    for claim in read(folder):
        for rule in claim["rules"]:
            stated = cards.of_rule(rule)
            if stated is not None and rule["void"]:
                lines.append([claim["id"], rule["words"], "could not have failed"])
            elif stated is not None and not (rule["held"] or rule["reverse"]):
                times = models_needed(*stated)
                # an interval that is not symmetric can say less than once
                often = float(f"{max(times, 1.0):.2g}")
                more = f"{often:,g} times as many" if np.isfinite(times) else "no number"
                lines.append([claim["id"], rule["words"], more])
    return table(lines, ["claim", "rule", "what would decide it"])


def weak_rules(folder: str | Path = ".") -> Display:
    """The rules of all claims in `folder` that err too often in simulated runs, and what would mend them."""
    lines, claims = [], read(folder)
    for claim in claims:
        runs = claim.get("operating", {})
        for name, chances in runs.get("rules", {}).items():
            if said := cards.weak(chances, f"{runs['margin']:g}"):
                shown = [f"{chances[world]:.1%}" for world in (BOUND, BEYOND)]
                lines.append([claim["id"], name, chances["streams"], *shown, said, cards.mend(chances)])
    header = ["claim", "rule", "streams", "holds at its bound", "holds beyond it", "weakness"]
    found = table(lines, [*header, "able with"])
    return Display(found.text, **found.data, **{SCOREBOARD: content_stamp(claims)})


def exercises(tasks: list[dict[str, Any]]) -> Display:
    """The exercises that `records.exercises` found, as a table."""
    columns = {
        "minutes": "minutes",
        "level": "difficulty",
        "name": "about",
        "chapter": "chapter",
        "number": "",
    }
    shown = table([[task[key] for key in columns] for task in tasks], list(columns.values()))
    return Display(shown.text, **shown.data, **{EXERCISES: content_stamp(tasks)})
