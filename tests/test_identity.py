"""The identity of a class: another one for whatever computes another thing, the same one in every process."""

# ruff: noqa: B008, NPY002, SIM115  # on purpose: what a class may refer to and should not

import functools
import json
import os
import subprocess
import sys
import threading
import time
import types
import weakref
from random import Random

import numpy as np
import pytest
import torch
from bad_input import refused
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from toylib import checks, models
from toylib.models import ReLUHiddenModel
from toylib.runs import installed
from toylib.runs.identity import class_identity

BEGIN = """
import collections, dataclasses, enum, functools, math, operator, types
import numpy as np
import torch
from toylib.models import ReLUHiddenModel
"""
# Where a number may come from: statements with a <G> of their own, and what reads its value in `target`.
WAYS = {
    "a constant": ("", "<G>"),
    "a global": ("V = <G>", "V"),
    "a list": ("V = [0, [<G>]]", "V[1][0]"),
    "a list that holds itself": ("V = [<G>]; V.append(V)", "V[1][1][0]"),
    "a dict": ("V = {'a': 1, 'b': {2: <G>}}", "V['b'][2]"),
    "the order of a dict": (
        "V = dict([('a', <G>), ('b', 5.0)][:: 1 if <G> > 0 else -1])",
        "[*V.values()][0]",
    ),
    "a set": ("V = {*'abcdefgh', <G>}", "sum(v for v in V if v not in {'a', *'bcdefgh'})"),
    "a named tuple": ("V = collections.namedtuple('V', 'a b')(1, <G>)", "V.b"),
    "a counter and a deque": ("V = collections.deque([collections.Counter(a=<G>)])", "V[0]['a']"),
    "an array": ("V = np.array([1.0, <G>])", "float(V[1])"),
    "an array of objects": ("V = np.array([None, 'a', [<G>]], object)", "V[2][0]"),
    "a masked array": ("V = np.ma.masked_array([1.0, <G>], [True, False])", "float(V.sum())"),
    "a tensor": ("V = torch.tensor([1.0, <G>], dtype=torch.bfloat16)", "float(V[1])"),
    "a network": ("V = torch.nn.Linear(1, 1, bias=False); V.weight.data[:] = <G>", "V.weight.item()"),
    "an enum": ("class V(enum.Enum):\n    A = 1\n    B = <G>", "V.B.value"),
    "an enum's member": ("class E(enum.Enum):\n    A = 1\n    B = <G>\nV = E.B", "V.value"),
    "a dataclass": ("@dataclasses.dataclass(frozen=True)\nclass V:\n    a: float = <G>", "V().a"),
    "a field's metadata": (
        "@dataclasses.dataclass\nclass V:\n    a: int = dataclasses.field(default=1, metadata={'k': <G>})",
        "dataclasses.fields(V)[0].metadata['k']",
    ),
    "an instance": ("class C: pass\nV = C(); V.a = <G>; V.me = V", "V.me.a"),
    "slots": ("class C: __slots__ = ('a', 'b')\nV = C(); V.a = <G>", "V.a"),
    "an instance that pickles without it": (
        "class C:\n    def __getstate__(self): return {}\n    def __reduce__(self): return (C, ())\n"
        "V = C(); V.a = <G>",
        "V.a",
    ),
    "a bound method": ("class C:\n    a = <G>\n    def f(self): return self.a\nV = C().f", "V()"),
    "an instance's __getattr__": (
        "class C:\n    def __getattr__(self, name):\n        if name[0] == '_': raise AttributeError\n"
        "        return <G>\nV = C()",
        "V.a",
    ),
    "a helper": ("def f(): return <G>", "f()"),
    "a helper's global": ("V = <G>\ndef f(): return g()\ndef g(): return V", "f()"),
    "helpers that call each other": (
        "def f(n): return g(n - 1) if n else <G>\ndef g(n): return f(n)",
        "f(3)",
    ),
    "a closure": ("def make(v):\n    return lambda: v\nf = make(<G>)", "f()"),
    "a default argument": ("def f(v=<G>): return v", "f()"),
    "a default that is named": ("def f(*, v=[<G>]): return v[0]", "f()"),
    "an attribute of a function": ("def f(): return f.v\nf.v = <G>", "f()"),
    "a lambda in a comprehension": ("V = <G>\nf = lambda: [g() for g in [lambda: V]][0]", "f()"),
    "a class inside a function": ("V = <G>\ndef f():\n    class C: a = V\n    return C.a", "f()"),
    "functools.partial": ("f = functools.partial(max, <G>)", "f(-100)"),
    "functools.lru_cache": ("V = <G>\n@functools.lru_cache\ndef f(): return V", "f()"),
    "operator.methodcaller": ("f = operator.methodcaller('get', 1, <G>)", "f({})"),
    "a decorator": (
        "def d(g):\n    @functools.wraps(g)\n    def w(): return <G>\n    return w\n@d\ndef f(): return 1.0",
        "f()",
    ),
    "what a decorator wraps": ("@torch.no_grad()\ndef f(): return <G>", "f()"),
    "a module's attribute": (
        "V = types.ModuleType('helper'); V.sub = types.ModuleType('sub'); V.sub.v = <G>",
        "V.sub.v",
    ),
    "a module's function": (
        "V = types.ModuleType('helper'); exec('v = <G>\\ndef f(): return v', vars(V))",
        "V.f()",
    ),
    "a module in a closure": (
        "def make(m):\n    return lambda: m.v\nV = types.ModuleType('helper'); V.v = <G>\nf = make(V)",
        "f()",
    ),
    "a shadowed built-in": ("def abs(x): return <G>", "abs(-1)"),
    "a patched class": ("class C: pass\nC.v = property(lambda self: <G>)", "C().v"),
    "a class attribute": ("class Base(Base): v = <G>", "self.v"),
    "a base class": ("class A(Base):\n    def v(self): return <G>\nclass Base(A): pass", "self.v()"),
    "a method that calls super": (
        "class A(Base):\n    def v(self): return <G>\nclass Base(A):\n    def v(self): return super().v()",
        "self.v()",
    ),
    "a property": ("class Base(Base):\n    v = property(lambda self: <G>)", "self.v"),
    "a cached property": (
        "class Base(Base):\n    @functools.cached_property\n    def v(self): return <G>",
        "self.v",
    ),
    "a static method": ("class Base(Base):\n    v = staticmethod(lambda: <G>)", "self.v()"),
    "a class method": ("class Base(Base):\n    v = classmethod(lambda kind: <G>)", "self.v()"),
    "a partial method": (
        "class Base(Base):\n    def w(self, v): return v\n    v = functools.partialmethod(w, <G>)",
        "self.v()",
    ),
    "a descriptor": (
        "class D:\n    def __get__(self, one, kind): return <G>\nclass Base(Base): v = D()",
        "self.v",
    ),
    "a nested class": ("class Base(Base):\n    class Inner:\n        v = <G>", "self.Inner.v"),
    "a metaclass": ("class M(type(Base)):\n    v = <G>\nclass Base(Base, metaclass=M): pass", "type(self).v"),
    "__init_subclass__": (
        "class A(Base):\n    def __init_subclass__(cls): cls.v = <G>\nclass Base(A): pass",
        "self.v",
    ),
    "an initialiser": (
        "class Base(Base):\n    def __init__(self, *a, **k):\n        super().__init__(*a, **k)\n"
        "        self.v = <G>",
        "self.v",
    ),
    "code with an exception": ("def f():\n    try: return [][1]\n    except IndexError: return <G>", "f()"),
}


def source_of(*layers):
    """A model whose target does `x = x <operation> <value>` for every layer (way, operation, value)."""
    lines, body = [BEGIN, "Base = ReLUHiddenModel"], []
    for k, (way, operation, value) in enumerate(layers):
        made, read = (text.replace("<G>", repr(value)) for text in WAYS[way])
        if "Base" in made:  # a class of its own; the others' names are told apart by their functions
            lines.append(made)
            body.append(f"x = x {operation} ({read})")
        else:
            inside = "\n".join("    " + line for line in made.splitlines())
            lines.append(f"def make_{k}():\n{inside}\n    return lambda: {read}" if k else made)
            body.append(f"x = x {operation} ({f'value_{k}()' if k else read})")
            lines += [f"value_{k} = make_{k}()"] if k else []
    body = "\n".join("        " + line for line in [*body, "return x"])
    return "\n".join([*lines, f"class Own(Base):\n    def target(self, x):\n{body}"])


def made(source):
    names = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), names)
    return names["Own"]


def computed(kind):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(1, 1, 9)
    return kind(9, 2).target(x).detach().numpy().tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_another_number_is_another_identity_wherever_it_comes_from(way):
    one, again, other = (made(source_of((way, "*", value))) for value in (2.0, 2.0, -3.0))
    assert computed(one) == computed(again) != computed(other)
    assert class_identity(one) == class_identity(again) != class_identity(other)


LAYERS = st.tuples(
    st.sampled_from([way for way in WAYS if "Base" not in WAYS[way][0]]),
    st.sampled_from(["*", "+", "-"]),
    st.sampled_from([2.0, -3.0, 1.0, 0.0, -0.0, 0.5]),
)
FIRST = st.tuples(st.sampled_from(list(WAYS)), st.sampled_from(["*", "+"]), st.sampled_from([2.0, -3.0]))
SOURCES = st.builds(lambda first, rest: source_of(first, *rest), FIRST, st.lists(LAYERS, max_size=2))


@pytest.mark.slow
@given(one=SOURCES, other=SOURCES)
@settings(max_examples=150)
def test_classes_that_compute_different_things_never_share_an_identity(one, other):
    first, second = made(one), made(other)
    if computed(first) != computed(second):
        assert class_identity(first) != class_identity(second)
    assert class_identity(made(one)) == class_identity(first)


PROGRAM = """
import json, sys
sys.path[:0] = [{here!r}]
from test_identity import class_identity, made
print(json.dumps([class_identity(made(source)) for source in json.load(sys.stdin)]))
"""


def in_a_new_process(sources, seed):
    here = os.path.dirname(__file__)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(here=here)],
        input=json.dumps(sources),
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
@given(st.lists(SOURCES, min_size=60, max_size=60))
@settings(max_examples=1, phases=[Phase.generate])  # each example is a process
def test_a_new_process_gives_every_class_the_identity_that_it_had(drawn):
    sources = [*drawn, *(source_of((way, "*", 2.0)) for way in WAYS)]
    here = [class_identity(made(source)) for source in sources]
    assert in_a_new_process(sources, "1") == here  # this one's seed of hashes is drawn anew in every run


def test_comments_lines_and_files_do_not_count():
    source = source_of(("a helper's global", "*", 2.0))
    moved = compile("\n\n# a comment\n" + source.replace("return x", "return x  # so"), "other.py", "exec")
    names = {"__name__": "elsewhere"}
    exec(moved, names)
    assert class_identity(names["Own"]) == class_identity(made(source))


def test_what_is_not_referred_to_does_not_count():
    kind = made(source_of(("a global", "*", 2.0)))
    before, names = class_identity(kind), kind.target.__globals__
    names["unrelated"] = np.random.default_rng()
    assert class_identity(kind) == before
    names["V"] = 3.0
    assert class_identity(kind) != before
    del names["V"]
    missing = class_identity(kind)
    names["V"] = 2.0
    assert class_identity(kind) == before != missing


def replaced_forward(patch):
    patch.setattr(ReLUHiddenModel, "forward", lambda self, x: x)


def replaced_flag(patch):
    patch.setattr(models.ToyModel, "output_scale", 2.0)


def replaced_global(patch):
    patch.setattr(models, "select", lambda model, index: model)


def replaced_function_that_a_rule_calls(patch):
    patch.setattr(checks, "whole_number", lambda name, value: value + 1)


def replaced_function_of_a_library(patch):
    patch.setattr(torch, "relu", lambda x: x)


def another_version_of_a_library(patch):
    found = installed.version
    patch.setattr(installed, "version", lambda package: (v := found(package)) and v + ".1")


CHANGES = [replaced_forward, replaced_flag, replaced_global, replaced_function_that_a_rule_calls,
           replaced_function_of_a_library, another_version_of_a_library]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_replaced_in_toylib_at_run_time_counts(monkeypatch, change):
    before = class_identity(ReLUHiddenModel)
    with monkeypatch.context() as patch:
        change(patch)
        assert class_identity(ReLUHiddenModel) != before
    assert class_identity(ReLUHiddenModel) == before


def test_a_module_of_the_users_own_counts_by_what_is_read_from_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_helper.py").write_text("gain = 1.0\nother = 1\ndef scaled(x): return gain * x\n")
    import own_helper

    try:
        kind = made("import own_helper\n" + BEGIN + "class Own(ReLUHiddenModel):\n"
                    "    def target(self, x): return own_helper.scaled(x)")  # fmt: skip
        before = class_identity(kind)
        own_helper.other = 2
        assert class_identity(kind) == before
        own_helper.gain = 2.0
        assert class_identity(kind) != before
    finally:
        del sys.modules["own_helper"]


def test_a_cell_that_is_run_again_gives_the_same_class():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    cell = source_of(("a helper's global", "*", 2.0))
    found = []
    for text in (cell, cell, cell.replace("2.0", "3.0"), cell):
        assert shell.run_cell(text).success
        found.append(class_identity(shell.user_ns["Own"]))
    assert found[0] == found[1] == found[3] != found[2]


def test_toylibs_own_models_have_an_identity_each():
    kinds = [models.LinearModel, models.ReLUOutputModel, ReLUHiddenModel, models.AbsoluteValueModel]
    assert len({class_identity(kind) for kind in kinds}) == 4


# --- what has no lasting name ----------------------------------------------------------------------------

RNG, TORCH_RNG, OLD_RNG = np.random.default_rng(0), torch.Generator(), np.random.RandomState(0)
LOCK, DEEP = threading.Lock(), functools.reduce(lambda inner, _: [inner], range(10**5), [])
own_module = types.ModuleType("own_module")
own_module.gain = 1.0
own_module.lock = LOCK


def imports_a_clock(self, x):
    import time as clock

    return clock.time() * x


def imports_a_module_of_ones_own(self, x):
    import own_module

    return own_module.gain * x


def sets_a_global(self, x):
    global counted
    counted = 1
    return x


def counts():
    n = 0

    def target(self, x):
        nonlocal n
        n += 1
        return n * x

    return target


def passes_a_module_about(self, x):
    module = own_module
    return module.gain * x


REFUSED = {
    "RNG is a Generator": lambda self, x: RNG.normal() * x,
    "OLD_RNG is a RandomState": lambda self, x: OLD_RNG,
    "TORCH_RNG is a Generator": lambda self, x: torch.rand(3, generator=TORCH_RNG),
    "np.random.rand is a": lambda self, x: np.random.rand(),
    "[0][1][0] is a Random": lambda self, x, draw=Random(1).random: draw(),
    "is a method, which changes": lambda self, x, draw=functools.partial(RNG.normal): draw(),
    "is a generator, which changes": lambda self, x, values=(n for n in (1, 2)): next(values),
    "is a list_iterator": lambda self, x, values=iter([1]): next(values),
    "LOCK is a lock": lambda self, x: LOCK,
    "own_module.lock is a lock": lambda self, x: own_module.lock,
    "the module weakref": lambda self, x, ref=weakref.ref(ReLUHiddenModel): ref(),
    "is a dict_keys": lambda self, x, keys={}.keys(): keys,
    "is a tensor whose values": lambda self, x, tensor=torch.eye(2).to_sparse(): tensor,
    "is a ufunc": lambda self, x, f=np.frompyfunc(lambda v: v, 1, 1): f(x),
    "nested too deeply": lambda self, x: DEEP,
    "time uses the module time": lambda self, x: time.time() * x,
    "[0] uses the module time": lambda self, x, now=time.time: now() * x,
    "os uses the module os": lambda self, x: os.environ["GAIN"],
    "torch.os uses the module os": lambda self, x: torch.os.environ["GAIN"],
    "sys uses the module sys": lambda self, x: sys.modules["own_module"].gain,
    "the module io": lambda self, x: open("gain").read(),
    "np.load is load": lambda self, x: np.load("gain"),
    "globals is globals": lambda self, x: globals()["GAIN"] * x,
    "eval is eval": lambda self, x: eval("GAIN") * x,
    "__import__ is __import__": lambda self, x: __import__("own_module").gain,
    "own_module is a module that is passed about": lambda self, x: getattr(own_module, "gain"),  # noqa: B009
    "target.own_module is a module": passes_a_module_about,
    "target.time uses the module time": imports_a_clock,
    "target.own_module is imported": imports_a_module_of_ones_own,
    "counted is set by the code": sets_a_global,
    "n is set by the code": counts(),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("why", REFUSED)
def test_what_has_no_lasting_value_is_refused_by_its_place(why):
    kind = type("Own", (ReLUHiddenModel,), {"target": REFUSED[why]})
    refused(lambda: class_identity(kind), "model_class must be made of what is the same in every process")
    with pytest.raises(ValueError, match="got Own, whose ") as caught:
        class_identity(kind)
    assert why in str(caught.value).partition("got Own")[2]


@pytest.mark.bad_input
def test_only_a_class_has_an_identity():
    refused(lambda: class_identity(3), "model_class must be a class; got 3")
