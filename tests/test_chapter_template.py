"""`make chapter`: the template is a chapter that works, and names that are none are refused."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chapter
import pytest
import yaml

from toylib.page import commands, records, stamps

ROOT = Path(__file__).resolve().parent.parent
TOC = """format: jb-book
root: book/scoreboard
parts:
  - caption: Beyond
    numbered: 1
    chapters:
      - file: book/open-questions
  - caption: Sources
    chapters:
      - file: book/references
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text(TOC)
    return tmp_path


def test_a_new_chapter_is_listed_last_in_its_part_and_carries_its_name(tree):
    path = chapter.create("rare-birds", tree)
    parts = yaml.safe_load((tree / "_toc.yml").read_text())["parts"]
    assert [entry["file"] for entry in parts[0]["chapters"]] == ["book/open-questions", "book/rare-birds"]
    assert [entry["file"] for entry in parts[1]["chapters"]] == ["book/references"]
    text = path.read_text()
    assert "fig-rare-birds" in text
    assert "rare_birds_dense" in text
    assert not re.search(r"my.chapter", text)


@pytest.mark.slow
def test_the_template_executes_as_it_is_records_its_claim_and_builds(tree, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a chapter draws inline
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as `toylib.page` does: on a slow machine a bar would be stored
    path = chapter.create("rare-birds", tree)
    commands.execute(path)
    (claim,) = records.of_notebooks([path])
    assert claim["id"] == "rare-birds"
    assert claim["verdict"] == "supported"
    assert stamps.stale(path) == []
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] in ("stream", "error")]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert [task["chapter"] for task in records.exercises(tree / "book")] == ["A chapter's title"]
    compare = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "book", "--color=no"]
    shutil.copy(ROOT / "book" / "conftest.py", tree / "book")
    compared = subprocess.run(compare, cwd=tree, capture_output=True, text=True, timeout=300)
    assert compared.returncode == 0, compared.stdout

    # a site of this chapter and of the pages that it refers to, with warnings as errors
    shutil.copytree(ROOT / "_ext", tree / "_ext")
    shutil.copy(ROOT / "_config.yml", tree)
    for name in ("references.bib", "references.md", "logo.svg", "favicon.svg", "preview.png"):
        shutil.copy(ROOT / "book" / name, tree / "book")
    (tree / "book" / "measurements.md").write_text("# Measurements\n")
    pages = "".join(f"  - file: book/{name}\n" for name in ("measurements", "references"))
    (tree / "_toc.yml").write_text(f"format: jb-book\nroot: book/rare-birds\nchapters:\n{pages}")
    build = "from jupyter_book.cli.main import main; main()"
    built = [sys.executable, "-c", build, "build", ".", "-n", "-W", "--keep-going", "--quiet"]
    site = subprocess.run(built, cwd=tree, capture_output=True, text=True, timeout=300)
    assert site.returncode == 0, site.stdout + site.stderr
    assert "rare-birds: supported" in (tree / "_build" / "html" / "book" / "rare-birds.html").read_text()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Two Words",
        "a_b",
        "../x",
        "/tmp/x",
        "x.ipynb",
        "-x",
        "x-",
        "a--b",
        "über",
        "1st",
        "a" * 41,
        "a\n",
    ],
)
def test_a_bad_name_is_refused_and_nothing_is_written(tree, name):
    with pytest.raises(ValueError, match=re.escape(f"NAME must be {chapter.ALLOWED}")) as caught:
        chapter.create(name, tree)
    assert repr(name) in str(caught.value)
    assert list((tree / "book").iterdir()) == []
    assert (tree / "_toc.yml").read_text() == TOC


@pytest.mark.bad_input
def test_a_name_that_is_taken_is_refused_and_the_chapter_stays(tree):
    path = chapter.create("rare-birds", tree)
    path.write_text("mine")
    for name in ("rare-birds", "references"):
        with pytest.raises(ValueError, match=f"got '{name}', which is there already"):
            chapter.create(name, tree)
    assert path.read_text() == "mine"


@pytest.mark.bad_input
def test_a_table_of_contents_without_the_part_is_named(tree):
    (tree / "_toc.yml").write_text("root: book/scoreboard\n")
    with pytest.raises(ValueError, match=r"_toc.yml must have the part 'Beyond'"):
        chapter.create("rare-birds", tree)
    assert list((tree / "book").iterdir()) == []
