"""Read features per neuron in vision networks' pointwise layers, and write the records: `make vision`.

    python tests/vision.py [--folder _build/vision] [--page book/data/vision.json]

Beside the page vision_drawn.json has some of it with another dictionary, and with source pictures drawn anew.

apt fetches cut-out photographs (161 MB); weights and other pictures come from installed packages. Every
layer's readings are stored in the folder as they come: after an interruption the same command continues.
Remove the folder where code that they rest on has changed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import debian
import numpy as np
import torch

from toylib.networks import vision
from toylib.networks.crops import crops, photographs, pictures
from toylib.networks.pointwise import PLACES, Pointwise, pointwise_layers
from toylib.studies.atoms import Reading, read, read_activity

ROOT = Path(__file__).resolve().parents[1]
STAMPS = "tuxpaint-stamps-default"
N_STIMULI, SEED, UNTRAINED_SEED = 2400, 0, 0
EVERY = {"efficientnet-lite1": 2, "efficientnet-lite2": 2}  # of these every second layer, from the last down
DRAWN = vision.MOBILENET, vision.EFFICIENTNET
N_DRAWS, AGAIN = 4, 1  # draws of pictures, the seed of the other dictionary


class Way(NamedTuple):
    """How a network is read: with its weights or untrained; the seed of dictionary, axes and sums."""

    trained: bool
    seed: int


WAYS = {"all": Way(True, 0), "half 0": Way(True, 2), "half 1": Way(True, 3), "untrained": Way(False, 0)}


def fetch(folder: Path) -> Path:
    """The folder of the stamps' pictures, as `debian.fetched` gets them."""
    return debian.fetched(STAMPS, folder, "the stamps") / "usr" / "share" / "tuxpaint" / "stamps"


def chosen(name: str, layers: list[Pointwise]) -> list[Pointwise]:
    return layers[::-1][:: EVERY.get(name, 1)][::-1]


def thousandths(values) -> list[int]:
    return np.rint(1000 * np.asarray(values)).astype(int).tolist()


def packed(reading: Reading, layer: Pointwise) -> dict:
    """What is stored of a reading: logarithms and shares in thousandths."""
    shares = thousandths([reading.lost, reading.spread, reading.sparse, reading.active, reading.dead])
    return {
        "logs": {name: thousandths(logs) for name, logs in reading.logs.items()},
        "shares": shares,
        "size": list(layer.weights.shape),
    }


def stored(path: Path, make) -> dict:
    """What the file holds; made, and written whole, if it is not there."""
    if not path.is_file():
        start = time.process_time()
        made = make()
        made["seconds"] = round(time.process_time() - start, 1)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(made), encoding="utf-8")
        draft.rename(path)
        print(f"{path.stem}: {made['seconds']:.0f} s", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


class Stimuli:
    """The images, and of every state its picture and its half."""

    def __init__(self, folder: Path) -> None:
        every = pictures(fetch(folder))
        self.kinds = dict(Counter(picture.kind for picture in every))
        self.pixels, source = crops(every, N_STIMULI, seed=SEED)
        self.picture = np.repeat(source[:, 0], len(PLACES))
        self.half = self.picture % 2

    def layers(self, name: str, trained: bool) -> list[Pointwise]:
        network = vision.load_vision(name, pretrained=trained, seed=UNTRAINED_SEED)
        if not trained:
            vision.calibrate(network, self.pixels[:100])
        return chosen(name, pointwise_layers(network, self.pixels))


def of_half(layer: Pointwise, stimuli: Stimuli, half: int) -> tuple[Pointwise, np.ndarray]:
    mine = stimuli.half == half
    return replace(layer, states=layer.states[mine]), stimuli.picture[mine]


def of_network(name: str, stimuli: Stimuli, folder: Path) -> dict:
    """Every layer's readings in every way."""
    result: dict[str, list] = {}
    recorded: dict[bool, list[Pointwise]] = {}
    for way, (trained, _) in WAYS.items():
        done = folder / f"{name}-{way.replace(' ', '')}.json"

        def every(way=way, trained=trained) -> dict:
            if trained not in recorded:
                recorded[trained] = stimuli.layers(name, trained)
            rows = []
            for k, layer in enumerate(recorded[trained]):
                part = folder / f"{name}-{way.replace(' ', '')}-{k}.json"
                rows.append(stored(part, lambda way=way, layer=layer: of_layer(way, layer, stimuli)))
            return {"rows": rows, "names": [layer.name for layer in recorded[trained]]}

        found = stored(done, every)
        result[way], result["names"] = found["rows"], found["names"]
        result["seconds"] = result.get("seconds", 0) + found["seconds"]
    return result


def of_layer(way: str, layer: Pointwise, stimuli: Stimuli) -> dict:
    picture = stimuli.picture
    if way.startswith("half"):
        layer, picture = of_half(layer, stimuli, int(way[-1]))
    return packed(read(layer, picture, seed=WAYS[way].seed), layer)


def without_seconds(network: dict) -> dict:
    """A network's readings without how long each took."""
    for row in (row for way in WAYS for row in network[way]):
        del row["seconds"]
    return network


def second(stimuli: Stimuli) -> dict:
    """A in MobileNetV1, on dictionaries of EfficientNet-Lite0's layers at the same share of the depth."""
    other, layers = stimuli.layers(vision.EFFICIENTNET, True), stimuli.layers(vision.MOBILENET, True)
    rows = []
    for k, layer in enumerate(layers):
        beside = other[round(k / (len(layers) - 1) * (len(other) - 1))]
        codes = read(beside, stimuli.picture).codes.astype(float)
        rows.append({"logs": {"A": thousandths(read_activity(layer, codes))}})
    return {"rows": rows}


def drawn(layer: Pointwise, stimuli: Stimuli, seed: int) -> tuple[Pointwise, np.ndarray]:
    """The states of as many pictures drawn with replacement, each draw a picture of its own, and which."""
    every = np.unique(stimuli.picture)
    order = np.argsort(stimuli.picture, kind="stable")
    first, last = (np.searchsorted(stimuli.picture[order], every, side) for side in ("left", "right"))
    taken = np.random.default_rng(seed).integers(len(every), size=len(every))
    rows = [order[first[k] : last[k]] for k in taken]
    picture = np.repeat(np.arange(len(taken)), [len(row) for row in rows])
    return replace(layer, states=layer.states[np.concatenate(rows)]), picture


def other_readings(name: str, stimuli: Stimuli, folder: Path) -> dict:
    """A network's layers by another dictionary, and by dictionaries of pictures drawn anew."""
    files = [folder / f"{name}-{way}.json" for way in ("again", *(f"drawn{k}" for k in range(N_DRAWS)))]
    layers = [] if all(file.is_file() for file in files) else stimuli.layers(name, True)

    def of(k: int) -> dict:
        rows = []
        for number, layer in enumerate(layers):
            own = (layer, stimuli.picture) if k == 0 else drawn(layer, stimuli, k)
            part = folder / f"{files[k].stem}-{number}.json"
            rows.append(stored(part, lambda own=own: packed(read(*own, seed=AGAIN if k == 0 else 0), own[0])))
        return {"rows": rows}

    again, *others = (stored(file, lambda k=k: of(k))["rows"] for k, file in enumerate(files))
    for row in (row for rows in (again, *others) for row in rows):
        del row["seconds"], row["size"]
    return {"again": again, "drawn": others}


def check() -> dict:
    """A small reading that the chapter makes again: one layer, from the photographs alone."""
    pixels, source = crops(photographs(), 60, size=96)
    layer = pointwise_layers(vision.load_vision(), pixels)[8]
    reading = read(layer, np.repeat(source[:, 0], len(PLACES)), n_atoms=64, top=8, n_steps=40)
    return packed(reading, layer) | {"layer": layer.name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "vision", help="of finished layers")
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "vision.json")
    chosen = parser.parse_args()
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    torch.set_num_threads(1)
    parts = chosen.folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    stimuli = Stimuli(chosen.folder)
    record = {"pictures": stimuli.kinds, "stimuli": N_STIMULI, "places": len(PLACES)}
    record["check"] = stored(parts / "check.json", check)
    record["second"] = stored(parts / "second.json", lambda: second(stimuli))
    record["networks"] = {name: of_network(name, stimuli, parts) for name in vision.PACKAGED}
    networks = record["networks"].values()
    spent = [one.pop("seconds") for one in (record["check"], record["second"], *networks)]
    record["seconds"] = round(sum(spent))
    record["networks"] = {name: without_seconds(one) for name, one in record["networks"].items()}
    text = json.dumps(record, separators=(",", ":")).replace("},{", "},\n{")
    chosen.page.write_text(text + "\n", encoding="utf-8")
    others = {name: other_readings(name, stimuli, parts) for name in DRAWN}
    beside = json.dumps(others, separators=(",", ":")).replace("},{", "},\n{")
    chosen.page.with_name("vision_drawn.json").write_text(beside + "\n", encoding="utf-8")
    print(f"{record['seconds'] / 60:.1f} minutes of one core; {len(text) / 1e3:.0f} kB in {chosen.page}")


if __name__ == "__main__":
    main()
