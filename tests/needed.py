"""How many neurons must be shared, in the toys of claims 3 and 4 and in large layers: `make needed`.

    python tests/needed.py [--folder _build/needed] [--page book/data/needed.json]

Parts are stored in the folder as they come: after an interruption the same command continues. The toys'
seeds follow from their claims, as their chapters state them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from toylib.claims import seeds
from toylib.features import SparseFeatures
from toylib.measures import no_superposition_loss
from toylib.page import register
from toylib.studies import clean, levelled, sharing

ROOT = Path(__file__).resolve().parents[1]
LEVEL = {"densities": [0.3, 0.11, 0.04, 0.01], "clean": [0, 1, 2, 3, 4, 6, 8], "n_hidden": 9}
TOKEN = {"densities": [0.5, 0.15, 0.04, 0.0125], "clean": [0, 2, 4, 5, 6, 7, 8], "n_hidden": 8}
SENSE = {"densities": [0.5, 0.15, 0.04, 0.0125], "clean": [0, 1, 2], "n_hidden": 8}
SEARCH = {"n_streams": 16, "per_stream": 32, "n_steps": 500, "polish": 4000}
LONGER = SEARCH | {"n_streams": 8, "polish": 4 * SEARCH["polish"]}
LARGE = {  # features, neurons, and numbers of shared neurons
    "20": [20, 18, [4, 5, 6, 8, 18]],
    "50": [50, 45, [5, 6, 7, 8, 10, 12, 16]],
    "100": [100, 90, [6, 8, 10, 12, 16, 20, 24]],
}
LARGE_DENSITIES = [0.3, 0.1, 0.03, 0.003]
FIRST_STREAM = 40_000  # of large layers, which no claim asks about


def seed_of(chapter: str, name: str) -> int:
    """The first seed of a claim, as its chapter states it."""
    asked = next(
        claim for claim in register.stated(ROOT / "book" / f"{chapter}.ipynb") if claim["id"] == name
    )
    return seeds.first_seed(seeds.digest(asked))


def rounded(values: np.ndarray) -> list:
    return [[float(f"{value:.4g}") for value in row] for row in values]


def masked(of: Callable[[float], clean.Task], sizes: dict, search: dict, seed: int, density: float) -> list:
    """Lowest losses over the null's of a toy at one density, by stream and number of clean neurons."""
    where = sizes["n_hidden"], sizes["clean"]
    return rounded(clean.least_losses(of(density), *where, first_seed=seed, **search))


def large(n_features: int, n_hidden: int, n_shared: int) -> list:
    """Lowest losses of a layer with so many shared neurons over the null's, by density and stream."""
    excess = n_features - n_hidden
    block = np.ones(n_shared + excess)
    trained = sharing.block_losses(
        0, n_hidden=n_shared, densities=LARGE_DENSITIES, importance=block, n_streams=4, per_stream=8,
        first_stream=FIRST_STREAM, n_steps=400, polish=1500, progress=False,
    )  # fmt: skip
    one = np.ones(n_features)
    null = no_superposition_loss(SparseFeatures(n_features, LARGE_DENSITIES, one), 0)
    return rounded(trained / null[:, None])


SOURCES = [Path(module.__file__) for module in (clean, levelled, sharing)]


def kept(folder: Path, name: str, part: Callable[..., list], *args) -> list:
    """A part from its file, or made and stored there."""
    path = folder / f"{name}.json"
    if not path.exists():
        start = time.process_time()
        result = part(*args)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(result), encoding="utf-8")
        unfinished.replace(path)
        print(f"{name}: {time.process_time() - start:.0f} s", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def toy(
    folder: Path, name: str, of: Callable[[float], clean.Task], sizes: dict, seed: int, *, on: bool = True
) -> dict:
    """A toy at every density; and, to go on, at the first and the last one after longer training."""
    about = hashlib.sha256(json.dumps([sizes, SEARCH, seed]).encode()).hexdigest()[:8]
    every = sizes["densities"]
    found = [kept(folder, f"{name}-{d:g}-{about}", masked, of, sizes, SEARCH, seed, d) for d in every]
    ends = [every[0], every[-1]] if on else []
    longer = [kept(folder, f"{name}-{d:g}-{about}-longer", masked, of, sizes, LONGER, seed, d) for d in ends]
    own = {"seed": seed, "search": SEARCH, "loss": found}
    return sizes | own | {"longer": {"densities": ends, "search": LONGER, "loss": longer}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "needed", help="of the parts")
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "needed.json")
    chosen = parser.parse_args()
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [*SOURCES, Path(__file__)])).hexdigest()
    folder = chosen.folder / digest[:12]  # another toylib, or another command, starts anew
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    three, four = seed_of("deeper-is-rarer", "claim-3-toy"), seed_of("first-mlp", "claim-4-toy")
    stored = {
        "token": toy(folder, "token", lambda p: clean.senses_task(p, by="token"), TOKEN, four),
        "level": toy(folder, "level", clean.level_task, LEVEL, three),
        "sense": toy(folder, "sense", clean.senses_task, SENSE, four, on=False),
    }
    rows = {}
    for name, (n, m, shared) in LARGE.items():
        found = [kept(folder, f"large-{name}-{k}", large, n, m, k) for k in shared]
        rows[name] = {"n_features": n, "n_hidden": m, "shared": shared, "loss": found}
    stored["large"] = {"densities": LARGE_DENSITIES, "first_stream": FIRST_STREAM, "rows": rows}
    text = json.dumps(stored, separators=(",", ":")).replace('],"', '],\n"')
    chosen.page.write_text(text + "\n", encoding="utf-8")
    print(f"{len(text) / 1e3:.0f} kB in {chosen.page}")


if __name__ == "__main__":
    main()
