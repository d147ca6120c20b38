"""What every loader does: say which package is missing, and name what it does not understand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from ..checks import refuse

MOST_NAMED = 8  # of the things that are wrong with a file


class NotInstalled(ImportError):
    """A package that carries weights or stimuli is missing; the message holds the command for it."""


def missing(modules: Iterable[str]) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in modules if find_spec(name) is None]


def require(modules: Mapping[str, str], for_what: str) -> None:
    """Raise NotInstalled, with one pip command, unless every module is installed.

    Shapes: modules {module to import: what pip calls its package, with a version if it matters}.
    """
    if packages := [modules[name] for name in missing(modules)]:
        raise NotInstalled(f"{for_what} needs: python -m pip install {' '.join(packages)}")


def stop_at(odd: Sequence[str], must: str, got: str = "", *, between: str = "; ") -> None:
    """Name what a loader does not understand, and stop; nothing happens where there is no such thing.

    Raises: ValueError saying what must be, what came, and the first of what is odd in it.
    """
    if odd:
        more = " and more" if len(odd) > MOST_NAMED else ""
        refuse(must, got + between.join(odd[:MOST_NAMED]) + more)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


@contextmanager
def reading(
    file: str, must: str, *errors: type[Exception], why: Callable[[Exception], str] = _why
) -> Iterator[None]:
    """Stop with the ValueError that names a file where reading it raises one of these errors."""
    try:
        yield
    except errors as error:
        refuse(must, f"{file} ({why(error)})")
