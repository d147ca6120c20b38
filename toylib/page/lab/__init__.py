"""The lab: a live figure that trains toy models in the page, and controls that retrain toylib's own.

The figure is one ES module, made of the files in `PARTS`, and the same wherever it runs. In JupyterLab,
VS Code and Colab it is an anywidget; on a page without a kernel the output's HTML carries the module
itself. Numbers that the lab shows come from the module, which tests/test_lab.py compares with toylib.
"""

from __future__ import annotations

import base64
import html
import inspect
import io
import json
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import traitlets

from ...checks import checked, choice, number, refuse, whole_number
from ...studies.pairs import least_ratio

PARTS = ["model", "measures", "pictures", "exercises", "controls"]


def _read(part: str) -> str:
    return Path(__file__).with_name(f"{part}.mjs").read_text(encoding="utf-8")


def _border() -> str:
    """From which importance on, as a share of its partner's, a feature is stored opposite it: by density."""
    densities = np.geomspace(1, 0.005, 49)
    ratios = [float(f"{ratio:.4g}") for ratio in least_ratio(densities)]
    return f"const BORDER = {json.dumps([list(map(float, np.round(densities, 6))), ratios])}; // of toylib's"


SOURCE = "\n".join([_border(), *(_read(part) for part in PARTS)])
WIDGET = "application/vnd.jupyter.widget-view+json"

# the book's theme puts outputs on light grey in dark mode; a lab brings its own background
TWIN_STYLE = (
    "<style>html[data-theme=dark] .bd-content div.cell_output .text_html:has(> .toylib-live)"
    "{background:transparent!important;padding:0!important;color:inherit!important}</style>"
)
FALLBACK = "A live figure: a toy model that trains in the page. It needs JavaScript, which does not run here."


def _constant(name: str) -> dict[str, Any]:
    """A constant of the module that is written as JSON."""
    found = re.search(rf"^export const {name} = (\{{.*?^\}});", SOURCE, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RuntimeError(f"the module has no constant {name}")
    return json.loads(found[1])


LIMITS, PRESETS, EXERCISES = _constant("LIMITS"), _constant("PRESETS"), _constant("EXERCISES")


def _possible(preset: str, state: dict[str, Any]) -> dict[str, Any]:
    choice("preset", preset, list(PRESETS))
    for name, value in state.items():
        choice("a setting of the lab", name, list(LIMITS))
        allowed = LIMITS[name]
        if isinstance(allowed[0], str):
            choice(name, value, allowed)
        elif name in ("sparsity", "decay"):
            number(name, value, at_least=allowed[0], at_most=allowed[1])
        else:
            whole_number(name, value, at_least=allowed[0], at_most=allowed[1])
    whole = {"sets": "none", **PRESETS[preset]["state"], **state}
    if whole["task"] == "output":  # what can be drawn
        whole_number("m", whole["m"], at_least=1, at_most=3)
    if whole["sets"].startswith("apart"):  # features that exclude each other cannot all be active often
        number("sparsity", whole["sparsity"], at_least=1 - 1 / int(whole["sets"][-1]))
    return {"preset": preset, **state}


class Lab(anywidget.AnyWidget):
    """A toy model that trains in the page; `Lab(preset="pentagon", sparsity=0.8)`.

    Presets are the keys of `PRESETS`; settings and their ranges are in `LIMITS`. Where a kernel runs,
    `state` follows the reader's changes, and setting it changes the lab.

    Raises: ValueError for an unknown preset or setting, or a value out of range; with the task "output" m is
            3 at most, and features that exclude each other have a least sparsity.
    """

    _esm = SOURCE
    # ipywidgets 7 displays a widget by this method, and IPython asks for no other form where there is one
    _ipython_display_ = None
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, preset: str = "pentagon", **state: Any) -> None:
        self._text = ", ".join([f"preset={preset!r}", *(f"{k}={v!r}" for k, v in state.items())])
        super().__init__(state=_possible(preset, state))

    @traitlets.validate("state")
    def _proposed(self, proposal: Any) -> dict[str, Any]:
        state = dict(proposal["value"])
        return _possible(state.pop("preset", "pentagon"), state)

    def __repr__(self) -> str:
        return f"Lab({self._text})"

    def html(self) -> str:
        """The lab for a page without a kernel: a place for it, and the module, which fills it."""
        settings = html.escape(json.dumps(self.state, sort_keys=True))
        return (
            f'{TWIN_STYLE}<div class="toylib-live toylib-lab" data-state="{settings}">'
            f"<p>{FALLBACK}</p></div>\n"
            f'<script type="module">\n{SOURCE}\nmountAll();\n</script>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # a lab that was closed has no view, and may still be shown as a page shows it
        bundle: Any = super()._repr_mimebundle_(**kwargs) if self.comm is not None else {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/plain": repr(self), "text/html": self.html()}, metadata


def small(exercise: str, link: str = "lab.html") -> str:
    """HTML: a small lab with one of `EXERCISES`, and the way to the lab. Its page needs `small_module` once.

    Raises: ValueError for an exercise that is none of the front page's or the tutorial's.
    """
    choice("exercise", exercise, [name for name, each in EXERCISES.items() if each["place"] != "lab"])
    return (
        f'<div class="toylib-live toylib-small" data-exercise="{exercise}" data-link="{html.escape(link)}">'
        f'<p>{FALLBACK} <a href="{html.escape(link)}">The lab</a></p></div>'
    )


def small_module() -> str:
    """HTML: the module that fills the places which a page has for small labs."""
    return f'<script type="module">\n{SOURCE}\n{_read("small")}</script>'


def pentagon(link: str = "lab.html") -> str:
    """HTML: five features in a plane that train where they are seen, one slider, and the way to the lab."""
    return f"{small('front', link)}\n{small_module()}"


# --- controls for a figure of toylib's --------------------------------------------------------------------


def _in_words(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value.split()) < 3:
        refuse(f"{name} must say in words what the picture shows", repr(value))
    return value


def _widgets(name: str, value: dict[str, Any]) -> dict[str, Any]:
    if not value:
        refuse(f"{name} must be one or more ipywidgets", "none")
    for own_name, control in value.items():
        if not isinstance(control, ipywidgets.Widget) or not control.has_trait("value"):
            refuse(f"{own_name} must be one of the ipywidgets with a value", repr(control))
    return value


def _takes_them(draw: Any, controls: dict[str, Any]) -> None:
    try:
        inspect.signature(draw).bind(**controls)
    except (TypeError, ValueError) as error:  # not callable, or not with these arguments
        refuse(f"draw must be a function of {', '.join(controls)}", f"{draw!r} ({error})")


def _picture(draw: Callable[..., Any], values: dict[str, Any], words: str) -> str:
    """What draw draws of the values, as an image in HTML that the words describe."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    before = plt.get_fignums()
    try:
        figure = draw(**values)
        if not isinstance(figure, Figure):
            raise ValueError(f"draw must return a matplotlib figure; got {figure!r}")
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=160)
        plt.close(figure)
    finally:  # what is left open, the notebook would show a second time
        for left in set(plt.get_fignums()) - set(before):
            plt.close(left)
    return (
        f'<img alt="{html.escape(words)}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )


def _no_picture(error: BaseException) -> str:
    steps = "".join(traceback.format_exception(error))
    what = "".join(traceback.format_exception_only(error))
    return (
        f'<div role="alert"><p>No picture for these values.</p><pre>{html.escape(what)}</pre>'
        f"<details><summary>where</summary><pre>{html.escape(steps)}</pre></details></div>"
    )


@checked(_takes_them, alt=_in_words, controls=_widgets)
def retrain(draw: Callable[..., Any], *, alt: str, **controls: Any) -> Any:
    """Controls that call `draw(**values)` again where a kernel runs; everywhere else, the picture it drew.

    draw returns a matplotlib figure. controls are ipywidgets by the name of draw's argument; alt says what
    the first picture shows. A slider calls when it is let go: its continuous_update is set to False. Where
    draw fails later, its error stands in the picture's place until the next values that draw can use.

    Raises: ValueError for an alt text of fewer than three words, no controls, controls that are no widgets
            with a value or not named after draw's arguments, and a draw that returns something else; what
            draw itself raises at the first values.
    """
    from ..notebook import Display

    def values() -> dict[str, Any]:
        return {name: control.value for name, control in controls.items()}

    shown = ipywidgets.HTML(_picture(draw, values(), alt))

    def redraw(change: object) -> None:
        now = values()
        try:
            words = f"{alt}; now for {', '.join(f'{k} {v}' for k, v in now.items())}"
            shown.value = _picture(draw, now, words)
        except BaseException as error:
            shown.value = _no_picture(error)
            if not isinstance(error, Exception):  # the reader's Ctrl-C stops more than the picture
                raise

    for control in controls.values():
        if control.has_trait("continuous_update"):
            control.continuous_update = False
        control.observe(redraw, names="value")
    box = ipywidgets.VBox([*controls.values(), shown])
    twin = f'{TWIN_STYLE}<div class="toylib-live">{shown.value}</div>'
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    text = f"a figure with controls: {', '.join(controls)}"
    display = Display(text, **{"text/html": twin, WIDGET: view})
    display.box = box  # type: ignore[attr-defined]  # so that the widgets live as long as their output
    return display
