"""What a chapter's set-up cell calls, and the commands that execute, check and read the chapters.

    python -m toylib.notebook execute [--all] [CHAPTER ...]
    python -m toylib.notebook check
    python -m toylib.notebook claims [--json FILE]

An executed chapter carries a stamp: which toylib modules, package versions and cells made its outputs.
When one of them has changed since, the chapter is stale.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .evidence import records

STAMP = "application/vnd.toylib.stamp+json"
SCOREBOARD = "application/vnd.toylib.scoreboard+json"
PACKAGES = ("torch", "numpy", "numba", "scipy", "matplotlib", "scikit-learn")
PACKAGE_FOLDER = Path(__file__).resolve().parent
FRONT_PAGE = "scoreboard"
CELL_TIMEOUT = 900  # seconds


# --- inside a chapter ------------------------------------------------------------------------------------


class Display:
    """Something to show whose text form is stable; nbval compares the text, readers see the HTML."""

    def __init__(self, text: str, **data: Any) -> None:
        self.text, self.data = text, data

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": self.text, **self.data}


def setup() -> Display:
    """Sharp figures, and the stamp of the toylib modules imported so far. The last line of a set-up cell."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        if get_ipython() is not None:
            set_matplotlib_formats("retina")
    except ImportError:
        pass
    stamp = {
        "modules": _module_digests(m for m in sys.modules if m.startswith("toylib")),
        "packages": _versions(),
    }
    return Display("toylib is ready", **{STAMP: stamp})


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> Display:
    """A table to read; numbers are shown to three significant digits, bools as yes and no.

    Raises: ValueError if a row is not as long as the header.
    """
    lines = []
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"rows must have {len(header)} entries, like the header; got {len(row)}")
        lines.append([_shown(value) for value in row])
    text = f"table of {len(lines)} rows: " + ", ".join(header)
    return Display(text, **{"text/html": _html_table(lines, [html.escape(name) for name in header])})


def _html_table(lines: list[list[str]], header: Sequence[str], kind: str = "") -> str:
    """Wide tables scroll inside their own box: the page stays as wide as a phone."""
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{entry}</td>" for entry in line) + "</tr>" for line in lines)
    return (
        f'<div style="overflow-x:auto"><table class="docutils {kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _shown(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.3g}"
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
            {"application/papermill.record/text/plain": _shown(value)},
            raw=True,
            metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
        )


VERDICT_COLOURS = {  # text and background, readable in light and dark themes alike
    "supported": "color:#0b3d1e;background:#cdeeda",
    "partly supported": "color:#4d3800;background:#fdeebf",
    "not supported": "color:#5c0f0b;background:#f8d3d1",
    "not tested": "color:#333333;background:#e2e2e2",
}


def scoreboard(folder: str | Path = ".") -> Display:
    """Every claim of the chapters in `folder`, with its verdict, estimate and interval."""
    claims = records([path for path in chapters(folder) if path.stem != FRONT_PAGE])
    lines = []
    for claim in claims:
        link = f'<a href="{claim["chapter"]}.html">{html.escape(claim["statement"])}</a>'
        style = f"{VERDICT_COLOURS[claim['verdict']]};padding:0.1em 0.5em;border-radius:0.3em"
        verdict = f'<span style="{style}">{claim["verdict"]}</span>'
        lines.append([claim["id"], link, verdict, html.escape(claim["measure"]), _estimate(claim)])
    return Display(
        "\n".join(f"{claim['id']}: {claim['verdict']}" for claim in claims),
        **{
            "text/html": _html_table(lines, ("", "Claim", "Verdict", "Measure", "Estimate"), "scoreboard"),
            SCOREBOARD: {"digest": _digest(json.dumps(claims, sort_keys=True))},
        },
    )


def gallery(figures: Mapping[str, str], folder: str | Path = ".") -> Display:
    """A card for each claim: a figure of its chapter, its statement and verdict, linked to the chapter.

    figures: a claim's id -> the name (`mystnb.figure.name`) of a figure that its chapter has drawn.
    Raises: ValueError if no chapter records the claim, or its chapter has no such figure.
    """
    claims = {claim["id"]: claim for claim in records(chapters(folder))}
    cards = []
    for name, figure in figures.items():
        if name not in claims:
            raise ValueError(f"figures must name recorded claims, {', '.join(claims)}; got {name!r}")
        claim = claims[name]
        png, alt = _drawn(Path(folder) / f"{claim['chapter']}.ipynb", figure)
        cards.append(
            f'<a href="{claim["chapter"]}.html" style="display:flex;flex-direction:column;gap:0.4em;'
            f'color:inherit;text-decoration:none">'
            f'<img src="data:image/png;base64,{png}" alt="{html.escape(alt)}" style="width:100%;'
            f'aspect-ratio:8/5;object-fit:contain;background:#fff;border-radius:0.4em">'
            f"<span>{html.escape(claim['statement'])}</span>"
            f'<span><span style="{VERDICT_COLOURS[claim["verdict"]]};padding:0.1em 0.5em;'
            f'border-radius:0.3em">{claim["verdict"]}</span></span></a>'
        )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(13.5rem,1fr));gap:1.2em"
    return Display(
        "\n".join(f"{name}: {figure}" for name, figure in figures.items()),
        **{"text/html": f'<div style="{grid}">{"".join(cards)}</div>'},
    )


def _drawn(path: Path, figure: str) -> tuple[str, str]:
    """A chapter's figure, made small (PNG in base 64), and its alternative text."""
    from PIL import Image

    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        settings = cell["metadata"].get("mystnb", {})
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png and settings.get("figure", {}).get("name") == figure:
                image = Image.open(io.BytesIO(base64.b64decode("".join(png)))).convert("RGB")
                image.thumbnail((480, 300))
                small = io.BytesIO()
                image.quantize(64).save(small, "PNG", optimize=True)
                return base64.b64encode(small.getvalue()).decode(), settings["image"]["alt"]
    raise ValueError(f"{path} must have drawn a figure named {figure!r}")


def _estimate(claim: dict[str, Any]) -> str:
    if claim["estimate"] is None:
        return ""
    return f"{claim['estimate']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}], {claim['n_models']:,} models"


# --- stamps ----------------------------------------------------------------------------------------------


def _digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def _module_digests(names: Iterable[str]) -> dict[str, str]:
    digests = {}
    for name in sorted(names):
        path = PACKAGE_FOLDER.joinpath(*name.split(".")[1:])
        files = [*path.glob("*.mjs"), path / "__init__.py"] if path.is_dir() else [path.with_suffix(".py")]
        # this module draws tables and runs commands: no number depends on it
        if name != __name__:
            there = all(file.is_file() for file in files)
            digests[name] = _digest(b"".join(file.read_bytes() for file in files)) if there else "missing"
    return digests


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _cells_digest(notebook: dict[str, Any]) -> str:
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return _digest("\0".join(sources))


def stale(path: str | Path) -> list[str]:
    """Why a chapter's outputs are out of date; empty if they are not.

    Raises: ValueError, naming the file, if it is not a notebook.
    """
    path = Path(path)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        bundles = [o.get("data", {}) for cell in notebook["cells"] for o in cell.get("outputs", [])]
        cells = _cells_digest(notebook)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must be a notebook; {type(error).__name__}: {error}") from None
    stamp: dict[str, Any] = next((b[STAMP] for b in bundles if STAMP in b), {})
    if not stamp or any(
        cell["cell_type"] == "code" and cell["execution_count"] is None for cell in notebook["cells"]
    ):
        return ["it has not been executed from first to last"]
    reasons = []
    if notebook["metadata"].get("toylib", {}).get("cells") != cells:
        reasons.append("its cells have changed")
    now = _module_digests(stamp["modules"])
    reasons += [f"{name} has changed" for name, digest in stamp["modules"].items() if now[name] != digest]
    for name, then in stamp["packages"].items():
        if (installed := _versions().get(name)) != then:
            reasons.append(f"{name} was {then} and is {installed}")
    for bundle in bundles:
        if SCOREBOARD in bundle and bundle[SCOREBOARD] != scoreboard(path.parent).data[SCOREBOARD]:
            reasons.append("the chapters' records have changed")
    return reasons


# --- commands --------------------------------------------------------------------------------------------


def chapters(folder: str | Path) -> list[Path]:
    """The chapters in a folder, in the order of the book's table of contents; the front page last.

    It is executed last because it reads the others.
    """
    folder = Path(folder).resolve()
    contents = folder.parent / "_toc.yml"
    found = sorted(folder.glob("*.ipynb"))
    if contents.is_file():
        text = contents.read_text(encoding="utf-8")
        found.sort(key=lambda path: (text.find(f"{folder.name}/{path.stem}\n") - 1) % (len(text) + 1))
    front = [path for path in found if path.stem == FRONT_PAGE]
    return [path for path in found if path.stem != FRONT_PAGE] + front


def execute(path: Path) -> float:
    """Execute a chapter from first cell to last, store it whole or not at all; return the seconds it took."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # each kernel would warn that it speaks over TCP
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "toylib": {"cells": _cells_digest(notebook)},
    }
    draft = path.with_suffix(".tmp")
    nbformat.write(notebook, draft)
    os.replace(draft, path)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m toylib.notebook", description="Execute, check and read chapters."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("execute", help="execute stale chapters")
    running.add_argument("--all", action="store_true", help="every chapter, stale or not")
    running.add_argument("paths", nargs="*", type=Path)
    checking = commands.add_parser("check", help="fail if a chapter is stale")
    checking.add_argument("paths", nargs="*", type=Path)
    reading = commands.add_parser("claims", help="print the verdicts")
    reading.add_argument("--json", type=Path, help="write them here too")
    for command in (running, checking, reading):
        command.add_argument("--book", type=Path, default=Path("book"), help="the chapters' folder")
    options = parser.parse_args(arguments)
    try:
        return {"execute": _execute, "check": _check, "claims": _claims}[options.command](options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _chosen(options: argparse.Namespace) -> list[Path]:
    for path in options.paths:
        if not path.is_file():
            raise ValueError(
                f"{path} is not a file; the chapters are {[p.name for p in chapters(options.book)]}"
            )
    return options.paths or chapters(options.book)


def _execute(options: argparse.Namespace) -> int:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    stopped = (CellExecutionError, CellTimeoutError, DeadKernelError)

    os.environ["TQDM_DISABLE"] = "1"  # a stored progress bar would be noise
    failed = 0
    for path in _chosen(options):
        reasons = ["asked for"] if options.all else stale(path)
        if not reasons:
            print(f"{path}: up to date", flush=True)
            continue
        print(f"{path}: executing ({'; '.join(reasons)})", flush=True)
        try:
            print(f"{path}: done in {execute(path.resolve()):.0f} s", flush=True)
        except stopped as error:
            print(
                f"{path}: failed; its stored outputs are as they were\n{error}", file=sys.stderr, flush=True
            )
            failed = 1
    return failed


def _check(options: argparse.Namespace) -> int:
    found = {path: stale(path) for path in _chosen(options)}
    for path, reasons in found.items():
        if reasons:
            print(f"{path} is stale: {'; '.join(reasons)}", file=sys.stderr)
    n_stale = sum(map(bool, found.values()))
    if n_stale:
        print(f"{n_stale} of {len(found)} chapters are stale; `make book` executes them", file=sys.stderr)
    else:
        print(f"{len(found)} chapters are up to date")
    return 1 if n_stale else 0


def _claims(options: argparse.Namespace) -> int:
    claims = records(chapters(options.book))
    for claim in claims:
        print(f"{claim['id']:16} {claim['verdict']:17} {_estimate(claim)}\n    {claim['statement']}")
        if claim["measure"]:
            print(f"    {claim['measure']}")
    if options.json:
        names = ["id", "chapter", "statement", "prediction", "measure", "estimate", "low", "high"]
        names += ["n_models", "controls", "verdict", "tests"]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([{n: c[n] for n in names} for c in claims], indent=1) + "\n")
        print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
