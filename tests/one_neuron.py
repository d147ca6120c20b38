"""Measure what single neurons answer to and what is lost without them, and write the records.

    python tests/one_neuron.py words       # with `make language`: book/data/one_neuron_words.json
    python tests/one_neuron.py pictures    # with `make vision`: book/data/one_neuron_pictures.json
    python tests/one_neuron.py words --readers Gemma    # an opt-in network; the others' numbers stay

The passages and pictures are those of language.py and vision.py. Every part is stored in the folder as it
comes: after an interruption the same command continues.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from language import LAYERS as READ_LAYERS
from language import TOGETHER, Text, of_layer, of_words, others, record_of, write
from passages import SOURCES, fetch, of_source
from vision import UNTRAINED_SEED, stored
from vision import fetch as stamps

from toylib.measures import random_rotation
from toylib.networks import ablation, vision
from toylib.networks.answers import by_spelling, dead, held_by_few
from toylib.networks.crops import Picture, crops, pictures
from toylib.networks.lexical import lexical
from toylib.networks.pointwise import Pointwise, pointwise_layers
from toylib.networks.reader import Reader
from toylib.networks.readers import OPT_IN, READERS, load_reader
from toylib.studies import instrument

ROOT = Path(__file__).resolve().parents[1]
SPELLED = ROOT / "book" / "data" / "spelled_alike.json"
WEIGHTS = {"trained": None, "redrawn": 0}
AGAIN = 1  # the seed of a second draw of weights, and of a second dictionary
# that are counted in; of the others all
LAYERS = {"SmolLM2": [0, 1, 2, 4, 8, 14, 20, 29], "Gemma": READ_LAYERS["Gemma"]}
# layers of units taken out; of an opt-in network none
TAKEN = {"SmolLM2": [0, 29], "MiniLM": [0, 5], "Whisper": [0, 5], "Gemma": []}
EVERY = 4  # neurons of which one is asked for its tokens, and as many rotated axes
N_PASSAGES, N_TOKENS, OTHER_DIRECTIONS = 20, 32, 1000
SEEN = {  # what reads the pointwise layers whose units are taken out
    vision.MOBILENET: {f"Conv2d_{k}_pointwise.conv": f"Conv2d_{k + 1}_depthwise" for k in (5, 9, 12)},
}
N_IMAGES, N_GROUPS, N_STIMULI = 32, 16, 1000


def thousandths(values) -> list:
    return np.rint(1000 * np.asarray(values, float)).astype(int).tolist()


# --- words -------------------------------------------------------------------------------------------------


def counts(text: Text, activity: np.ndarray, seed: int) -> dict:
    """Detectors of tokens and of pairs, among neurons and along rotated axes, and dead neurons."""
    at, found = text.inner, {}
    half = text.document[at] // TOGETHER % 2 == 0
    shown = {"token": text.token[at], "pair": np.stack([text.before, text.token], 1)[at]}
    turned = activity @ random_rotation(activity.shape[1], seed).numpy()[:, ::EVERY]
    for axes, values in (("neurons", activity[:, ::EVERY]), ("rotated", turned)):
        held = {what: held_by_few(values[at], places, half) for what, places in shown.items()}
        found[axes] = [int((one >= 0.5).sum()) for one in held.values()]
        found[f"{axes}, median"] = thousandths([np.median(one) for one in held.values()])
    return found | {"dead": int(dead(activity[at]).sum())}


def of_spelling(reader: Reader, layers: list[int]) -> dict:
    """Likeness by spelling and meaning across languages, in thousandths, by layer."""
    words = json.loads(SPELLED.read_text(encoding="utf-8"))["words"]
    texts = [
        f"{context} {one[ending]}"
        for one in words
        for contexts, ending in (
            ("other", "word"), ("english", "word"), ("english", "substitute"), ("translated", "translation"),
        )
        for context in one[contexts]
    ]  # fmt: skip
    neurons = reader.at_last(texts, layers).numpy()
    layered = neurons.reshape(len(words), 4, 2, len(layers), -1).transpose(3, 0, 1, 2, 4)
    return {"alike": [thousandths(by_spelling(one)) for one in layered]}


def pieces(reader: Reader, texts: list[str]) -> torch.Tensor:
    """The beginnings of some passages, evenly spaced, all of one length."""
    encoded = [reader.encode(text, cut=True) for text in texts]
    long = [tokens for tokens in encoded if len(tokens) >= N_TOKENS]
    step = len(long) / N_PASSAGES
    return torch.tensor([long[int((k + 0.5) * step)][:N_TOKENS] for k in range(N_PASSAGES)])


def taken_out(reader: Reader, texts: list[str], layer: int, *, others: bool) -> dict:
    """What is said otherwise without neurons and directions: by unit, mean, spread and the token's share.

    `others`: also for directions of another seed.
    """
    tokens, names = pieces(reader, texts), ["neurons", "directions", *(["others"] if others else [])]

    def choose(variance: np.ndarray) -> np.ndarray:
        one = ablation.units(variance)
        other = ablation.units(variance, seed=OTHER_DIRECTIONS)
        return np.concatenate([one.neurons, one.directions, *([other.directions] if others else [])])

    moved = np.stack(list(ablation.changes(reader, tokens, layer, choose)))
    flat = moved[:, :, 1:].reshape(len(moved), -1)  # no token stands before the first
    before, token = tokens[:, :-1].flatten().numpy(), tokens[:, 1:].flatten().numpy()
    document = np.repeat(np.arange(N_PASSAGES), N_TOKENS - 1)
    found = lexical(np.sqrt(flat).T.astype(float), token, before, document).by_neuron
    lines = [np.log(flat.mean(1)), np.log(ablation.spread(flat)), found[1] / found[0]]
    cut = [thousandths(line) for line in lines]
    n = len(moved) // len(names)
    return {
        name: [line[k * n : (k + 1) * n] for line in cut] for k, name in enumerate(names)
    }  # fmt: skip


def of_reader(name: str, texts: list[str], folder: Path) -> dict:
    """All that is stored of a reader: counts and spelling, what is taken out, a second draw of weights."""
    base = load_reader(name)
    layers = LAYERS.get(name, list(range(base.n_layers)))
    text, result = Text(base, texts), {"layers": layers, "taken layers": TAKEN[name], "d_mlp": base.d_mlp}
    for weights, seed in WEIGHTS.items():
        reader = base if seed is None else base.redrawn(seed)
        counted = layers if seed is None else layers[:2]
        wanted = {k: folder / f"{name}-{weights}-{k}.json" for k in counted}
        missing = [k for k in counted if not wanted[k].is_file()]
        for k, neurons in reader.walk(text.passages, missing) if missing else ():
            stored(wanted[k], lambda neurons=neurons, k=k: counts(text, neurons.numpy(), k))
        spelled = folder / f"{name}-{weights}-spelled.json"
        own = {"counts": [part(wanted[k]) for k in counted]}
        own["spelled"] = part(spelled, lambda r=reader: of_spelling(r, layers))["alike"]
        own["taken"] = [
            part(
                folder / f"{name}-{weights}-taken-{k}.json",
                lambda r=reader, k=k: taken_out(r, texts, k, others=k == 0 and r is base),
            )
            for k in TAKEN[name][: None if seed is None else 1]
        ]
        result[weights] = own
    result["again"] = part(folder / f"{name}-again.json", lambda: drawn_again(base, text))
    return result


def drawn_again(base: Reader, text: Text) -> dict:
    """Lexical shares of the first two layers of a second draw of weights, and the first's words."""
    reader = base.redrawn(AGAIN)
    shares = {k: of_layer(text, neurons.numpy(), None) for k, neurons in reader.walk(text.passages, [0, 1])}
    sums = [np.sum(shares[k]["sums"], axis=1) for k in (0, 1)]
    words = np.array(of_words(reader, [0])["alike"][0]) / 1000
    effects = [words[:, 0].mean() - words[:, 1].mean(), words[..., 0].mean() - words[..., 1].mean()]
    return {
        "token": thousandths([variance_and[1] / variance_and[0] for variance_and in sums]),
        "pair": thousandths([every[4] / every[2] for every in sums]),
        "word, meaning": thousandths(effects),
    }


# --- pictures ----------------------------------------------------------------------------------------------


def single_pictures(every: list[Picture]) -> torch.Tensor:
    """Crops of single pictures, each of another one."""
    pixels, source = crops(every, 8 * N_IMAGES, seed=AGAIN)
    single = np.flatnonzero(source[:, 0] == source[:, 1])
    _, first = np.unique(source[single, 0], return_index=True)
    return pixels[single[np.sort(first)][:N_IMAGES]]


def atoms_of(layer: Pointwise, chosen: np.ndarray, seed: int) -> np.ndarray:
    """How many atoms drive each of the chosen neurons while it is on, as `studies.atoms` reads a layer."""
    activity = layer.activity()
    states = (layer.states - layer.states.mean(0)).astype(float)
    learned = instrument.learn_dictionary(states, n_atoms=256, top=16, n_steps=250, lr=0.003, seed=seed)
    atoms, codes = learned.atoms.astype(np.float32), learned.codes(states).astype(np.float32)
    on = ((activity > 0) & (activity < layer.ceiling))[:, chosen].astype(np.float32)
    return instrument.by_gradient(layer.weights[chosen].astype(np.float32), on, atoms, codes)


def of_classes(network: vision.VisionNetwork, pixels: torch.Tensor, layer: Pointwise, reads: str) -> dict:
    """By unit: log number of classes changed, log of the whole change; of neurons atoms and share active."""
    which: list[np.ndarray] = []

    def choose(variance: np.ndarray) -> np.ndarray:
        one = ablation.units(variance, n_groups=N_GROUPS, size=len(variance) // (2 * N_GROUPS))
        which.append(one.neurons.argmax(1))
        return np.concatenate([one.neurons, one.directions])

    moved = np.stack([m.mean(0) for m in ablation.class_changes(network, pixels, reads, choose)])
    classes = np.log(moved.shape[1] * ablation.spread(moved))
    (chosen,) = which
    lines = thousandths([classes, np.log(moved.sum(1))])
    names = {"neurons": slice(None, N_GROUPS), "directions": slice(N_GROUPS, None)}
    found = {name: [line[part] for line in lines] for name, part in names.items()}
    logs = [np.log(atoms_of(layer, chosen, seed)) for seed in (0, AGAIN)]
    assert np.isfinite(logs).all(), "a neuron that no atom drives"
    atoms = [thousandths(line) for line in logs]
    active = thousandths((layer.activity()[:, chosen] > 0).mean(0))
    return found | {"atoms": atoms, "active": active, "size": list(layer.weights.shape)}


def of_vision(name: str, stimuli: torch.Tensor, pixels: torch.Tensor, folder: Path) -> dict:
    """Trained and untrained, layer by layer."""
    result = {}
    for weights, trained in (("trained", True), ("untrained", False)):
        parts = {path: folder / f"{name}-{weights}-{k}.json" for k, path in enumerate(SEEN[name])}
        if not all(path.is_file() for path in parts.values()):
            network = vision.load_vision(name, pretrained=trained, seed=UNTRAINED_SEED)
            if not trained:
                vision.calibrate(network, stimuli[:100])
            layers = {layer.name: layer for layer in pointwise_layers(network, stimuli)}
            for path, file in parts.items():
                stored(
                    file,
                    lambda n=network, path=path, of=layers[path]: of_classes(n, pixels, of, SEEN[name][path]),
                )
        result[weights] = [part(file) for file in parts.values()]
    return result | {"names": list(SEEN[name])}


# --- both --------------------------------------------------------------------------------------------------


def part(path: Path, make: Callable[[], dict] = dict) -> dict:
    """What is stored, without how long it took, which is summed."""
    found = stored(path, make)
    part.seconds += found.pop("seconds")  # type: ignore[attr-defined]
    return found


part.seconds = 0.0  # type: ignore[attr-defined]


def words(folder: Path, readers: list[str]) -> dict[str, dict]:
    fetch(folder / "language" / "text")
    texts = [one for package in SOURCES for one in of_source(folder / "language" / "text", package)]
    parts = made(folder / "one_neuron" / "words")
    return {name: of_reader(name, texts, parts) for name in readers}


def of_pictures(folder: Path) -> dict:
    parts, every = made(folder / "one_neuron" / "pictures"), pictures(stamps(folder / "vision"))
    pixels, (stimuli, _) = single_pictures(every), crops(every, N_STIMULI)
    networks = {name: of_vision(name, stimuli, pixels, parts) for name in SEEN}
    return {"networks": networks, "images": len(pixels), "stimuli": N_STIMULI}


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("words", "pictures"))
    parser.add_argument("--folder", type=Path, default=ROOT / "_build", help="of finished parts")
    parser.add_argument("--page", type=Path, help="book/data/one_neuron_WHAT.json, if not given")
    parser.add_argument("--readers", nargs="+", choices=(*READERS, *OPT_IN), default=list(READERS))
    given = parser.parse_args()
    page = given.page or ROOT / "book" / "data" / f"one_neuron_{given.what}.json"
    if not page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {page}")
    torch.set_num_threads(1)
    started = time.perf_counter()
    if given.what == "pictures":
        record = of_pictures(given.folder)
    else:
        try:
            kept = others(page, given.readers, {})
        except ValueError as error:
            parser.error(str(error))
        record = record_of(kept | words(given.folder, given.readers), {})
    record["seconds"] = round(part.seconds)  # type: ignore[attr-defined]
    if not set(READERS) & set(given.readers):  # it is the time of the claims' networks
        record["seconds"] = json.loads(page.read_text(encoding="utf-8"))["seconds"]
    write(record, page)
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes of this call")


if __name__ == "__main__":
    main()
