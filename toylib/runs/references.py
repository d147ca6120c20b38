"""What a function's code refers to, by name: globals, closures and imports, read from its bytecode."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from itertools import takewhile
from types import CodeType, FunctionType
from typing import Any

SHAPE_CHECKS = ("jaxtyping", "beartype")  # they wrap functions and change no number
NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
CELLS = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")


def home(function: FunctionType) -> str:
    """The module that a function's code stands in, whatever it says of itself."""
    return str(function.__globals__.get("__name__", ""))


def unchecked(value: Any) -> Any:
    """A function without the wrappers that check the shapes of its arguments."""
    while isinstance(value, FunctionType) and home(value).partition(".")[0] in SHAPE_CHECKS:
        if "__wrapped__" not in vars(value):
            break
        value = vars(value)["__wrapped__"]
    return value


def references(code: CodeType) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What code, and the code inside it, does by name: (how, name, attributes read from it at once)."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    local = {step.argval for step in steps if step.opname == "STORE_NAME"} | {"__name__"}
    for k, step in enumerate(steps):
        if step.opname in NAMES + CELLS and not (step.opname == "LOAD_NAME" and step.argval in local):
            read = takewhile(lambda after: after.opname in ("LOAD_ATTR", "LOAD_METHOD"), steps[k + 1 :])
            how = "cell" if step.opname in CELLS else "global"
            yield how, step.argval, tuple(after.argval for after in read)
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield "set global", step.argval, ()
        elif step.opname in ("STORE_DEREF", "DELETE_DEREF"):
            yield "set cell", step.argval, ()
        elif step.opname == "IMPORT_NAME":  # after the number of dots, and the names to take from it
            yield "import", "." * steps[k - 2].argval + step.argval, ()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from references(inner)
