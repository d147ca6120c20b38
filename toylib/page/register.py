"""The register of claims: what each asks, since when, and the reason of every change.

A claim's rules are read from its chapter's code, where they are written out as literals: what is registered
is what will be judged, whether the chapter has been executed or not.
"""

from __future__ import annotations

import ast
import json
from datetime import date
from pathlib import Path
from typing import Any

from ..checks import a_text, checked
from ..claims import Claim, Rule, digest
from .records import chapters, opened

NAME = "data/register.json"


def _called(node: ast.AST, name: str) -> bool:
    """Whether this is a call of `name`, by itself or from a module."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return getattr(function, "id", getattr(function, "attr", None)) == name


def _rule(node: ast.expr) -> Rule:
    if not (isinstance(node, ast.Call) and _called(node, "Rule")):
        raise ValueError("rules must be written out, each as Rule(...)")
    values = [ast.literal_eval(value) for value in node.args]
    return Rule(*values, **{str(k.arg): ast.literal_eval(k.value) for k in node.keywords})


def _claim(node: ast.Call) -> dict[str, Any]:
    given = {str(k.arg): k.value for k in node.keywords}
    listed = given.get("rules")
    if not isinstance(listed, ast.List | ast.Tuple):
        raise ValueError("rules must be written out, as a list of Rule(...)")
    texts = {name: ast.literal_eval(given[name]) for name in ("id", "statement", "setting")}
    return Claim(**texts, rules=[_rule(rule) for rule in listed.elts]).asked


def stated(path: Path) -> list[dict[str, Any]]:
    """The claims that a chapter's code states: id, statement, setting, rules.

    Raises: ValueError, naming the chapter, for a claim whose parts are not literals.
    """
    found = []
    with opened(path) as notebook:
        sources = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    for source in sources:
        if "Claim(" not in source:
            continue
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Call) and _called(node, "Claim"):
                try:
                    found.append(_claim(node))
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{path.name} must state its claims in literals; {error}") from None
    return found


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is asked otherwise, in words."""
    parts = []
    for name in ("statement", "setting"):
        if before[name] != now[name]:
            parts.append(f"its {name} reads otherwise")
    old, new = ([json.dumps(rule, sort_keys=True) for rule in each["rules"]] for each in (before, now))
    gone = [rule["words"] for rule in before["rules"] if json.dumps(rule, sort_keys=True) not in new]
    come = [rule["words"] for rule in now["rules"] if json.dumps(rule, sort_keys=True) not in old]
    if gone or come:
        parts.append(f"'{'; '.join(gone) or 'nothing'}' became '{'; '.join(come) or 'nothing'}'")
    if not parts:
        parts.append("its rules stand in another order")
    return ", ".join(parts)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def unregistered(folder: Path) -> list[str]:
    """What the chapters ask that the register does not hold, a sentence for each; none without a register.

    Raises: ValueError as `stated` does.
    """
    held = _read(folder)
    if not held:
        return []
    now = {claim["id"]: claim for path in chapters(folder) for claim in stated(path)}
    faults = [f"{name} is not registered" for name in now if name not in held]
    faults += [f"{name} is registered, and no chapter states it" for name in held if name not in now]
    for name, claim in now.items():
        if name in held and held[name]["digest"] != digest(claim):
            faults.append(
                f"{name} has changed since it was registered: {_changes(held[name]['claim'], claim)}"
            )
    return faults


@checked(reason=a_text())
def enter(folder: Path, reason: str) -> list[str]:
    """Register what the chapters ask, with today's date and the reason; the claims that were entered.

    Raises: ValueError as `stated` does, and for an empty reason.
    """
    held, entered = _read(folder), []
    now = {claim["id"]: claim for path in chapters(folder) for claim in stated(path)}
    for name, claim in now.items():
        if name in held and held[name]["digest"] == digest(claim):
            continue
        before = held.get(name, {"history": []})
        entry = {"digest": digest(claim), "date": date.today().isoformat(), "reason": reason}
        held[name] = {"digest": entry["digest"], "claim": claim, "history": [*before["history"], entry]}
        entered.append(name)
    kept = {name: held[name] for name in held if name in now}
    (folder / NAME).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return entered
