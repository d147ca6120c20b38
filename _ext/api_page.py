"""The directive `api`: public functions and classes of toylib modules, as their source has them.

The docstrings are plain text with blocks for shapes, units and errors, laid out for the eye. Shown as code
they keep that layout; a signature keeps its line breaks, and shapes stand in it.
"""

import ast
from pathlib import Path
from textwrap import dedent

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

PACKAGE = Path(__file__).parent.parent / "toylib"


def source_of(module: str) -> Path:
    """The file of a module; raises ValueError if there is none."""
    place = PACKAGE.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not path.is_file():
        raise ValueError(f"api must name modules of toylib; got {module!r}")
    return path


def heads(body: list[ast.stmt], lines: list[str]) -> list[tuple[str, str]]:
    """Name and source, up to where the body begins, of every public function and class with a docstring.

    A class comes with the fields and the methods that a caller may use.
    """
    found = []
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            continue
        last, methods = node.body[0], []
        if isinstance(node, ast.ClassDef):
            methods = heads(node.body, lines)
            for field in node.body[1:]:  # of a dataclass
                if not isinstance(field, ast.AnnAssign):
                    break
                last = field
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        parts = ["\n".join(lines[first - 1 : last.end_lineno]), *(text for _, text in methods)]
        found.append((node.name, "\n\n".join(parts)))
    return found


class Api(Directive):
    """A section for each module that the content names, one a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        self.state.document.settings.env.note_dependency(__file__)
        for module in filter(None, map(str.strip, self.content)):
            path = source_of(module)
            self.state.document.settings.env.note_dependency(str(path))
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
            section = nodes.section(ids=[f"toylib-{module}".replace(".", "-")], names=[f"toylib.{module}"])
            # a name may break after a dot: on a phone it is wider than the page
            section += nodes.title("", f"toylib.{module}".replace(".", ".\u200b"))
            for paragraph in (ast.get_docstring(tree) or "").split("\n\n"):
                if paragraph.startswith(" "):  # commands
                    section += nodes.literal_block("", dedent(paragraph), language="none")
                else:
                    section += nodes.paragraph("", "", *self.state.inline_text(paragraph, self.lineno)[0])
            for name, head in heads(tree.body, text.splitlines()):
                identity = f"toylib-{module}-{name}".replace(".", "-").lower()
                section += nodes.literal_block("", head, language="python", ids=[identity])
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("api", Api)
    return {"parallel_read_safe": True}
