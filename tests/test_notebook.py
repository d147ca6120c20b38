"""Executing, stamping and reading chapters."""

import json
import shutil
import subprocess

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import toylib
from toylib.claims import MIME
from toylib.page import commands, notebook, records, stamps

SETUP = "from toylib import claims, evidence\nfrom toylib.page import notebook\nnotebook.setup()"
RULES = '[claims.Rule("s", above=0.3)]'
CLAIM = f'claim = claims.Claim(id="claim-9", statement="S", setting="P", rules={RULES})\nclaim'
VERDICT = 'claim.judge(measure="m", n_models=7, found={"s": evidence.Interval(0.5, 0.4, 0.6)})'


def write(path, *sources):
    cells = [new_markdown_cell("# A chapter"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small book of one chapter and a front page, executed once."""
    book = tmp_path_factory.mktemp("book")
    write(book / "chapter.ipynb", SETUP, CLAIM, "notebook.glue(rate=0.25)", VERDICT)
    write(book / "scoreboard.ipynb", SETUP, "notebook.scoreboard()")
    assert commands.main(["execute", "--book", str(book)]) == 0
    return book


@pytest.fixture
def book(executed, tmp_path):
    return shutil.copytree(executed, tmp_path / "book")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.slow
def test_an_executed_book_is_up_to_date_and_executes_nothing_again(book, capsys):
    assert commands.main(["check", "--book", str(book)]) == 0
    assert commands.main(["execute", "--book", str(book)]) == 0
    assert capsys.readouterr().out.count("up to date") == 3


@pytest.mark.slow
def test_claims_are_printed_and_written(book, tmp_path, capsys):
    target = tmp_path / "new" / "claims.json"
    assert commands.main(["claims", "--book", str(book), "--json", str(target)]) == 0
    assert "0.50 [0.40, 0.60], 7 models" in capsys.readouterr().out
    (claim,) = json.loads(target.read_text())
    expected = {
        "id": "claim-9",
        "chapter": "chapter",
        "verdict": "supported",
        "n_models": 7,
        "prediction": "P",
    }
    assert expected.items() <= claim.items()


@pytest.mark.slow
def test_a_changed_line_of_toylib_makes_the_chapter_stale_and_is_named(book, tmp_path, monkeypatch, capsys):
    changed = shutil.copytree(stamps.PACKAGE_FOLDER, tmp_path / "toylib")
    module = changed / "claims" / "rules.py"
    module.write_text(module.read_text() + "\n# another line\n")
    monkeypatch.setattr(stamps, "PACKAGE_FOLDER", changed)
    assert commands.main(["check", "--book", str(book)]) == 1
    error = capsys.readouterr().err
    assert "chapter.ipynb is stale: toylib.claims.rules has changed" in error
    assert "2 of 2 chapters are stale" in error


def test_a_module_the_chapter_does_not_use_leaves_it_up_to_date(book, tmp_path, monkeypatch):
    changed = shutil.copytree(stamps.PACKAGE_FOLDER, tmp_path / "toylib")
    (changed / "page" / "figures" / "canvas.py").write_text("# quite another\n")
    monkeypatch.setattr(stamps, "PACKAGE_FOLDER", changed)
    assert stamps.stale(book / "chapter.ipynb") == []


def test_a_changed_cell_or_version_or_record_makes_it_stale(book):
    chapter, front = book / "chapter.ipynb", book / "scoreboard.ipynb"
    edit(chapter, lambda nb: nb["cells"][2].update(source=CLAIM + "  # changed"))
    assert stamps.stale(chapter) == ["its cells, or data that they read, have changed"]

    def other_address(nb):
        nb["cells"][2].update(source=CLAIM + "\n# https://github.com/someone-else/a.book")

    edit(chapter, lambda nb: nb["cells"][2].update(source=CLAIM + "\n# https://github.com/owner/book"))
    edit(chapter, lambda nb: nb["metadata"]["toylib"].update(cells=stamps.cells_digest(nb, book)))
    edit(chapter, other_address)
    assert stamps.stale(chapter) == []  # no number depends on where the repository lies

    def other_torch(nb):
        nb["cells"][1]["outputs"][0]["data"][stamps.STAMP]["packages"]["torch"] = "1.0"

    edit(chapter, other_torch)
    assert any(reason.startswith("torch was 1.0 and is") for reason in stamps.stale(chapter))
    assert stamps.stale(front) == []
    edit(chapter, lambda nb: nb["cells"][4]["outputs"][0]["data"][MIME].update(estimate=0.55))
    assert stamps.stale(front) == ["the chapters' records have changed"]


@pytest.mark.slow
def test_data_that_a_chapter_reads_makes_it_stale_when_they_change(book):
    (book / "data").mkdir()
    data, unread = book / "data" / "words.json", book / "data" / "others.json"
    for path in (data, unread):
        path.write_text("[1]")
    page = write(book / "reading.ipynb", SETUP, "open('data/words.json').read()")
    commands.execute(page)
    unread.write_text("[2]")
    assert stamps.stale(page) == []
    data.write_text("[2]")
    assert stamps.stale(page) == ["its cells, or data that they read, have changed"]


def test_a_chapter_whose_process_is_killed_has_failed(book, monkeypatch):
    statuses = iter([-9, 0, 1])
    monkeypatch.setattr(
        commands.subprocess, "run", lambda command: subprocess.CompletedProcess(command, next(statuses))
    )
    assert commands._side_by_side([book / "chapter.ipynb"] * 3) == 2


@pytest.mark.slow
def test_exercises_are_read_from_the_chapters_and_a_new_one_makes_their_page_stale(book):
    chapter = book / "chapter.ipynb"
    page = write(
        book / "teaching.ipynb",
        "from toylib.page import notebook, records\nnotebook.setup()",
        'notebook.exercises(records.exercises("."))',
    )
    assert commands.main(["execute", "--book", str(book), str(page)]) == 0
    assert stamps.stale(page) == []
    boxes = [
        ":::{admonition} Exercise 2 (medium, 10 minutes): two `W`",
        ":::{admonition} Experiment 1 (easy, 10 minutes): wings",
        ":::{admonition} Exercise without a number (hard, 9 minutes)",
    ]
    edit(chapter, lambda nb: nb["cells"][0].update(source="# On birds\n" + "\n".join(boxes)))
    assert [tuple(task.values()) for task in records.exercises(book)] == [
        (10, "easy", "On birds", "Experiment 1", "wings"),
        (10, "medium", "On birds", "Exercise 2", "two `W`"),
    ]
    assert stamps.stale(page) == ["the chapters' exercises have changed"]


@pytest.mark.parametrize(
    "title",
    [
        "(5 minutes): wings",
        "(harder, 5 minutes): wings",
        "(5 minutes, easy): wings",
        "(easy, 5 minutes)",
        ": wings",
    ],
)
def test_an_exercise_whose_title_the_teachers_page_cannot_read_is_named(book, title):
    title = f"Exercise 1{title if title[0] == ':' else f' {title}'}"
    edit(book / "chapter.ipynb", lambda nb: nb["cells"][0].update(source=f"{{admonition}} {title}"))
    with pytest.raises(ValueError, match=r"^chapter.ipynb: .* easy, medium, hard; got .*") as error:
        records.exercises(book)
    assert error.value.args[0].endswith(f"got `{title}`")


def test_prose_may_change_without_a_new_run(book):
    edit(book / "chapter.ipynb", lambda nb: nb["cells"][0].update(source="# Another title"))
    assert stamps.stale(book / "chapter.ipynb") == []


def test_a_chapter_that_was_never_executed_is_stale(tmp_path):
    assert stamps.stale(write(tmp_path / "new.ipynb", SETUP)) == [
        "it has not been executed from first to last"
    ]


@pytest.mark.slow
def test_a_failing_chapter_is_named_and_its_old_outputs_stay(book, capfd):
    chapter = book / "chapter.ipynb"
    edit(chapter, lambda nb: nb["cells"][2].update(source="raise RuntimeError('broken on purpose')"))
    before = chapter.read_bytes()
    assert commands.main(["execute", "--book", str(book), str(chapter)]) == 1
    assert "broken on purpose" in capfd.readouterr().err
    assert chapter.read_bytes() == before
    assert not list(book.glob("*.tmp"))


@pytest.mark.slow
def test_chapters_run_side_by_side_and_the_front_page_after_them(tmp_path, capfd):
    write(tmp_path / "a.ipynb", SETUP, CLAIM, VERDICT)
    write(tmp_path / "b.ipynb", SETUP, "raise RuntimeError('broken on purpose')")
    write(tmp_path / "scoreboard.ipynb", SETUP, "notebook.scoreboard()")
    assert commands.main(["execute", "--book", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert stamps.stale(tmp_path / "a.ipynb") == []
    assert stamps.stale(tmp_path / "b.ipynb") == ["it has not been executed from first to last"]
    assert "b.ipynb: failed; its stored outputs are as they were" in err
    assert out.rstrip().splitlines()[-1].startswith(f"{tmp_path / 'scoreboard.ipynb'}: done in")
    assert "claim-9: supported" in (tmp_path / "scoreboard.ipynb").read_text()


def test_glue_gives_the_bundle_that_myst_nb_reads(book):
    cells = json.loads((book / "chapter.ipynb").read_text())["cells"]
    (output,) = cells[3]["outputs"]
    assert {k: "".join(v) for k, v in output["data"].items()} == {
        "application/papermill.record/text/plain": "0.25"
    }
    assert output["metadata"]["scrapbook"]["name"] == "rate"


def test_what_is_glued_is_text_and_not_html(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    notebook.glue(said="it can't be < 1")
    assert shown == [{"application/papermill.record/text/plain": "it can't be < 1"}]


def test_tables_show_numbers_to_three_digits_and_keep_their_text_stable():
    shown = notebook.table([["a<b", 0.123456, True, 12345]], ["x", "y", "z", "n"])
    assert repr(shown) == "table of 1 rows: x, y, z, n"
    html = shown.data["text/html"]
    for text in ("a&lt;b", "0.123<", ">yes<", "12,345"):
        assert text in html
    with pytest.raises(ValueError, match="rows must have 2 entries, like the header; got 1"):
        notebook.table([[1]], ["x", "y"])


def test_the_front_page_links_each_claim_to_its_chapter(book):
    shown = notebook.scoreboard(book)
    assert repr(shown) == "claim-9: supported"
    assert 'href="chapter.html"' in shown.data["text/html"]


def judged(book, **rule):
    """The chapter's record with its rule found otherwise."""

    def change(content):
        record = content["cells"][4]["outputs"][0]["data"][MIME]
        record["rules"][0].update(rule)

    edit(book / "chapter.ipynb", change)


def test_the_front_page_names_rules_that_could_not_do_their_job(book):
    assert "<tbody></tbody>" in notebook.undecided(book).data["text/html"]
    judged(book, held=False, reverse=False, low=0.2, estimate=0.5, high=0.8)
    html = notebook.undecided(book).data["text/html"]
    assert "<td>s: above 0.3</td><td>4.6 times as many</td>" in html
    judged(book, void=True)
    assert "could not have failed" in notebook.undecided(book).data["text/html"]


def test_the_front_page_names_rules_that_err_too_often_and_what_would_mend_them(book):
    assert "<tbody></tbody>" in notebook.weak_rules(book).data["text/html"]
    chances = {"nothing is there": 0.0, "at the bound": 0.02, "beyond the bound": 0.5, "as measured": 0.9}
    few = chances | {"beyond the bound": 0.9, "streams": 10, "needed": 20}
    good = chances | {"beyond the bound": 0.9, "streams": 20}
    rules = {"s": chances | {"streams": 20, "needed": None}, "t": few, "u": good}
    operating = {"n": 1000, "margin": 0.1, "verdicts": {}, "rules": rules}

    def change(content):
        content["cells"][4]["outputs"][0]["data"][MIME]["operating"] = operating

    edit(book / "chapter.ipynb", change)
    html = notebook.weak_rules(book).data["text/html"]
    assert "<td>less than 80% power at 0.1 beyond</td><td>not with 64 times as many</td>" in html
    assert "<td>fewer than sixteen streams</td><td>20 streams</td>" in html
    assert "<td>u</td>" not in html


def test_a_rule_that_only_holds_by_itself_is_marked_on_the_front_page(book):
    assert "Holm" not in notebook.scoreboard(book).data["text/html"]
    judged(book, low=0.295, estimate=0.5, high=0.7)  # p just above a fortieth
    assert "not after Holm&#x27;s correction" in notebook.scoreboard(book).data["text/html"]


@pytest.mark.slow
def test_a_table_that_says_something_else_makes_the_page_that_reads_it_stale(book):
    path = write(book / "birds.ipynb", SETUP, 'notebook.table([[2, 0.5], [4, "<"]], ["wings", "speed"])')
    assert commands.main(["execute", "--book", str(book), str(path)]) == 0
    assert records.table(path, ["wings"]) == [["2", "0.5"], ["4", "<"]]
    draw = 'front.story([0.5, 0.1], {"a": [0, 1]}, caption="c", alt="d", source=(path, ["wings"]))'
    where = f"from pathlib import Path\nfrom toylib.page import front\npath = Path({str(path)!r})"
    page = write(book / "front.ipynb", f"{where}\n{SETUP}", draw)
    assert commands.main(["execute", "--book", str(book), str(page)]) == 0
    assert stamps.stale(page) == []
    before = path.read_text()
    changed = "the table that it reads in birds.ipynb has changed"
    for other in (before.replace("0.5", "0.6"), before.replace("wings", "legs")):
        path.write_text(other)
        assert stamps.stale(page) == [changed]
    path.write_text(before)
    assert stamps.stale(page) == []


def test_chapters_follow_the_table_of_contents_and_the_front_page_comes_last(tmp_path):
    book = tmp_path / "book"
    book.mkdir()
    for name in ("scoreboard", "alpha", "beta", "unlisted"):
        (book / f"{name}.ipynb").write_text("{}")
    (tmp_path / "_toc.yml").write_text(
        "root: book/scoreboard\nchapters:\n- file: book/beta\n- file: book/alpha\n"
    )
    assert [p.stem for p in records.chapters(book)] == ["beta", "alpha", "unlisted", "scoreboard"]


@pytest.mark.parametrize("command", ["execute", "check"])
def test_an_unknown_chapter_is_named(book, command, capsys):
    assert commands.main([command, "--book", str(book), "nowhere.ipynb"]) == 2
    assert "nowhere.ipynb is not a file; the chapters are" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "null", "[]", '{"cells": 1}', '{"cells": [{"outputs": 3}]}'])
def test_a_damaged_chapter_is_named(tmp_path, content, capsys):
    path = tmp_path / "damaged.ipynb"
    path.write_text(content)
    for command in ("check", "execute", "claims"):
        assert commands.main([command, "--book", str(tmp_path)]) == 2
        assert "damaged.ipynb must be a notebook" in capsys.readouterr().err


def test_every_module_is_part_of_the_stamp():
    stamp = notebook.setup().data[stamps.STAMP]
    assert "toylib.evidence" in stamp["modules"]
    assert "missing" not in stamp["modules"].values()
    assert stamp["packages"]["torch"] != "missing"
    assert toylib.__version__
