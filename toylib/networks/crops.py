"""Crops of pictures, and pairs of them, as stimuli: thousands from the pictures that are there.

The pictures: the photographs in foolbox's and scikit-learn's wheels, every emoji, and where they have been
unpacked the cut-out photographs of Debian's tuxpaint-stamps-default. They are read where they lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..checks import a_seed, a_whole_number, checked, must
from .images import Emoji, _folder
from .loading import require

DRAWN = "cartoon", "symbols", "flags", "roadsigns", "mirror"  # folders of stamps that are no photographs
LEAST, MOST = 0.4, 1.0  # side of a crop, of the picture's shorter side
LARGEST = 384  # pixels: side of a picture that is kept


class Picture(NamedTuple):
    """pixels (height, width, 3) uint8; weight: how often crops are taken of it, against an emoji's 1."""

    pixels: np.ndarray
    kind: str
    weight: float


def photographs() -> list[Picture]:
    """Those of foolbox and scikit-learn.

    Raises: NotInstalled, with the command, for a missing package.
    """
    from PIL import Image

    require({"foolbox": "foolbox==3.3.4", "sklearn": "scikit-learn"}, "The photographs")
    paths = sorted((_folder("foolbox") / "data").glob("imagenet_*.jpg"))
    paths += sorted((_folder("sklearn") / "datasets" / "images").glob("*.jpg"))
    found = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        image.thumbnail((2 * LARGEST, 2 * LARGEST))
        found.append(Picture(np.asarray(image), "photographs", 8.0))
    return found


def _stamps(folder: Path) -> list[Picture]:
    from PIL import Image

    found = []
    for path in sorted(folder.rglob("*.png")):
        if any(word in str(path.relative_to(folder)) for word in DRAWN):
            continue
        image = Image.open(path).convert("RGBA")
        image.thumbnail((LARGEST, LARGEST))
        grey = Image.new("RGBA", image.size, (128, 128, 128, 255))
        grey.alpha_composite(image)
        found.append(Picture(np.asarray(grey.convert("RGB")), "stamps", 2.0))
    return found


def pictures(stamps: str | Path | None = None) -> list[Picture]:
    """Photographs, stamps if their folder is given, and emoji.

    Raises: NotInstalled, with the command, for a missing package.
    Source: foolbox (MIT), scikit-learn (BSD-3-Clause), OpenMoji (CC BY-SA 4.0), tuxpaint-stamps (GPL-2 and
            public domain).
    """
    emoji = Emoji(None, at_least=1)
    drawn = [Picture(pixels, "emoji", 1.0) for pixels in emoji.pixels.numpy()]
    return photographs() + (_stamps(Path(stamps)) if stamps else []) + drawn


def _crop(pixels: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, of the wanted shape; mirrored half the time."""
    from PIL import Image

    tall, wide = pixels.shape[:2]
    size = min(tall / height, wide / width) * rng.uniform(LEAST, MOST)
    left, top = rng.uniform(0, wide - size * width), rng.uniform(0, tall - size * height)
    box = (left, top, left + size * width, top + size * height)
    part = np.asarray(Image.fromarray(pixels).resize((width, height), resample=2, box=box))
    return part[:, ::-1] if rng.random() < 0.5 else part


@checked(
    must(
        lambda pictures: len(pictures) > 3,
        "pictures must be four or more; got {pictures:len}",
    ),
    n=a_whole_number(at_least=2),
    size=a_whole_number(at_least=8),
    seed=a_seed(),
)
def crops(
    pictures: list[Picture], n: int, *, size: int = 128, seed: int = 0
) -> tuple[UInt8[Tensor, "n size size 3"], Int[np.ndarray, "n 2"]]:
    """Random crops in turn with pairs of crops side by side, and which pictures each is of.

    A pair's pictures are both of an even number or both of an odd one: so stimuli, too, fall into two halves
    that share no picture, and the same picture is never paired with itself.

    Shapes: pixels (n, size, size, 3); source (n, 2), the same twice for a single crop.
    Raises: ValueError for fewer than four pictures or sizes out of range.
    """
    rng = np.random.default_rng(seed)
    weight = np.array([picture.weight for picture in pictures])
    first = rng.choice(len(pictures), n, p=weight / weight.sum())
    pixels, source = np.empty((n, size, size, 3), np.uint8), np.stack([first, first], 1)
    for k, one in enumerate(first):
        if k % 2 == 0:
            pixels[k] = _crop(pictures[one].pixels, size, size, rng)
            continue
        mates = np.flatnonzero((np.arange(len(pictures)) - one) % 2 == 0)
        mates = mates[mates != one]
        other = rng.choice(mates, p=weight[mates] / weight[mates].sum())
        source[k, 1] = other
        left = _crop(pictures[one].pixels, size, size // 2, rng)
        pixels[k] = np.concatenate([left, _crop(pictures[other].pixels, size, size - size // 2, rng)], 1)
    return torch.from_numpy(pixels), source
