"""What the extensions make of the site: folded code with labels, less weight, a front page at the root."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


folded, light, found, runs_here = map(extension, ("folded", "light", "found", "runs_here"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("# what it is for.\nx = 1", "What it is for"),
        (
            "try:\n    import toylib\nexcept E:\n    %pip install x\nnotebook.setup()",
            "Set-up: packages and settings",
        ),
        ('def f():\n    """Loss of every model."""\n    return 1\n\n\nx = f()', "Loss of every model"),
        ("rows = []\nnotebook.table(rows, ['density', 'loss'])", "A table: density, loss"),
        ("notebook.table(rows, header)", "A table"),
        ("draw_two_by_two()", "Draws the figure: two by two"),
        ("claim.judge(measure='m')", "The verdict"),
        ("c = Claim(id='a')", "The claim and its rules, as data"),
        ("a, b = 1, 2\nfor k in range(3):\n    c = k", "Computes a, b, c"),
        ("run = train(model, features)", "Trains run"),
        ("Lab(preset='pentagon')", "The lab"),
        ("claim", "Shows claim"),
        ("print(1)", "Code"),
        ("not python (", "Code"),
        ("", "Code"),
    ],
)
def test_a_label_says_what_a_cell_does(source: str, said: str) -> None:
    assert folded.label(source) == said


def test_a_label_is_one_line_and_a_figure_is_named_as_one() -> None:
    long = folded.label("# " + "word " * 40)
    assert len(long) <= folded.LONGEST + 2
    assert long.endswith("word …")
    assert folded.label("x = 1", draws=True) == "Draws the figure"


def test_cells_are_folded_and_what_is_no_result_is_left_out() -> None:
    def cell(source: str, *tags: str, text: str = "") -> dict[str, object]:
        outputs = [{"output_type": "stream", "text": text}] if text else []
        return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": outputs}

    cells = [cell("x = 1", text="5"), cell("y = 1", text="no answer yet\n"), cell("z", "remove-cell")]
    cells += [cell("# solution", "hide-cell")]
    page = [json.dumps({"cells": cells})]
    app = SimpleNamespace(env=SimpleNamespace(doc2path=lambda name, base: f"{name}.ipynb"))
    folded.fold(app, "book/a", page)
    read = [each["metadata"] for each in json.loads(page[0])["cells"]]
    assert [each["tags"] for each in read] == [
        ["hide-input"],
        ["remove-output", "hide-input"],
        ["remove-cell"],
        ["hide-cell"],
    ]
    assert read[0]["mystnb"]["code_prompt_show"] == "Computes x"
    app.env.doc2path = lambda name, base: f"{name}.md"
    folded.fold(app, "book/a", text := ["# A page"])
    assert text == ["# A page"]


SCRIPT = '{bars:[448,512,[],"f0c9","M1 2z"],"circle-half":[16,16,[],"f042","M3 4z"]}'
PAGE = """<script defer src="_static/scripts/fontawesome.js?d=1"></script>
<script src="searchindex.js"></script>
<script defer="defer" src="_static/mathjax/tex-chtml.js"></script>
<i class="theme-switch fa-solid fa-circle-half fa-lg" data-mode="auto"></i>
<span class="fa-solid fa-bars"></span>
<img src="logo.svg"><article>{}<img src="a.png"><img loading="eager" src="b.png"></article>"""


def test_a_page_keeps_only_what_it_needs() -> None:
    page = light.lightened(PAGE.format(""), SCRIPT)
    assert "<script" not in page
    assert 'd="M1 2z"' in page
    assert 'class="svg-inline--fa theme-switch fa-solid fa-circle-half fa-lg" data-mode="auto"' in page
    assert page.count('loading="lazy"') == 1
    assert '<img src="logo.svg">' in page
    assert light.lightened(page, SCRIPT) == page
    formula = light.lightened(PAGE.format('<span class="math notranslate">x</span>'), SCRIPT)
    assert "tex-chtml.js" in formula
    search = light.lightened(PAGE.format('<div id="search-results">'), SCRIPT)
    assert "searchindex.js" in search


def test_an_icon_that_the_theme_has_not_is_named() -> None:
    with pytest.raises(ValueError, match="one of Font Awesome's; got 'bar'"):
        light.lightened('<i class="fas fa-bar"></i>', SCRIPT)


def test_the_front_page_at_the_root_leads_where_it_led_before() -> None:
    page = (
        '<html data-content_root="../"><a href="lab.html#lab-1"></a><a href="#b"></a><img src="../a.png">'
        '<a href="https://x.org/y"></a><img src="data:image/png;base64,a"><form action="../search.html">'
        '<div data-link="lab.html"></div><a href="../book/b.html"></a>'
    )
    assert found.moved(page, "book") == (
        '<html data-content_root="./"><a href="book/lab.html#lab-1"></a><a href="#b"></a><img src="a.png">'
        '<a href="https://x.org/y"></a><img src="data:image/png;base64,a"><form action="search.html">'
        '<div data-link="book/lab.html"></div><a href="book/b.html"></a>'
    )


def test_no_question_is_entered_for_two_pages_and_each_page_is_there() -> None:
    asked = [words for each in found.ASKED.values() for words in each]
    assert len(set(asked)) == len(asked)
    assert asked == [words.lower() for words in asked]
    stems = {path.stem for path in (ROOT / "book").iterdir()}
    assert {name.removeprefix("book/") for name in found.ASKED} <= stems


def test_a_page_with_a_place_to_run_a_claim_has_the_module_once() -> None:
    script = '<script type="module" class="toylib-rerun">x</script>'
    plain = "<body><p>a</p></body>"
    assert runs_here.with_module(plain, script) == plain
    card = '<div class="toylib-rerun" data-run="{}"></div>'
    page = runs_here.with_module(f"<body>{card}{card}</body></html>", script)
    assert page == f"<body>{card}{card}{script}\n</body></html>"
    assert runs_here.with_module(page, script) == page
