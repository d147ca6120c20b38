"""What the chapters hold: their records, tables and exercises, read from the notebooks."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..checks import checked, must, refuse
from ..claims import MIME, NOT_SUPPORTED, NOT_TESTED, PARTLY, SUPPORTED, Rule, Verdict
from ..evidence import with_interval

FRONT_PAGE = "scoreboard"
# pages that are made of the other chapters' records, executed after them
READ_ALL = ("agreement", "published", "verdicts", FRONT_PAGE)
ADDED = {"digest", "operating"}  # what records of before have not
LEVELS = ("easy", "medium", "hard")


def _with_chapters(name: str, value: str | Path) -> Path:
    folder = Path(value).resolve()
    if not any(folder.glob("*.ipynb")):
        refuse(f"{name} must hold chapters (.ipynb)", f"{folder}, which has none")
    return folder


@checked(folder=_with_chapters)
def chapters(folder: str | Path) -> list[Path]:
    """The chapters in a folder, in the order of the book's table of contents; the front page last.

    It is executed last because it reads the others.
    Raises: ValueError for a folder without chapters.
    """
    folder = Path(folder)
    found = sorted(folder.glob("*.ipynb"))
    contents = folder.parent / "_toc.yml"
    text = contents.read_text(encoding="utf-8") if contents.is_file() else ""
    listed = re.findall(rf"file: {re.escape(folder.name)}/(\S+)", text)
    place = {stem: number for number, stem in enumerate(listed)}
    return sorted(
        found, key=lambda path: (path.stem == FRONT_PAGE, place.get(path.stem, len(place)), path.stem)
    )


def _is_rule(rule: Any, judged: bool) -> bool:
    """Whether a record's rule is one, with what was found if it was judged."""
    try:
        Rule(**{field.name: rule[field.name] for field in fields(Rule)})
        found = [rule[name] for name in ("estimate", "low", "high")] if judged else [None] * 3
        most = rule["most"] if judged else None
    except (TypeError, KeyError, ValueError):
        return False
    answered = all(type(rule.get(name)) is bool for name in ("held", "void", "reverse"))
    return (
        isinstance(rule.get("words"), str)
        and (answered or not judged)
        and (found == [None] * 3 or all(map(_is_number, found)))
        and (most is None or _is_number(most))
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_whole(claim: Any) -> bool:
    """Whether a record has every field of a Verdict, each of its kind."""
    if not isinstance(claim, dict) or set(Verdict.__dataclass_fields__) - set(claim) - ADDED:
        return False
    numbers = [claim[name] for name in ("estimate", "low", "high", "n_models")]
    tests, rules = claim["tests"], claim["rules"]
    return (
        claim["verdict"] in (SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED)
        and all(isinstance(claim[name], str) for name in ("id", "statement", "prediction", "measure", "why"))
        and (numbers == [None] * 4 or all(map(_is_number, numbers)))
        and isinstance(tests, dict)
        and all(isinstance(held, bool) for held in tests.values())
        and isinstance(rules, list)
        and len(rules) > 0
        and all(_is_rule(rule, claim["verdict"] != NOT_TESTED) for rule in rules)
        and all(isinstance(claim[name], dict) for name in ("controls", "settled"))
        and all(isinstance(value, int | float | str) for value in claim["controls"].values())
        and all(isinstance(value, int | float | str) for value in claim["settled"].values())
        and isinstance(claim.get("digest", ""), str)
        and isinstance(claim.get("operating", {}), dict)
    )


_notebooks = must(
    lambda paths: not isinstance(paths, str | Path), "paths must be a list of notebooks; got '{paths!s:s}'"
)


@checked(_notebooks)
def of_notebooks(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The claims in the stored outputs of these notebooks, each with its chapter, the last of an id winning.

    Raises: ValueError, naming the file, for one that is not a notebook or holds a damaged record, and for a
            claim whose id another notebook's claim has already.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in map(Path, paths):
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            claims = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} must be a notebook; {type(error).__name__}: {error}") from None
        for claim in claims:
            if not _is_whole(claim):
                raise ValueError(f"{path} holds a damaged record of a claim; run the chapter again")
            name = claim["id"]
            owner = found.get(name, {"chapter": path.stem})["chapter"]
            if owner != path.stem:
                refuse(f"{path} must give its claim an unused id", f"{name!r}, which {owner} has")
            found[name] = {"chapter": path.stem, **claim}
    return list(found.values())


def read(folder: str | Path) -> list[dict[str, Any]]:
    """The records of every chapter in a folder, in the book's order.

    Raises: ValueError, naming the file, for a chapter that cannot be read; see `of_notebooks`.
    """
    return of_notebooks([path for path in chapters(folder) if path.stem != FRONT_PAGE])


def shown_estimate(claim: dict[str, Any]) -> str:
    """A record's estimate, interval and number of models in words; empty if it has none."""
    if claim["estimate"] is None:
        return ""
    models = f"{claim['n_models']:,} model{'' if claim['n_models'] == 1 else 's'}"
    return f"{with_interval(*(claim[name] for name in ('estimate', 'low', 'high')))}, {models}"


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Any]]:
    """A notebook's content; what turns out to be wrong with it inside the block is said of the file."""
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be a notebook; {type(error).__name__}: {error}") from None


def table(path: Path, header: Sequence[str]) -> list[list[str]]:
    """The lines of the table that a chapter shows whose header begins so, as they are shown.

    Raises: ValueError, naming the file, if it is not a notebook or shows no such table.
    """
    wanted = ", ".join(header)
    with opened(path) as notebook:
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                words = "".join(output.get("data", {}).get("text/plain", ""))
                if words.startswith("table of ") and words.partition(": ")[2].startswith(wanted):
                    text = "".join(output["data"]["text/html"])
                    rows = [re.findall(r"<td>(.*?)</td>", row) for row in text.split("<tr>")]
                    return [[html.unescape(entry) for entry in row] for row in rows if row]
    raise ValueError(f"{path} must show a table whose header begins with {wanted!r}")


def exercises(folder: str | Path) -> list[dict[str, Any]]:
    """Every exercise and experiment of the chapters in a folder, the shortest and easiest first.

    They are read from the titles of boxes: `Exercise 2 (medium, 10 minutes): two weights`.
    Raises: ValueError, naming the chapter, for a title of another form or another difficulty.
    """
    found = []
    for path in chapters(folder):
        with opened(path) as notebook:
            words = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
        text = "\n".join(words)
        chapter = text.partition("\n")[0].lstrip("# ")
        for number, rest in re.findall(r"admonition\} (E\w+ \d+)(.*)", text):
            title = re.fullmatch(rf" \(({'|'.join(LEVELS)}), (\d+) minutes\): (.+)", rest)
            if title is None:
                raise ValueError(
                    f"{path.name}: an exercise reads `Exercise 1 (easy, 10 minutes): a title`, where"
                    f" easy is one of {', '.join(LEVELS)}; got `{number}{rest}`"
                )
            level, minutes, name = title.groups()
            found.append(dict(minutes=int(minutes), level=level, chapter=chapter, number=number, name=name))
    return sorted(found, key=lambda task: (task["minutes"], LEVELS.index(str(task["level"]))))
