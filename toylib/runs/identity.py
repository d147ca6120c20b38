"""What a class is: a digest of all that its code refers to, for results that are stored under it.

Libraries that we tried give no such digest: joblib.hash and pickle name a function and do not follow what
it reads; cloudpickle and dask's tokenize do, but hold file names and line numbers, give other bytes for a
set under another PYTHONHASHSEED, and take the user's own modules by name.
"""

from __future__ import annotations

import builtins
import copyreg
import functools
import hashlib
import io
import json
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field
from types import (
    CodeType,
    EllipsisType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
    NoneType,
    NotImplementedType,
)
from typing import Any, NoReturn

import numpy as np
import torch
from numba.core.dispatcher import Dispatcher

from ..checks import a_kind, checked, refuse
from .installed import PURE, READERS, TOYLIB, UNSEEN, installed
from .references import home, references, unchecked

# of a class, what says where it stands, what Python made on the way, and its place in sets
ASIDE = {
    "__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__",
    "__slotnames__", "__orig_bases__", "__parameters__", "__hash__", "_abc_impl",
}  # fmt: skip
PLAIN = (NoneType, EllipsisType, NotImplementedType, bool, int, float, complex, str, bytes)
CHANGING = (
    io.IOBase, Iterator, random.Random, torch.Generator,
    np.random.Generator, np.random.BitGenerator, np.random.RandomState,
)  # fmt: skip
HOLDERS: list[tuple[type, Iterable[str]]] = [  # and what they hold
    (property, ("fget", "fset", "fdel")),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (MethodType, ("__func__", "__self__")),
    (functools.cached_property, ("func",)),
    (type(functools.cache(len)), ("__wrapped__",)),
    (Dispatcher, ("py_func", "targetoptions")),  # compiled by numba
    (Field, set(Field.__slots__) - {"type"}),  # of a dataclass, besides its annotation
]
MADE_AT_RUN_TIME = 1 << 9  # Py_TPFLAGS_HEAPTYPE: of a class that is not part of a compiled library
MISSING = object()


@checked(model_class=a_kind(type, "a class"))
def class_identity(model_class: type) -> str:
    """A digest (64 hexadecimal digits) of a class: two that compute different things have different ones.

    It is the same in every process with the same Python and packages, for a class in a file, a notebook's
    cell or `exec`: code counts as compiled (docstrings and the names of variables with it; comments, lines
    and files do not), by what it is at the time of the call. Followed are globals, closures, default
    arguments, attributes, base classes, decorators, and the same of every function, class and instance
    found there; of the user's own modules the attributes that are read; arrays and tensors by type, shape
    and bytes; dicts in their order, sets in none. Installed packages count by version, toylib by its code.

    It cannot see: what is read from an object by a path that the code makes up and that leads beyond the
    values above, changes made inside installed packages, their settings, files that they read, and what
    is replaced at run time in the functions of toylib that train.

    Raises: ValueError naming the class and the value, if one has no lasting name: generators of random
            numbers, iterators, open files, locks, modules passed about as values, code that reads clocks,
            files, the environment or `globals()`, or that sets a global or a variable of its closure.
    """
    walk = _Walk(model_class.__qualname__)
    try:
        return _digest(json.dumps(walk.of(model_class, "")).encode())
    except RecursionError:
        walk.refuse("", "refers to what is nested too deeply")


def refuse_to_store(name: str, must: str, which: str) -> NoReturn:
    """Raise the ValueError of a class, by its name: what it must be, and which fault it has."""
    refuse(f"model_class must {must}, so that what it gives can be stored in a folder", f"{name}, {which}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Walk:
    """One walk over all that a class refers to, as nested lists that can be written down as JSON.

    Functions and classes are numbered as they are met, and only named when met again. Other values are
    written down each time, so that a copy counts as the original does, besides one that holds itself.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.met: dict[int, tuple[int, Any]] = {}
        self.inside: list[int] = []
        self.ours = False  # whether the code in hand is toylib's, which may read what it likes

    def refuse(self, where: str, why: str) -> NoReturn:
        must = (
            "be made of what is the same in every process (numbers, text, arrays, functions, classes, their "
            "instances, and installed packages)"
        )
        refuse_to_store(self.name, must, f"whose {where.lstrip('.') or 'code'} {why}")

    @contextmanager
    def readable(self, where: str, why: str) -> Iterator[None]:
        """Refuse a value by its place if it raises whatever its class raises where it is read."""
        try:
            yield
        except RecursionError:
            raise
        except Exception:
            self.refuse(where, why)

    def of(self, value: Any, where: str) -> Any:
        value = unchecked(value)
        if type(value) in PLAIN:
            return [type(value).__name__, hex(value) if type(value) is int else repr(value)]
        if value is MISSING:
            return ["missing"]
        if found := self.named(value, where):
            return found
        if isinstance(value, FunctionType | type):
            if id(value) in self.met:
                return ["met", self.met[id(value)][0]]
            self.met[id(value)] = len(self.met), value
            return self.function(value, where) if isinstance(value, FunctionType) else self.kind(value, where)
        if id(value) in self.inside:
            return ["inside", len(self.inside) - self.inside.index(id(value))]
        self.inside.append(id(value))
        described = self.thing(value, where)
        self.inside.pop()
        return described

    def each(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.of(value, f"{where}[{k}]") for k, value in enumerate(values)]

    def attributes(self, values: Mapping[str, Any], where: str) -> list[Any]:
        return [[name, self.of(values[name], f"{where}.{name}")] for name in sorted(values)]

    def package(self, module: str, where: str) -> str | None:
        """Name and version of the package that a module belongs to, or None if it is the user's own."""
        version, top = installed(module), module.partition(".")[0].lstrip("_")
        if version and version.startswith("Python ") and top not in PURE and not self.ours:
            self.refuse(where, f"uses the module {top}, which may give something else each time")
        return version

    def named(self, value: Any, where: str) -> list[str] | None:
        """Where an installed function or class is found by its name, or None."""
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return ["named", "torch", str(value)]
        owner = home(value) if isinstance(value, FunctionType) else type(value).__module__
        if not isinstance(value, type):
            bound_to = getattr(value, "__self__", None) if installed(owner) else value
            if not isinstance(bound_to, ModuleType | type | None):
                return None  # whatever name it goes by
        name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
        if isinstance(value, np.ufunc) and not module:  # scipy's do not say where they are from
            homes = (m for m in sorted(sys.modules) if getattr(sys.modules[m], str(name), None) is value)
            module = next(filter(installed, homes), None)
        if not isinstance(name, str) or not isinstance(module, str) or not installed(module):
            return None
        for path in (getattr(value, "__qualname__", name), name):
            found: Any = sys.modules.get(module)
            for part in path.split("."):
                found = getattr(found, part, MISSING)
            if found is value:
                version = str(self.package(module, where))
                if not self.ours and name in (UNSEEN if version.startswith("Python ") else READERS):
                    self.refuse(where, f"is {name}, which reaches what cannot be followed")
                return ["named", version, module, path]
        if isinstance(value, type) and not value.__flags__ & MADE_AT_RUN_TIME:
            return ["named", str(installed(module)), module, value.__qualname__]
        return None

    def kind(self, kind: type, where: str) -> list[Any]:
        bases = [self.of(base, f"{where}.{base.__name__}") for base in kind.__bases__]
        own = {name: value for name, value in vars(kind).items() if name not in ASIDE}
        return ["class", kind.__qualname__, self.of(type(kind), where), bases, self.attributes(own, where)]

    def code(self, code: CodeType, where: str) -> list[Any]:
        return [
            "code", code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags, code.co_argcount,
            code.co_posonlyargcount, code.co_kwonlyargcount, code.co_names, code.co_varnames,
            code.co_freevars, code.co_cellvars, self.each(code.co_consts, f"{where}.<constants>"),
        ]  # fmt: skip

    def function(self, function: FunctionType, where: str) -> list[Any]:
        code, cells = function.__code__, dict[str, Any]()
        outer, self.ours = self.ours, home(function).partition(".")[0] == TOYLIB
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                cells[name] = cell.cell_contents
            except ValueError:  # empty
                cells[name] = MISSING
        if version := installed(home(function)):
            body, read = [version, home(function), code.co_qualname], cells
        else:
            body, read = self.code(code, where), self.read(function, cells, where)
        described = [
            "function", body,
            self.each(function.__defaults__ or (), f"{where}.<default>"),
            self.attributes(function.__kwdefaults__ or {}, where),
            self.attributes(vars(function), where),
            self.attributes(read, where),
        ]  # fmt: skip
        self.ours = outer
        return described

    def read(self, function: FunctionType, cells: dict[str, Any], where: str) -> dict[str, Any]:
        """The values that the function's code reads by name; of modules, those of their attributes."""
        found = {name: value for name, value in cells.items() if not isinstance(value, ModuleType)}
        namespace: Any = function  # mypy knows nothing of the built-ins in it
        known = {**namespace.__builtins__, **namespace.__globals__}
        for how, name, chain in references(function.__code__):
            if how == "set global" or (how == "set cell" and name in cells):
                self.refuse(f"{where}.{name}", "is set by the code, so that it changes as it runs")
            if how == "import" and (name.startswith(".") or not self.package(name, f"{where}.{name}")):
                self.refuse(f"{where}.{name}", "is imported inside a function: import it at the top")
            if how == "global" or (how == "cell" and name in cells):
                value, path = (known if how == "global" else cells).get(name, MISSING), name
                for attribute in chain:
                    if not isinstance(value, ModuleType):
                        break
                    self.package(value.__name__, f"{where}.{path}")
                    value, path = getattr(value, attribute, MISSING), f"{path}.{attribute}"
                found[path] = value
        return found

    def thing(self, value: Any, where: str) -> list[Any]:
        """A value that is neither plain, nor a function or class."""
        kind = type(value)
        if kind is CodeType:
            return self.code(value, where)
        if kind is tuple or kind is list:
            return [kind.__name__, self.each(value, where)]
        if kind is dict or kind is MappingProxyType:
            keys = [[self.of(key, where), self.of(item, f"{where}[{key!r}]")] for key, item in value.items()]
            return ["dict", keys]
        if isinstance(value, ModuleType):
            if (version := self.package(value.__name__, where)) and value is not builtins:
                return ["module", version, value.__name__]
            self.refuse(where, "is a module that is passed about: read its attributes by name")
        if isinstance(value.__self__ if kind is MethodType else value, CHANGING):
            self.refuse(where, f"is a {kind.__name__}, which changes as it is used")
        return [self.of(kind, where), self.parts(value, where)]

    def parts(self, value: Any, where: str) -> list[Any]:
        """What makes a value what it is, beside its class."""
        for holder, names in HOLDERS:
            if isinstance(value, holder):
                return self.attributes({name: getattr(value, name) for name in names}, where)
        own = self.attributes(getattr(value, "__dict__", {}), where)
        if isinstance(value, set | frozenset):  # each by itself, for there is no order to number them in
            return [own, sorted(json.dumps(_Walk(self.name).of(item, where)) for item in value)]
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            content = self.of(array.tolist(), where) if array.dtype.hasobject else _digest(array.tobytes())
            return [own, repr(array.dtype), array.shape, content]
        if isinstance(value, torch.Tensor):
            with self.readable(where, "is a tensor whose values cannot be read"):
                flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
                content = _digest(flat.view(torch.uint8).numpy().tobytes())
            return [own, str(value.dtype), value.shape, value.device.type, value.requires_grad, content]
        return self.each(self.remade(value, where), where)

    def remade(self, value: Any, where: str) -> list[Any]:
        """The parts that pickle would make the value from again."""
        kind, found = type(value), []
        with self.readable(where, f"is a {kind.__name__}, which has no lasting value"):
            registered = copyreg.dispatch_table.get(kind)
            parts = registered(value) if registered else value.__reduce_ex__(4)
            if isinstance(parts, str):  # a name, where it was not found
                raise TypeError
            found = [list(part) if isinstance(part, Iterator) else part for part in parts]
            ways = ("__reduce__", "__reduce_ex__", "__getstate__")
            changed = any(getattr(kind, way) is not getattr(object, way) for way in ways)
            if changed and not installed(kind.__module__):  # its own way may leave out what it computes with
                found.append(object.__getstate__(value))
        return found
