"""Train the factorial of knobs, and write its summary: `make factorial`.

    python tests/factorial.py [--folder _build/factorial] [--jobs 2] [--page book/data/factorial.json]

Trained layers are stored in the folder as they come: after an interruption the same command continues. With
--scheduler they are trained by the workers of a Dask cluster, which need this toylib and no disk in common:
the bits are the same, and a worker may be lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from toylib.features import SparseFeatures
from toylib.runs.sweep import sweep
from toylib.studies import effects, factorial
from toylib.studies.factorial import KNOBS, PER_STREAM, SCHEDULE, TASKS, TRAINING
from toylib.training import train

ROOT = Path(__file__).resolve().parents[1]
FIRST_STREAM, N_STREAMS = 40_000, 24
N_STARTS = dict.fromkeys(("copy, tied", "copy", "|x|"), PER_STREAM)  # the tasks that torch trains get 2
OUTCOMES = ("found_low", "found", "found_high", "represented", "price", "near_found", "near_price")

TURN = {"room": [0.3, 0.5, 0.7], "loss exponent": [2.0, 2.05, 2.1, 2.25, 2.5, 3.0],
        "density": [0.5, 0.25, 0.1, 0.03, 0.01]}  # fmt: skip
LONGER, N_LONGER = 4, 60  # times the steps, in so many cells drawn at random
# the same, in a factorial of its own that is smaller
SETTLED = KNOBS | {"loss exponent": (1.5, 2.5, 8.0), "weight decay": (0.0,), "density": (0.5, 0.1, 0.01)}
ARMS = {
    "ordinary": {}, "near clean": {}, "activity cost 0.003": {"activity_cost": 0.003},
    "activity cost 0.03": {"activity_cost": 0.03}, "weight decay 0.3": {"weight_decay": 0.3},
    "weight decay 1": {"weight_decay": 1.0}, "noise 0.1": {"hidden_noise": 0.1, "skip_empty": False},
    "noise 0.3": {"hidden_noise": 0.3, "skip_empty": False}, "twice the width": {},
    "four times the width": {},
}  # fmt: skip
ARM_PROBLEMS = {"task": ["copy, tied", "|x|"], "room": [0.5, 1.0], "density": [0.25, 0.1, 0.03]}


def seeds(n_starts: int, *, near: bool | None = None) -> np.ndarray:
    """n_starts of each stream, its first and its last ones; only those near a clean layer, or the others."""
    of_stream = np.arange(PER_STREAM)
    if near is not None:
        of_stream = of_stream[factorial.starts_near(of_stream) == near]
    if n_starts < len(of_stream):
        of_stream = of_stream[[*range(n_starts - 1), -1]] if n_starts > 1 else of_stream[:1]
    streams = FIRST_STREAM + np.arange(N_STREAMS)
    return (PER_STREAM * streams[:, None] + of_stream).ravel()


def thousandths(values: np.ndarray, limit: float = 99.999) -> list:
    return np.rint(1000 * np.minimum(values, limit)).astype(int).tolist()


def trained(task: str, cells: list[tuple], own: np.ndarray, *, near=True, common=None, **options):
    """Cells of one task: (cell, what every layer shows) for each."""
    if not cells:
        return
    settings = [factorial.setting(*cell, near_clean=near) for cell in cells]
    done = sweep(TASKS[task], {}, settings, own, block_size=len(own), **SCHEDULE | (common or {}), **options)
    for k, cell in enumerate(cells):
        yield cell, factorial.show(done.models[k], done.features[k], done.loss[k])


def by_stream(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean of the chosen layers of every stream."""
    return values[..., chosen].reshape(*values.shape[:-1], N_STREAMS, -1).mean(-1)


def problems_of(task: str, options: dict) -> Iterator[tuple[tuple, dict, np.ndarray, np.ndarray]]:
    """Every cell of a task's factorial with what it shows, its prices and its problem's frontier."""
    own = seeds(N_STARTS.get(task, 2))
    cells = [cell for cell in factorial.cells() if cell[0] == task]
    names = list(KNOBS)
    at = names.index(TRAINING)
    shown = dict(trained(task, cells, own, **options))
    for cell in cells:
        pool = [shown[(*cell[:at], level, *cell[at + 1 :])] for level in KNOBS[TRAINING]]
        null = factorial.constant_loss(task, cell[-1], cell[names.index("loss exponent")])
        least = min(float(each.loss.min()) for each in pool)
        costs = [effects.price(each.loss, least, null) for each in pool]
        stream = np.repeat(np.arange(N_STREAMS), len(own) // N_STREAMS)
        share, cost = np.concatenate([each.shares[1] for each in pool]), np.concatenate(costs)
        streams = np.tile(stream, len(pool))
        fronts = np.stack(
            [effects.frontier(share[streams == s], cost[streams == s]) for s in range(N_STREAMS)]
        )
        near = factorial.starts_near(own)
        one = shown[cell]
        paid = effects.price(one.loss, least, null)
        outcomes = dict(
            zip(
                OUTCOMES,
                (
                    *by_stream(one.shares, ~near), by_stream(one.represented, ~near),
                    by_stream(np.minimum(paid, 99.0), ~near), by_stream(one.shares[1], near),
                    by_stream(np.minimum(paid, 99.0), near),
                ),
                strict=True,
            )
        )  # fmt: skip
        yield cell, outcomes, fronts, least


def main_effects(options: dict) -> tuple[dict, dict]:
    """The factorial itself, packed; and the least loss of every problem."""
    outcomes, fronts, least = {name: [] for name in OUTCOMES}, [], {}
    n_models = 0
    for task in TASKS:
        print(f"{task}: {N_STARTS.get(task, 2)} starts on each of {N_STREAMS} streams", flush=True)
        for cell, found, front, lowest in problems_of(task, options):
            for name in OUTCOMES:
                outcomes[name].append(thousandths(found[name]))
            n_models += N_STREAMS * N_STARTS.get(task, 2)
            least[cell] = lowest
            if cell[list(KNOBS).index(TRAINING)] == KNOBS[TRAINING][0]:
                fronts.append(thousandths(front, 9.999))
    packed = {"knobs": KNOBS, "training_knobs": [TRAINING], "n_streams": N_STREAMS, "n_models": n_models}
    return packed | {"outcomes": outcomes, "frontier": fronts}, least


def turn(options: dict) -> dict:
    """ReLU(x) without an output ReLU at exponents just above 2: the share of features computed."""
    cells = [
        ("ReLU(x)", room, False, exponent, 0.0, density)
        for room in TURN["room"] for exponent in TURN["loss exponent"] for density in TURN["density"]
    ]  # fmt: skip
    own = seeds(1, near=False)
    shown = trained("ReLU(x)", cells, own, near=False, **options)
    rows = [thousandths(show.represented) for _, show in shown]
    return {"knobs": TURN, "n_models": len(cells) * len(own), "represented": rows}


def longer(options: dict) -> dict:
    """Some cells with LONGER times the steps, drawn at random from those whose weights do not grow."""
    every = [cell for cell in factorial.cells() if cell[4] >= 0]
    chosen = np.sort(np.random.default_rng(0).choice(len(every), N_LONGER, replace=False))
    own, rows = seeds(1, near=False), {}
    common = {"n_steps": LONGER * SCHEDULE["n_steps"]}
    for task in TASKS:
        cells = [every[k] for k in chosen if every[k][0] == task]
        for cell, show in trained(task, cells, own, common=common, **options):
            rows[cell] = [thousandths(show.shares[1]), thousandths(show.represented)]
    cells = [every[k] for k in chosen]
    return {
        "times": LONGER, "cells": cells, "n_models": len(own) * len(cells),
        "found": [rows[c][0] for c in cells], "represented": [rows[c][1] for c in cells],
    }  # fmt: skip


def settled(options: dict) -> dict:
    """A smaller factorial with LONGER times the steps."""
    own, rows = seeds(1, near=False), []
    common = {"n_steps": LONGER * SCHEDULE["n_steps"]}
    for task in TASKS:
        cells = [cell for cell in factorial.cells(SETTLED) if cell[0] == task]
        shown = trained(task, cells, own, common=common, **options)
        rows += [thousandths(show.shares[1]) for _, show in shown]
    return {"knobs": SETTLED, "n_models": len(own) * len(rows), "found": rows}


def arms(options: dict, least: dict) -> dict:
    """Ways of training that might make layers clean: as they are, and then trained on in the ordinary way."""
    rows, own = [], seeds(2, near=False)
    for task in ARM_PROBLEMS["task"]:
        for name, change in ARMS.items():
            near = name == "near clean"
            width = {"twice the width": 2, "four times the width": 4}.get(name, 1)
            problems = [(r, p) for r in ARM_PROBLEMS["room"] for p in ARM_PROBLEMS["density"]]
            decay, more = (
                change.get("weight_decay", 0.0),
                {k: v for k, v in change.items() if k != "weight_decay"},
            )
            settings = [factorial.setting(task, width * r, True, 2.0, decay, p, near_clean=near, **more)
                        for r, p in problems]  # fmt: skip
            mine = seeds(2, near=True) if near else own
            done = sweep(TASKS[task], {}, settings, mine, block_size=len(mine), **SCHEDULE, **options)
            for k, (room, p) in enumerate(problems):
                null = factorial.constant_loss(task, p, 2.0)
                # the least of the problem without extra width: what a wider layer loses is held against it
                lowest = least[task, room, True, 2.0, 0.0, p]
                row = {"task": task, "room": room, "density": p, "arm": name}
                row |= shown_arm(done.models[k], done.features[k], done.loss[k], lowest, null, "")
                run = train(done.models[k], done.features[k], data_seed=1, progress=False,
                            **SCHEDULE | {"warmup": 100})  # fmt: skip
                rows.append(row | shown_arm(run.model, run.features, run.loss, lowest, null, "then_"))
    return {"n_models": len(rows) * len(own), "rows": rows}


def shown_arm(
    model, features: SparseFeatures, loss: np.ndarray, least: float, null: float, when: str
) -> dict:
    show = factorial.show(model, features, loss)
    paid = np.minimum(effects.price(loss, least, null), 99.0)
    every = np.ones(len(loss), bool)
    return {
        f"{when}found": thousandths(by_stream(show.shares[1], every)),
        f"{when}price": thousandths(by_stream(paid, every)),
    }


@contextlib.contextmanager
def on_cluster(address: str) -> Iterator[Any]:
    """Within it, joblib gives its work to this scheduler's workers; the client that speaks to it."""
    import distributed

    with distributed.Client(address, timeout=10) as client, joblib.parallel_config("dask"):
        yield client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "_build" / "factorial", help="of trained layers"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that train side by side")
    parser.add_argument(
        "--scheduler", default="", help="address of a Dask scheduler, tcp://host:8786; no --jobs then"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "factorial.json")
    chosen = parser.parse_args()
    if chosen.jobs < 1:
        parser.error(f"--jobs must be 1 or more; got {chosen.jobs}")
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    with contextlib.ExitStack() as stack:
        if chosen.scheduler:
            try:
                stack.enter_context(on_cluster(chosen.scheduler))
            except (ImportError, OSError, ValueError) as error:
                answers = "the address of a Dask scheduler that answers"
                parser.error(f"--scheduler must be {answers}; got {chosen.scheduler} ({error})")
        run(chosen)


def run(chosen: argparse.Namespace) -> None:
    """Train what is not stored yet, and write the summary."""
    options = {"folder": chosen.folder, "n_jobs": None if chosen.scheduler else chosen.jobs}
    started = time.perf_counter()
    stored, least = main_effects(options)
    stored |= {"turn": turn(options), "longer": longer(options), "settled": settled(options)}
    stored["arms"] = arms(options, least)
    stored |= {"first_stream": FIRST_STREAM, "starts": {}}
    for task in TASKS:
        stored["starts"][task] = (seeds(N_STARTS.get(task, 2))[: N_STARTS.get(task, 2)] % PER_STREAM).tolist()
    text = json.dumps(stored, separators=(",", ":")).replace('],"', '],\n"')
    chosen.page.write_text(text + "\n", encoding="utf-8")
    parts = [stored, *(stored[name] for name in ("turn", "longer", "settled", "arms"))]
    total = sum(part["n_models"] for part in parts)
    minutes = (time.perf_counter() - started) / 60
    print(
        f"{total:,} layers in {minutes:.1f} minutes of this call; {len(text) / 1e6:.2f} MB in {chosen.page}"
    )


if __name__ == "__main__":
    main()
