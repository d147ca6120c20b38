"""Which installed package a module belongs to, at which version, and what of it gives the same each time."""

from __future__ import annotations

import functools
import json
import platform
import sys
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

# of the standard library, what gives the same for the same arguments: it reads neither clocks nor files
PURE = {
    "abc", "array", "base64", "bisect", "builtins", "cmath", "collections", "contextlib", "copy",
    "copyreg", "dataclasses", "decimal", "enum", "fractions", "functools", "hashlib", "heapq",
    "itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "struct",
    "textwrap", "types", "typing", "unicodedata", "warnings", "zlib",
}  # fmt: skip
UNSEEN = {  # of the built-ins
    "breakpoint", "compile", "eval", "exec", "globals", "hash", "id", "input", "open", "__import__",
}  # fmt: skip
READERS = {  # of numpy and torch
    "from_file", "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "open_memmap",
}  # fmt: skip
TOYLIB = __name__.partition(".")[0]
STANDARD = Path(json.__file__).parent.parent.resolve()


@functools.cache
def version(package: str) -> str | None:
    """Name and version of an installed package, or None for the user's own modules and for toylib."""
    module = sys.modules.get(package)
    spec = getattr(module, "__spec__", None) if module else find_spec(package)
    places = list((spec and spec.submodule_search_locations) or [])
    if spec and spec.has_location and spec.origin and not places:
        places = [spec.origin]
    folder = Path(places[0]).parent.resolve() if places else None
    if package in sys.stdlib_module_names and (folder is None or folder.is_relative_to(STANDARD)):
        return f"Python {platform.python_version()}"
    if folder is None or package == TOYLIB:
        return None
    for name in packages_distributions().get(package, ()):
        found = distribution(name)
        beside = Path(str(found.locate_file(""))).resolve() == folder  # not so where it is edited in place
        if beside and (found.read_text("METADATA") or folder.name.endswith("-packages")):
            return f"{name} {found.version}"
    return None


def installed(module: object) -> str | None:
    """Name and version of the installed package that holds the module of this name, or None."""
    return version(module.partition(".")[0]) if isinstance(module, str) and module else None
