"""Stored files, damaged at random: each loader gives what was stored, or one error that names the file."""

import copy
import functools
import json
import warnings
from importlib.metadata import version

import nbformat
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from toylib import claims, evidence
from toylib.models import ReLUOutputModel
from toylib.page import commands, notebook, records, stamps
from toylib.runs import store
from toylib.runs.blocks import Block

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
OFTEN = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def versions_of_packages_are_looked_up_once(monkeypatch):
    """Each look-up reads a file of the package's; thousands of chapters are judged here."""
    monkeypatch.setattr(stamps, "version", functools.cache(version))


def places(value, path=()):
    """The path to every value inside a JSON document."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from places(item, (*path, key))


def changed(document, path, new):
    """A copy of a JSON document with the value at this path replaced, or taken away if new is `...`."""
    result = copy.deepcopy(document)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    if new is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return result


def a_chapter():
    claim = claims.Claim("claim-9", "S", "P", [claims.Rule("share", above=0.3)])
    share = evidence.Interval(0.5, 0.4, 0.6)
    verdict = claim.judge(measure="m", n_models=7, found={"share": share}, controls={"null": 0.1})
    output = new_output("execute_result", data=verdict._repr_mimebundle_(), execution_count=1)
    pages = {
        stamps.STAMP: {"modules": {"toylib.evidence": "0"}, "packages": {"numpy": "1"}},
        stamps.SCOREBOARD: {"digest": "0"},
        stamps.EXERCISES: {"digest": "0"},
        stamps.TABLE: {"chapter": "chapter", "header": ["wings"], "digest": "0"},
    }
    outputs = [
        new_output("display_data", data={"text/plain": "", kind: page}) for kind, page in pages.items()
    ]
    birds = notebook.table([[2]], ["wings"])
    shown = new_output("display_data", data=birds._repr_mimebundle_())
    exercise = "```{admonition} Exercise 1 (easy, 5 minutes): wings\n```"
    cells = [new_markdown_cell(f"# A chapter\n{exercise}")]
    cells += [new_code_cell("a", execution_count=1, outputs=[*outputs, output])]
    cells += [new_code_cell("b", execution_count=2, outputs=[shown])]
    return json.loads(nbformat.writes(new_notebook(cells=cells)))


CHAPTER = a_chapter()


def test_the_chapter_that_is_damaged_below_is_whole(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps(CHAPTER))
    (record,) = records.of_notebooks([path])
    assert (record["id"], record["estimate"], record["verdict"]) == ("claim-9", 0.5, "supported")


READERS = {
    "records": lambda file: records.of_notebooks([file]),
    "stale": stamps.stale,
    "exercises": lambda file: records.exercises(file.parent),
    "table": lambda file: records.table(file, ["wings"]),
    "scoreboard": lambda file: notebook.scoreboard(file.parent)._repr_mimebundle_(),
    "shown": lambda file: [records.shown_estimate(claim) for claim in records.of_notebooks([file])],
}


def read_or_named(file):
    """Each reader of chapters gives what it found, or one error that names the file and shows no other."""
    for name, read in READERS.items():
        problem = None
        try:
            read(file)
        except ValueError as error:
            problem = error
        if problem:
            assert file.name in str(problem), name
            assert problem.__suppress_context__ or problem.__context__ is None, name


@pytest.mark.parametrize("new", [..., None, True, 5, -0.5, "x", [], [1], {}, {"a": 1}], ids=repr)
def test_a_chapter_with_one_changed_value_is_read_or_named(tmp_path, new):
    file = tmp_path / "chapter.ipynb"
    for path in places(CHAPTER):
        file.write_text(json.dumps(changed(CHAPTER, path, new)))
        read_or_named(file)


def test_each_stamp_of_a_page_is_compared(tmp_path):
    """The chapter above carries stamps that fit nothing."""
    (file := tmp_path / "chapter.ipynb").write_text(json.dumps(CHAPTER))
    said = stamps.stale(file)
    for what in (
        "toylib.evidence has",
        "numpy was 1",
        "records have",
        "exercises have",
        "table that it reads",
    ):
        assert any(what in reason for reason in said), what


@pytest.mark.parametrize(
    "content", ["", "null", "[]", "{", '{"cells": 1}', '{"cells": [{"outputs": 3}]}', "[" * 9999]
)
@pytest.mark.parametrize("command", [["check"], ["claims"], ["execute"], ["execute", "--all"]], ids=" ".join)
def test_each_command_names_a_damaged_chapter(tmp_path, capsys, command, content):
    (file := tmp_path / "chapter.ipynb").write_text(content)
    assert commands.main([*command, "--book", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"error: {file} must be a notebook" in said
    assert "Traceback" not in said


@pytest.mark.bad_input
@pytest.mark.parametrize("command", ["check", "claims", "execute"])
def test_a_folder_without_chapters_is_named(tmp_path, capsys, command):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert commands.main([command, "--book", str(folder)]) == 2
        assert f"folder must hold chapters (.ipynb); got {folder}" in capsys.readouterr().err


@OFTEN
@given(end=st.integers(0, 3000), garbage=st.binary(max_size=20))
def test_a_chapter_cut_short_is_read_or_named(tmp_path, end, garbage):
    file = tmp_path / "chapter.ipynb"
    file.write_bytes(json.dumps(CHAPTER).encode()[:end] + garbage)
    read_or_named(file)


RESULT = {"loss": np.arange(6.0), "W": np.ones((2, 3), np.float32)}


@pytest.fixture
def block():
    return Block(ReLUOutputModel, {"n_features": 3, "n_hidden": 2}, {}, {"n_steps": 1}, (0, 1))


@OFTEN
@given(data=st.data())
def test_a_stored_block_that_is_damaged_is_never_believed(tmp_path, block, data):
    store.save(tmp_path, block, RESULT)
    path = data.draw(st.sampled_from(sorted(tmp_path.iterdir())))
    content = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "replace"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if how == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del content[at:]
    elif how == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    else:
        content[:] = json.dumps(data.draw(ANYTHING)).encode()
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        loaded = store.load(tmp_path, block)
    if loaded is not None:  # the note may be changed where nothing depends on it
        assert loaded.keys() == RESULT.keys()
        for name, value in RESULT.items():
            np.testing.assert_array_equal(loaded[name], value)
