"""Stored files, damaged at random: each loader gives what was stored, or one error that names the file."""

import copy
import json
import warnings

import nbformat
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from toylib import chapters, evidence
from toylib.models import ReLUOutputModel
from toylib.sweep import Block, _load, _save

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
OFTEN = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
    claim = evidence.Claim("claim-9", "S", "P; refuted if not")
    verdict = claim.judge(
        measure="m",
        estimate=0.5,
        low=0.4,
        high=0.6,
        n_models=7,
        tests={"holds": True},
        controls={"null": 0.1},
    )
    output = new_output("execute_result", data=verdict._repr_mimebundle_(), execution_count=1)
    stamped = new_output("display_data", data={"text/plain": "", chapters.STAMP: chapters.stamp()})
    cells = [new_markdown_cell("# A chapter")]
    cells += [
        new_code_cell(source, execution_count=1, outputs=[o]) for source, o in [("a", stamped), ("b", output)]
    ]
    return json.loads(nbformat.writes(new_notebook(cells=cells)))


CHAPTER = a_chapter()


def test_the_chapter_that_is_damaged_below_is_whole(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps(CHAPTER))
    (record,) = evidence.records([path])
    assert (record["id"], record["estimate"], record["verdict"]) == ("claim-9", 0.5, "supported")


def read_or_named(file):
    """Each reader of chapters gives a list, or one error that names the file and shows no other behind it."""
    for read in (evidence.records, lambda paths: chapters.stale(paths[0])):
        problem = None
        try:
            assert isinstance(read([file]), list)
        except ValueError as error:
            problem = error
        if problem:
            assert str(file) in str(problem)
            assert problem.__suppress_context__ or problem.__context__ is None


@OFTEN
@example(path=next(p for p in places(CHAPTER) if p[-1] == "id" and "data" in p), new=["claim-9"])
@given(path=st.sampled_from(list(places(CHAPTER))), new=ANYTHING | st.just(...))
def test_a_chapter_with_one_changed_value_is_read_or_named(tmp_path, path, new):
    file = tmp_path / "chapter.ipynb"
    file.write_text(json.dumps(changed(CHAPTER, path, new)))
    read_or_named(file)


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
    _save(tmp_path, block, RESULT)
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
        loaded = _load(tmp_path, block)
    if loaded is not None:  # the note may be changed where nothing depends on it
        assert loaded.keys() == RESULT.keys()
        for name, value in RESULT.items():
            np.testing.assert_array_equal(loaded[name], value)
