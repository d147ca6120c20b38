"""What the extensions make of the site: folded code with labels, less weight, a front page at the root."""

import base64
import hashlib
import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toylib.claims import NOT_SUPPORTED
from toylib.page import records, stamps

ROOT = Path(__file__).resolve().parent.parent


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXTENSIONS = ("folded", "light", "found", "tutorial", "captioned", "runs_here", "dark")
folded, light, found, tutorial, captioned, runs_here, dark = map(extension, EXTENSIONS)


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
        ("claim", "Shows what stands below"),
        ("judged(claim, found)", "The verdict"),
        ("claim.not_tested(missing) if missing else judge_it()", "The verdict"),
        ("notebook.glue(a=1)", "Numbers for the text"),
        ("from toylib import train", "Imports"),
        ("assert all(found), 'every row holds'", "Checks: every row holds"),
        ("found |= {'a': 1}", "Computes found"),
        ("# `longer` multiplies", "Longer multiplies"),
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


def test_two_arms_on_a_line_begin_to_pay_at_the_density_that_the_tutorial_names() -> None:
    p, n = tutorial.pair_pays(0.9), 2_000_000
    random = np.random.default_rng(0)
    x, y = random.uniform(size=(2, n)) * (random.uniform(size=(2, n)) < p)
    shared = (x - np.maximum(x - y, 0)) ** 2 + 0.9 * (y - np.maximum(y - x, 0)) ** 2
    gap = shared - 0.9 * (y - p / 2) ** 2
    assert abs(gap.mean()) < 5 * gap.std() / n**0.5
    assert 0.55 < p < 0.56


def test_the_tutorial_says_of_a_claim_what_its_verdict_lets_it_say() -> None:
    claim = next(claim for claim in records.read(ROOT / "book") if claim["id"] == "sharing-with-room")
    fallen = claim | {"verdict": NOT_SUPPORTED, "estimate": 0.02, "low": 0.01, "high": 0.03}
    assert "shares only" not in tutorial.told(claim)
    assert tutorial.told(fallen).startswith(
        "A layer that copies, with a neuron for every feature, shares only 2%"
    )
    assert "does not hold" in tutorial.told(fallen)


# --- captions of tables, and links to figures' values ------------------------------------------------


def of_table(*html: str) -> dict[str, Any]:
    return {"data": {"text/html": list(html)}}


@pytest.mark.parametrize(
    ("glued", "kept"),
    [("1,587", "'1,587'"), ("2.42e+04", "'2.42e+04'"), ("0.50", "'0.50'")]
    + [(same, same) for same in ("0.5", "85", "0.62 [0.60, 0.66]", "'right'", "none", "")],
)
def test_a_number_for_the_text_stands_as_it_was_written(glued: str, kept: str) -> None:
    cell = {"metadata": {}, "outputs": [{"data": {captioned.GLUED: glued}}]}
    captioned.add(cell, "../")
    assert cell["outputs"][0]["data"] == {captioned.GLUED: kept}


def test_words_that_a_cell_shows_are_shown_without_quotes() -> None:
    cell = {"metadata": {}, "outputs": [{"data": {"text/plain": ["'a < b'"]}}, {"data": {"text/plain": "3"}}]}
    captioned.add(cell, "../")
    assert cell["outputs"][0]["data"]["text/html"] == "<p>a &lt; b</p>"
    assert cell["outputs"][1]["data"] == {"text/plain": "3"}


def test_each_table_of_a_cell_gets_its_caption_and_its_words_are_text() -> None:
    cell: dict[str, Any] = {
        "metadata": {"toylib": {"captions": ["Loss < 1, by density", "Shares"]}},
        "outputs": [of_table("<p>no table</p>"), of_table('<table class="a">', "<tr>"), of_table("<table>")],
    }
    captioned.add(cell, "../")
    html = [output["data"]["text/html"] for output in cell["outputs"]]
    assert html[1] == '<table class="a"><caption><span>Loss &lt; 1, by density</span></caption><tr>'
    assert html[2] == "<table><caption><span>Shares</span></caption>"
    assert html[0] == ["<p>no table</p>"]


def test_a_figures_caption_ends_in_a_link_to_its_values_which_the_build_writes(tmp_path: Path) -> None:
    figure = {"name": "fig-a", "caption": "Losses by density."}
    output = {"data": {captioned.FIGURE: {"csv": "panel,x\n1,2\n"}}}
    cell = {"metadata": {"mystnb": {"figure": figure}}, "outputs": [output]}
    unnamed = {"metadata": {}, "outputs": [output]}
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps({"cells": [cell, unnamed]}))
    app = SimpleNamespace(
        outdir=tmp_path,
        builder=SimpleNamespace(name="html"),
        env=SimpleNamespace(found_docs=["book/chapter"], doc2path=lambda docname, base=True: str(path)),
    )
    captioned.write(app, None)
    assert [file.name for file in (tmp_path / "_static" / "figures").iterdir()] == ["fig-a.csv"]
    assert (tmp_path / "_static" / "figures" / "fig-a.csv").read_text() == "panel,x\n1,2\n"
    source = [path.read_text()]
    captioned.read(app, "book/chapter", source)
    said = json.loads(source[0])["cells"][0]["metadata"]["mystnb"]["figure"]["caption"]
    assert said.startswith("Losses by density. <a ")
    assert 'href="../_static/figures/fig-a.csv"' in said


def test_the_site_reads_the_type_that_notebooks_store() -> None:
    assert captioned.FIGURE == stamps.FIGURE


def test_a_caption_leaves_a_chapter_as_up_to_date_as_it_was(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": "x", "metadata": {}}
    before = stamps.cells_digest({"cells": [cell]}, tmp_path)
    cell["metadata"] = {"toylib": {"captions": ["Shares of models, by density"]}}
    assert stamps.cells_digest({"cells": [cell]}, tmp_path) == before


def test_a_page_with_a_place_to_run_a_claim_has_the_module_once() -> None:
    script = '<script type="module" class="toylib-rerun">x</script>'
    plain = "<body><p>a</p></body>"
    assert runs_here.with_module(plain, script) == plain
    card = '<div class="toylib-rerun" data-run="{}"></div>'
    page = runs_here.with_module(f"<body>{card}{card}</body></html>", script)
    assert page == f"<body>{card}{card}{script}\n</body></html>"
    assert runs_here.with_module(page, script) == page


# --- figures for the dark theme -----------------------------------------------------------------------


def painted(*colours: str) -> Image.Image:
    """A stripe of 20 x 20 pixels of each colour."""
    picture = Image.new("RGB", (20 * len(colours), 20))
    for k, colour in enumerate(colours):
        picture.paste(colour, (20 * k, 0, 20 * k + 20, 20))
    return picture


def luminance(colour: tuple[int, ...]) -> float:
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour[:3]) / 255]
    return float(np.dot(light, [0.2126, 0.7152, 0.0722]))


def test_paper_goes_ink_turns_light_and_greys_stay_thin() -> None:
    drawn = dark.dark(painted("white", "black", "#cccccc"))
    paper, ink, grey = (drawn.getpixel((20 * k + 9, 9)) for k in range(3))
    assert paper[3] == 0
    assert ink == (206, 214, 221, 255)
    assert grey == (206, 214, 221, 51)


def test_colours_keep_their_hue_and_can_be_seen_on_dark() -> None:
    lines = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#440154", "#000080", "#f0e442"
    drawn = dark.dark(painted(*lines))
    ground = luminance((18, 18, 18))
    for k, colour in enumerate(lines):
        *shown, cover = drawn.getpixel((20 * k + 9, 9))
        assert cover >= 250, colour
        assert (luminance(tuple(shown)) + 0.05) / (ground + 0.05) >= 4, colour
        before = [int(colour[j : j + 2], 16) for j in (1, 3, 5)]
        assert np.argmax(shown) == np.argmax(before), colour


def test_two_blues_stay_two_and_a_band_stays_dimmer_than_its_line() -> None:
    blue, sky, band = (
        dark.dark(painted("#0072b2", "#56b4e9", "#cce3f0")).getpixel((x, 9)) for x in (9, 29, 49)
    )
    assert sky[3] == blue[3] == 255
    assert luminance(sky) > 1.5 * luminance(blue)
    assert 0.2 < band[3] / 255 < 0.6


def figure_cell(mark: str, value: str = "") -> dict[str, Any]:
    picture = io.BytesIO()
    painted("white", "black").save(picture, "png")
    data = {
        dark.FIGURE: {"csv": f"panel,series,mark,x,y,x2,y2,value\n1,a,{mark},0,0,,,{value}\n"},
        "image/png": base64.b64encode(picture.getvalue()).decode(),
    }
    return {"outputs": [{"data": data}]}


@pytest.mark.parametrize(
    ("mark", "value", "n"),
    [
        ("line", "", 1),
        ("note", "of a series of 100 marks or more one in 3 is told", 1),
        ("cell", "0.5", 0),
        ("note", "values of a AxesImage are not told", 0),
    ],
)
def test_maps_and_photographs_keep_their_colours(mark: str, value: str, n: int) -> None:
    assert len(list(dark.drawings([figure_cell(mark, value)]))) == n


def test_a_page_shows_one_picture_in_each_theme() -> None:
    (content,) = dark.drawings([figure_cell("line")])
    name = hashlib.sha256(content).hexdigest()
    tag = f'<img alt="a figure" src="../_images/{name}.png" style="x" />'

    def on_page(page: str, drawn: set[str]) -> str:
        return dark.PICTURE.sub(lambda match: dark.both(match, drawn), page)

    page = on_page(tag, {name})
    assert page.count('class="only-light"') == page.count('class="only-dark"') == 1
    assert f'class="only-dark" alt="a figure" src="../_images/{name}-dark.png"' in page
    late = light.lightened(f"<article>{page}", "")  # as the next build finds it
    assert late.count("loading=") == 2
    assert on_page(late, {name}) == late
    assert on_page(tag, set()) == tag
