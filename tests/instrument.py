"""Calibrate the instruments on layers of known truth, and write their summary: `make instrument`.

    python tests/instrument.py [--folder _build/instrument] [--page book/data/instrument.json]

Every part is stored in the folder as it comes: after an interruption the same command continues.
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
from scipy.stats import spearmanr

from toylib import measures
from toylib.features import SparseFeatures
from toylib.measures import random_rotation
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ToyModel
from toylib.networks import selectivity
from toylib.runs.settling import movement
from toylib.studies import instrument, planted, recovery
from toylib.studies.grids import train_grid

ROOT = Path(__file__).resolve().parents[1]
WORLDS, FEW = tuple(range(100, 106)), 2  # settings beside the main ones have the first FEW worlds
STIMULI = 500, 1000, 2000, 5000, 20_000
MAIN = 5000
ATOMS, BACKGROUND, LACKING = (100, 400), (0.0, 0.1), 0.4
WIDE, NARROW = 3, 8  # layers of a world: neurons of 1 to 16 features; neurons of about as many as each other
DENSITIES = 0.2, 0.1, 0.05, 0.02, 0.01
TRAINED = {
    "copy": (ReLUHiddenModel, 50), "copy, room": (ReLUHiddenModel, 100),
    "|x|": (AbsoluteValueModel, 100), "|x|, room": (AbsoluteValueModel, 200),
}  # fmt: skip
TRAINING_SEEDS = 7, 8, 9
CLASSES = "classes detected"
N_TRAINED, N_SHOWN, N_NEURONS, N_SUMS = 10_000, 20, 50, 25
SCHEDULE = dict(n_steps=4000, batch_size=128, lr=0.01, n_evaluation=4096, progress=False, workers=1)


def layers_of(world: planted.World) -> list[tuple[str, planted.Neurons]]:
    """Planted layers of a world, by their kind."""
    rng = np.random.default_rng([world.seed, 5])
    made = [("wide", planted.plant(world, N_NEURONS, 1, 16, seed=k)) for k in range(WIDE)]
    for k in range(NARROW):
        centre = np.exp(rng.uniform(np.log(1.5), np.log(11)))
        low, high = max(1, round(centre / 1.5)), max(1, round(centre * 1.5))
        made.append(("narrow", planted.plant(world, 40, low, high, seed=100 + k)))
    made.append(("far", planted.plant(world, N_NEURONS, 12, 48, seed=200)))
    made.append(("free", planted.plant(world, N_NEURONS, 1, 16, seed=300, matched=False)))
    return made


def sums_of(activity: np.ndarray, weights: np.ndarray, n_added: int) -> tuple[np.ndarray, np.ndarray]:
    """Planted neurons: activity, and weights on the layer below."""
    size = np.sqrt((activity**2).mean(0)).clip(1e-12)
    sums = instrument.planted_sums(activity.shape[1], n_added, n_sums=N_SUMS)
    return activity / size @ sums, sums.T @ (weights / size[:, None])


def slope_of(read: Callable[[np.ndarray, np.ndarray], np.ndarray], activity, weights) -> float:
    """The gate: by how much log reading rises with the log of the number of neurons added."""
    logs = [np.nanmean(np.log(read(activity, weights)))]
    logs += [np.nanmean(np.log(read(*sums_of(activity, weights, n)))) for n in (2, 4)]
    return float(np.polyfit(np.log([1, 2, 4]), logs, 1)[0])


class Readings:
    """What the candidates read on some stimuli of a world, with dictionaries learned on the same ones.

    A stranger's dictionaries are learned in another world, whose layers mix the features in other ways.
    """

    def __init__(
        self, world: planted.World, x: np.ndarray, n_atoms: int, *, n_steps: int = 600, stranger: bool = False
    ) -> None:
        below, other = world.below(x), world.other(x)
        self.x, self.states = x, other
        where = planted.World(world.seed + 5000) if stranger else world
        learned = [
            instrument.learn_dictionary(s, n_atoms=n_atoms, n_steps=n_steps, seed=k)
            for k, s in enumerate((where.below(x), where.other(x)))
        ]
        self.atoms = learned[0].atoms
        self.below, self.other = learned[0].codes(below), learned[1].codes(other)
        self.lost = [learned[0].lost(below), learned[1].lost(other)]

    def A(self, activity: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return instrument.by_activity(activity, self.other)

    def B(self, activity: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        return instrument.by_weights(weights, self.atoms, self.below)

    def own(self, activity: np.ndarray) -> np.ndarray:
        learned = instrument.learn_dictionary(activity, n_atoms=200)
        return instrument.by_own_layer(learned.atoms, learned.codes(activity))

    def ceiling(self, activity: np.ndarray) -> np.ndarray:
        """With the features themselves in the dictionary's place."""
        signs = np.concatenate([np.maximum(self.x, 0), np.maximum(-self.x, 0)], 1)
        return instrument.by_activity(activity, signs)

    def gates(self, activity: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        return {name: slope_of(getattr(self, name), activity, weights) for name in "AB"}


def hundredths(values) -> list:
    """As whole numbers; null where there is none."""
    flat = np.asarray(values, float)
    return [None if not np.isfinite(v) else round(100 * min(v, 9999)) for v in flat]


def packed(columns: dict[str, np.ndarray], shown: int) -> dict:
    """What every candidate read: of the first `shown` neurons, and what all of them come to.

    "all" has the candidate's mean over the layer, its median ratio to the truth, and its rank correlation
    with it, as it is and with the share active taken out.
    """
    truth, active, every = columns["truth"], columns["share active"], {}
    for name, values in columns.items():
        seen = np.isfinite(values)
        few = seen.sum() < 3 or np.ptp(values[seen]) == 0 or np.ptp(truth[seen]) == 0
        found = [np.nan] * 2 if few else [
            float(spearmanr(values[seen], truth[seen]).statistic),
            instrument.partial_spearman(values[seen], truth[seen], active[seen]),
        ]  # fmt: skip
        every[name] = hundredths([np.nanmean(values), np.nanmedian(values / truth)])
        every[name] += hundredths(100 * np.array(found))  # hundredths of hundredths
    return {"all": every} | {name: hundredths(values[:shown]) for name, values in columns.items() if shown}


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def planted_part(
    seed: int, n_stimuli: int, n_atoms: int = 200, n_steps: int = 600, stranger: bool = False, **options
) -> dict:
    """Layers of a world: readings of every neuron where the setting is the main one, else A's and B's."""
    world = planted.World(seed, **options)
    readings = Readings(world, world.stimuli(n_stimuli), n_atoms, n_steps=n_steps, stranger=stranger)
    main = (n_stimuli, n_atoms, n_steps, stranger, options) == (MAIN, 200, 600, False, {})
    rows = []
    for number, (kind, layer) in enumerate(layers_of(world)):
        activity, weights = layer.activity(readings.x), world.read(layer.W)
        found = {"truth": layer.truth, "share active": 100 * (activity > 0).mean(0)}
        found |= {"A": readings.A(activity), "B": readings.B(activity, weights)}
        if main:
            turn = random_rotation(activity.shape[1], number).double().numpy()
            centred = activity - activity.mean(0)
            found |= {"own": readings.own(activity), "ceiling": readings.ceiling(activity)}
            found |= {
                "A, rotated": readings.A(centred @ turn.T),
                "B, rotated": readings.B(None, turn @ weights),
            }
        row = {"kind": kind, **packed(found, N_NEURONS if main and kind != "narrow" else 0)}
        if kind in ("wide", "far"):
            row["gate"] = rounded(readings.gates(activity, weights))
        rows.append(row)
    return {"lost": np.round(readings.lost, 3).tolist(), "layers": rows}


def labelled_part(seed: int) -> dict:
    """What labels and a few hundred stimuli tell."""
    world = planted.World(seed)
    x, labels = world.labelled()
    readings, rows = Readings(world, x, 200), []
    read = {
        CLASSES: lambda a, _: (selectivity.auroc(a, labels) >= 0.9).sum(1).astype(float),
        "labels in the top 20": lambda a, _: selectivity.effective_labels(a, labels),
        "Vendi score": lambda a, _: selectivity.vendi_score(a, readings.states),
        "A": readings.A, "B": readings.B,
    }  # fmt: skip
    for kind, layer in layers_of(world):
        activity, weights = layer.activity(x), world.read(layer.W)
        found = {"truth": layer.truth, "share active": 100 * (activity > 0).mean(0)}
        found |= {name: of(activity, weights) for name, of in read.items()}
        row = {"kind": kind, **packed(found, N_NEURONS if kind == "wide" else 0)}
        if kind == "wide":  # classes: one more than there are, since none has no logarithm
            row["gate"] = rounded({
                name: slope_of(lambda a, w, of=of, more=name == CLASSES: of(a, w) + more, activity, weights)
                for name, of in read.items()
            })  # fmt: skip
        rows.append(row)
    return {"layers": rows}


def seen(
    model: ToyModel, features: SparseFeatures, readings: Readings, k: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A trained layer's live neurons: their weights on the features; the truth and A's reading of each."""
    C = measures.contributions(model, features)[k : k + 1]
    alive = np.flatnonzero(C[0].amax(1).numpy() > measures.neurons.DEAD_BELOW)[:N_NEURONS]
    W = model.W_in[k].detach().double().numpy()[alive]
    activity = np.maximum(readings.x @ W.T, 0)
    found = {"truth": measures.participation_ratio(C)[0].numpy()[alive]}
    return W, found | {"share active": 100 * (activity > 0).mean(0), "A": readings.A(activity)}


MOVING = "truth", "share active", "A"


def layer_means(model: ToyModel, features: SparseFeatures, readings: Readings) -> np.ndarray:
    """(n_layers, 3): what the claim on trained layers is about, for more training to move."""
    every = [seen(model, features, readings, k)[1] for k in range(model.n_instances)]
    return np.array([[np.nanmean(found[name]) for name in MOVING] for found in every])


def trained_part(seed: int) -> dict:
    """Layers trained at several densities, with half the room and all of it.

    "moved" is by how much a layer's means differ when it was trained for as long again.
    """
    worlds = {signed: planted.World(1000 + seed, signed=signed) for signed in (False, True)}
    read = {s: Readings(w, w.stimuli(N_TRAINED), 400 if s else 200) for s, w in worlds.items()}
    rows = []
    for task, (model, n_hidden) in TRAINED.items():
        signed = model is AbsoluteValueModel
        world, readings = worlds[signed], read[signed]
        run = train_grid(model, n_hidden=n_hidden, importance=np.ones(world.n_features), densities=DENSITIES,
                         seeds=[seed], **SCHEDULE)  # fmt: skip
        null = measures.no_superposition_loss(run.features, 0)
        moved = movement(run, lambda m, x=run.features, r=readings: layer_means(m, x, r), share=1).measure
        for k, density in enumerate(DENSITIES):
            W, found = seen(run.model, run.features, readings, k)
            activity, weights = np.maximum(readings.x @ W.T, 0), world.read(W)
            found |= {"B": readings.B(activity, weights), "own": readings.own(activity)}
            row = {"task": task, "density": density, "loss": round(float(run.loss[k] / null[k]), 4)}
            row |= packed(found, N_SHOWN) | {"moved": dict(zip(MOVING, hundredths(moved[k]), strict=True))}
            rows.append(row | {"gate": rounded(readings.gates(activity, weights))})
    return {"layers": rows}


SOURCES = [Path(module.__file__) for module in (instrument, planted, recovery, selectivity)]
DIGEST = hashlib.sha256(b"".join(p.read_bytes() for p in [*SOURCES, Path(__file__)])).hexdigest()[:12]


def kept(folder: Path, name: str, part: Callable[..., dict], *args, **options) -> dict:
    """A part from its file, or made and stored there with the processor's seconds that it took."""
    path = folder / f"{name}-{DIGEST}.json"
    if not path.exists():
        start = time.process_time()
        result = part(*args, **options) | {"seconds": 0.0}
        result["seconds"] = round(time.process_time() - start, 1)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(result), encoding="utf-8")
        unfinished.replace(path)
        print(f"{name}: {result['seconds']:.0f} s", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def settings() -> list[tuple[dict, tuple[int, ...]]]:
    """Every planted setting and its worlds."""
    few = WORLDS[:FEW]
    every = [({"n_stimuli": n}, WORLDS) for n in STIMULI]
    every += [({"n_stimuli": MAIN, "n_atoms": n}, few) for n in ATOMS]
    every += [({"n_stimuli": MAIN, "background": b}, few) for b in BACKGROUND]
    every += [({"n_stimuli": MAIN, "n_steps": 1}, few)]  # the atoms are stimuli, as they come
    every += [({"n_stimuli": MAIN, "stranger": True}, few)]
    return [*every, ({"n_stimuli": MAIN, "lacking": LACKING}, few)]


def slim(part: dict) -> dict:
    """A part without what no page draws: of narrow layers all but means; rotated axes by neuron."""
    rows = []
    for row in part["layers"]:
        drawn = {k: v for k, v in row.items() if "rotated" not in k}
        if row["kind"] == "narrow":
            drawn["all"] = {name: values[:1] for name, values in row["all"].items()}
        rows.append({k: drawn[k] for k in ("kind", "all")} if row["kind"] == "free" else drawn)
    return part | {"layers": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "instrument", help="of the parts")
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "instrument.json")
    chosen = parser.parse_args()
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    where, stored = chosen.folder, {"worlds": WORLDS, "planted": [], "labelled": [], "trained": []}
    stored["labelled"] = [slim(kept(where, f"labelled-{w}", labelled_part, w)) for w in WORLDS]
    stored["trained"] = [kept(where, f"trained-{s}", trained_part, s) for s in TRAINING_SEEDS]
    for setting, worlds in settings():
        name = "-".join(f"{key}-{value}" for key, value in setting.items())
        parts = [kept(where, f"{name}-{world}", planted_part, world, **setting) for world in worlds]
        stored["planted"].append({"setting": setting, "worlds": [slim(part) for part in parts]})
    every = [*stored["labelled"], *stored["trained"], *(p for s in stored["planted"] for p in s["worlds"])]
    stored["seconds"] = round(sum(part["seconds"] for part in every))
    text = json.dumps(stored, separators=(",", ":")).replace('],"', '],\n"')
    chosen.page.write_text(text + "\n", encoding="utf-8")
    print(f"{stored['seconds'] / 60:.1f} minutes of one core; {len(text) / 1e6:.2f} MB in {chosen.page}")


if __name__ == "__main__":
    main()
