"""On the site code is folded under one line that says what it does; in a notebook it is open.

The notebooks stay as they are: their cells are tagged when Sphinx reads them. What a cell prints that is no
result (that toylib is ready, that an exercise has no answer yet) is left out.
"""

import ast
import json
import re
from typing import Any

from sphinx.application import Sphinx

LONGEST = 72  # letters of a label
NO_RESULT = ("'toylib is ready'", "toylib is ready", "no answer yet")


def _called(node: ast.AST) -> str:
    """The name of what a call calls; empty for anything else."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _names(tree: ast.Module) -> str:
    """What the cell's lines name, the first four in their order; empty if nothing."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            found += [part.id for part in parts if isinstance(part, ast.Name)]
    names = [name for name in dict.fromkeys(found) if not name.startswith("_")]
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _by_calls(calls: set[str]) -> str:
    """What a cell does by what it calls; empty if that says nothing."""
    for name, words in (
        ("setup", "Set-up: packages and settings"),
        ("judge", "The verdict"),
        ("judged", "The verdict"),
        ("not_tested", "The verdict"),
        ("Claim", "The claim and its rules, as data"),
    ):
        if name in calls:
            return words
    return ""


def _table(call: ast.Call) -> str:
    """A table, and what its header names as far as it stands in the call."""
    header = call.args[1] if len(call.args) > 1 else None
    parts = header.elts if isinstance(header, ast.List) else []
    words = [part.value for part in parts if isinstance(part, ast.Constant) and part.value]
    return f"A table: {', '.join(map(str, words))}" if words else "A table"


def _by_last(tree: ast.Module) -> str:
    """What a cell shows at its end: a table, a figure, a lab, a value; empty if nothing."""
    last = tree.body[-1].value if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    called = _called(last) if last is not None else ""
    if called == "table" and isinstance(last, ast.Call):
        return _table(last)
    if tree.body and isinstance(only := tree.body[0], ast.Assert) and isinstance(only.msg, ast.Constant):
        return f"Checks: {only.msg.value!s}"
    if called in ("weak_rules", "undecided"):
        return "A table"
    if called.startswith("draw"):
        what = called.removeprefix("draw").strip("_").replace("_", " ")
        return f"Draws the figure{f': {what}' if what else ''}"
    if called == "Lab":
        return "The lab"
    return "Shows what stands below" if isinstance(last, ast.Name) else ""  # a name says nothing to a reader


def label(source: str, *, draws: bool = False) -> str:
    """What a cell does, in a line: its first comment, a function's docstring, or what it computes.

    draws: whether the cell has drawn a figure.
    """
    first = next((line for line in source.splitlines() if line.strip()), "")
    comment = re.match(r"#\s*(.+)", first)
    if comment:
        return _fitted(comment[1])
    try:
        tree = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))
    except SyntaxError:
        return "Code"
    calls = {_called(node) for node in ast.walk(tree)}
    documents = [ast.get_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef)]
    said = _by_calls(calls) or _by_last(tree) or ("Draws the figure" if draws else "")
    # one that states shapes alone says little
    said = said or next((text.splitlines()[0] for text in documents if text and text[0].isalpha()), "")
    names = _names(tree)
    trains = any(call.startswith("train") for call in calls)
    imports = all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body) and tree.body
    other = "Numbers for the text" if "glue" in calls else "Imports" if imports else "Code"
    computes = f"{'Trains' if trains else 'Computes'} {names}" if names else other
    return _fitted(said or computes)


def _fitted(text: str) -> str:
    """In one line: cut between words where it is too long, and without a full stop."""
    text = text.strip().rstrip(".:").replace("`", "")
    text = text[:1].upper() + text[1:]
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rsplit(' ', 1)[0].rstrip(',;')} …"


def _draws(cell: dict[str, Any]) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def _printed(cell: dict[str, Any]) -> str:
    """What a cell shows as plain text only; empty if it shows more."""
    outputs = cell.get("outputs", [])
    data = outputs[0].get("data", {}) if len(outputs) == 1 else {}
    if not outputs or len(outputs) > 1 or "text/html" in data or "image/png" in data:
        return ""
    return "".join(outputs[0].get("text", data.get("text/plain", ""))).strip()


def fold(app: Sphinx, docname: str, source: list[str]) -> None:
    """Tag a notebook's code cells to be folded, each under its label."""
    if app.env.doc2path(docname, base=False).endswith(".ipynb"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            tags = cell["metadata"].setdefault("tags", [])
            if cell["cell_type"] != "code" or any(tag.startswith("remove") for tag in tags):
                continue
            if _printed(cell) in NO_RESULT:
                tags.append("remove-output")
            if "hide-cell" not in tags:
                tags.append("hide-input")
            prompts = cell["metadata"].setdefault("mystnb", {})
            words = label("".join(cell["source"]), draws=_draws(cell))
            prompts.setdefault("code_prompt_show", words)
            prompts.setdefault("code_prompt_hide", words)
        source[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
