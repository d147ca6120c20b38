"""The page that shows toylib's functions: every module and every public name is on it."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "_ext"))
from api_page import PACKAGE, heads, source_of  # noqa: E402

PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
NAMED = " ".join(re.findall(r"```\{api\}\n(.*?)```", PAGE, re.DOTALL)).split()


def test_every_module_is_on_the_page_once():
    files = [path for path in PACKAGE.rglob("*.py") if ast.parse(path.read_text(encoding="utf-8")).body[1:]]
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in files]
    modules = {name.removesuffix(".__init__") for name in names} - {"__init__", "page.__main__"}
    assert sorted(NAMED) == sorted(modules)


@pytest.mark.parametrize("module", NAMED)
def test_every_public_name_is_shown_with_its_signature_and_docstring(module):
    text = source_of(module).read_text(encoding="utf-8")
    shown = dict(heads(ast.parse(text).body, text.splitlines()))
    loaded = importlib.import_module(f"toylib.{module}")
    public = [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == loaded.__name__
        and value.__doc__
    ]
    assert set(public) <= set(shown)
    for name in public:
        assert inspect.getdoc(vars(loaded)[name]).splitlines()[0] in shown[name]


def test_a_head_ends_where_the_body_begins():
    head = 'def f(\n    x,\n):\n    """Docs.\n\n    More.\n    """'
    text = head + '\n    return x\n\n\ndef _g():\n    """Hidden."""\n'
    assert heads(ast.parse(text).body, text.splitlines()) == [("f", head)]


def test_a_class_brings_its_decorator_fields_and_public_methods():
    head = '@dataclass\nclass C:\n    """Docs."""\n\n    x: int = 0'
    method = '    @property\n    def f(self):\n        """More."""'
    hidden = '    def _g(self):\n        """Hidden."""\n        return 1\n'
    text = f"{head}\n\n{hidden}\n{method}\n        return 2\n"
    assert heads(ast.parse(text).body, text.splitlines()) == [("C", f"{head}\n\n{method}")]


def test_an_unknown_module_is_named():
    with pytest.raises(ValueError, match="api must name modules of toylib; got 'nothing'"):
        source_of("nothing")
