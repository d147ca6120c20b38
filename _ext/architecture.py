"""The directive `architecture`: the rooms of toylib on their floors, drawn from its imports at every build.

The floors are those of the contract in pyproject.toml, which `make check` holds.
"""

import ast
import textwrap
import tomllib
from collections import Counter
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "toylib"
WIDTH, HEIGHT, GAP = 720, 60, 34  # of the picture; of a floor; between floors


def floors() -> list[list[str]]:
    """The rooms of every floor, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def files(room: str) -> list[Path]:
    """The Python files of a room: one module, or those of a folder."""
    return sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]


def imported(path: Path, rooms: list[str]) -> set[str]:
    """The rooms that a file imports from, its own among them."""
    found: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:  # up to toylib itself
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found |= set(names) & set(rooms)
    return found


def arrows(rooms: list[str]) -> Counter[tuple[str, str]]:
    """How many files of a room import from another: {(from, to): number}."""
    pairs = Counter(
        (room, other) for room in rooms for path in files(room) for other in imported(path, rooms)
    )
    return Counter({pair: n for pair, n in pairs.items() if pair[0] != pair[1]})


def drawing() -> str:
    """The picture as SVG, in the colour of the text around it."""
    layers = floors()
    places, parts = {}, []
    for k, layer in enumerate(layers):
        width = (WIDTH - 20 * (len(layer) - 1)) / max(len(layer), 2)
        left = (WIDTH - width * len(layer) - 20 * (len(layer) - 1)) / 2
        for number, room in enumerate(layer):
            places[room] = (left + number * (width + 20), k * (HEIGHT + GAP) + 2, width)
    for (room, other), n in sorted(arrows(list(places)).items()):
        if other in layers[-1]:  # small things, which all rooms use
            continue
        (x, y, w), (to_x, to_y, to_w) = places[room], places[other]
        x, to_x = x + w / 2, to_x + to_w / 2
        side = 1 if to_x >= x else -1
        bend = side * (30 + 0.5 * (to_y - y)) if to_y - y > HEIGHT + GAP else 0  # around the rooms between
        middle = f"{(x + to_x) / 2 + bend:.0f} {(y + HEIGHT + to_y) / 2:.0f}"
        parts.append(
            f'<path d="M{x:.0f} {y + HEIGHT} Q{middle} {to_x:.0f} {to_y}" fill="none" '
            f'stroke="currentColor" stroke-opacity="0.5" stroke-width="{0.8 + 0.4 * n:.1f}" '
            f'marker-end="url(#tip)"><title>{room} imports {other}</title></path>'
        )
    for room, (x, y, w) in places.items():
        paths = [path.relative_to(PACKAGE).with_suffix("").parts for path in files(room)]
        inside = " ".join(dict.fromkeys(p[1] for p in paths if len(p) > 1 and not p[1].startswith("__")))
        lines = textwrap.wrap(inside, int(w / 6.6))  # a letter of 11.5 px is about so wide
        parts.append(
            f'<rect x="{x:.0f}" y="{y}" width="{w:.0f}" height="{HEIGHT}" rx="6" stroke="currentColor" '
            'style="fill:var(--pst-color-background,#fff)"/>'
            f'<text x="{x + w / 2:.0f}" y="{y + (35 - 7 * len(lines))}" text-anchor="middle" '
            f'font-weight="600" font-size="15" fill="currentColor">{escape(room)}</text>'
        )
        parts += [
            f'<text x="{x + w / 2:.0f}" y="{y + 52 - 7 * len(lines) + 14 * k}" text-anchor="middle" '
            f'font-size="11.5" fill="currentColor">{escape(line)}</text>'
            for k, line in enumerate(lines)
        ]
    height = len(layers) * (HEIGHT + GAP) - GAP + 4
    words = "; ".join(" and ".join(layer) for layer in layers)
    label = f"The rooms of toylib by floor, from the top: {words}. Arrows to the lowest are left out."
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker>'
        "</defs>"
    )
    # on a phone it scrolls
    size = f"width:100%;min-width:{0.85 * WIDTH:.0f}px;max-width:{WIDTH}px;height:auto"
    return (
        '<figure tabindex="0" style="margin:0;overflow-x:auto">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}" style="{size}">'
        f"{tip}{''.join(parts)}</svg></figure>"
    )


class Architecture(Directive):
    """The picture; read again when a file of toylib has changed."""

    def run(self) -> list[nodes.Node]:
        environment = self.state.document.settings.env
        for path in [Path(__file__), ROOT / "pyproject.toml", *PACKAGE.rglob("*.py")]:
            environment.note_dependency(str(path))
        return [nodes.raw("", drawing(), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("architecture", Architecture)
    return {"parallel_read_safe": True}
