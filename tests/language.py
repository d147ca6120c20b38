"""Measure how lexical the neurons of language models are, and write the record: `make language`.

    python tests/language.py [--folder _build/language] [--page book/data/language.json]

The passages are fetched by apt. Every layer's numbers are stored in the folder as they come: after an
interruption the same command continues.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from passages import SOURCES, fetch, of_source

from toylib.networks.lexical import by_word_and_meaning, lexical, missed_by_table
from toylib.networks.reader import Reader
from toylib.networks.readers import READERS, load_reader

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "book" / "data" / "ambiguous_words.json"
LAYERS = {"SmolLM2": [0, 1, 2, 3, 4, 6, 8, 11, 14, 17, 20, 23, 26, 29]}  # the others: all
WEIGHTS = {"trained": None, "redrawn": 0}  # None, or the seed of the draw
TOGETHER = 4  # neighbouring passages that are resampled as one


class Text:
    """The passages as a reader has them: tokens, those before them, and documents, by position."""

    def __init__(self, reader: Reader, texts: list[str]):
        self.passages = [reader.encode(text, cut=True) for text in texts]
        self.token = np.concatenate(self.passages)
        self.before = np.roll(self.token, 1)
        self.document = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in self.passages])
        self.inner = np.concatenate([np.arange(len(tokens)) > 0 for tokens in self.passages])

    def table(self, reader: Reader) -> np.ndarray:
        """The first layer's neurons at each position's token when it stands alone after the start."""
        shown, index = np.unique(self.token, return_inverse=True)
        ((_, rows),) = reader.walk([[int(token)] for token in shown], [0])
        return rows.numpy()[index]


def millionths(values: np.ndarray, whole: float) -> list:
    return np.rint(1e6 * values / whole).astype(int).tolist()


def of_groups(by_document: np.ndarray) -> np.ndarray:
    """Sums over neighbouring documents."""
    return np.add.reduceat(by_document, np.arange(0, by_document.shape[-1], TOGETHER), axis=-1)


def shares(found) -> list[float]:
    """The token's share, and where pairs are known the token's and the pair's."""
    variance, token, paired, token_there, pair = found.by_document.sum(1)
    return [round(float(value), 4) for value in (token / variance, token_there / paired, pair / paired)]


def of_layer(text: Text, activity: np.ndarray, table: np.ndarray | None) -> dict:
    """What is stored of a layer."""
    at = text.inner
    places = [values[at] for values in (text.token, text.before, text.document)]
    found = lexical(activity[at], *places)
    whole = found.variance.sum()
    of_neurons = [found.by_neuron[1] / found.by_neuron[0], found.by_neuron[4] / found.by_neuron[2]]
    kept = {
        "sums": [millionths(row, whole) for row in of_groups(found.by_document)],
        "variance": millionths(of_groups(found.variance), whole),
        "known": found.known.round(4).tolist(),
        "neurons": [np.nanquantile(one, [0.1, 0.5, 0.9]).round(3).tolist() for one in of_neurons],
        "halves": [],
    }
    for half in (0, 1):
        mine = text.document[at] // TOGETHER % 2 == half
        kept["halves"].append(shares(lexical(activity[at][mine], *(place[mine] for place in places))))
    if table is not None:
        missed = missed_by_table(activity[at], table[at])
        by_document = np.bincount(text.document[at], missed)
        kept["missed"] = millionths(of_groups(by_document), whole)
    return kept


def of_words(reader: Reader, layers: list[int]) -> dict:
    """Likeness by word and meaning in every layer, in thousandths; and which words are one token."""
    words = json.loads(WORDS.read_text(encoding="utf-8"))["words"]
    texts, single = [], []
    for entry in words:
        endings = [entry["word"], *(meaning["substitute"] for meaning in entry["meanings"])]
        single.append(all(len(reader.encode(f" {ending}")) == 1 for ending in endings))
        texts += [
            f"{context} {ending}"
            for meaning in entry["meanings"]
            for context in meaning["contexts"]
            for ending in (entry["word"], meaning["substitute"])
        ]
    neurons = reader.at_last(texts, layers).numpy()
    layered = neurons.reshape(len(words), 2, 2, 2, len(layers), -1).transpose(4, 0, 1, 2, 3, 5)
    alike = [np.rint(1000 * by_word_and_meaning(one)).astype(int).tolist() for one in layered]
    return {"alike": alike, "single": [int(one) for one in single]}


def stored(path: Path, make) -> dict:
    """What the file holds; made, and written whole, if it is not there."""
    if not path.is_file():
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(make()), encoding="utf-8")
        draft.rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def of_network(name: str, texts: list[str], folder: Path) -> dict:
    """Both sets of weights, layer by layer."""
    base, result = load_reader(name), {}
    layers = LAYERS.get(name, list(range(base.n_layers)))
    text = Text(base, texts)
    for weights, seed in WEIGHTS.items():
        reader = base if seed is None else base.redrawn(seed)
        parts = {layer: folder / f"{name}-{weights}-{layer}.json" for layer in layers}
        wanted = [layer for layer in layers if not parts[layer].is_file()]
        started = time.perf_counter()
        for layer, neurons in reader.walk(text.passages, wanted) if wanted else ():
            table = text.table(reader) if layer == 0 else None
            stored(parts[layer], lambda neurons=neurons, table=table: of_layer(text, neurons.numpy(), table))
            print(f"{name}, {weights}, layer {layer}: {time.perf_counter() - started:.0f} s", flush=True)
        words = stored(folder / f"{name}-{weights}-words.json", lambda r=reader: of_words(r, layers))
        result[weights] = {
            "layers": [stored(parts[layer], dict) for layer in layers],
            "words": words["alike"],
        }
    facts = {"layers": layers, "n_layers": base.n_layers, "d_mlp": base.d_mlp, "n_tokens": len(text.token)}
    return facts | {"n_different": len(np.unique(text.token)), "single": words["single"]} | result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "_build" / "language", help="of finished layers"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "language.json")
    chosen = parser.parse_args()
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    torch.set_num_threads(1)
    started = time.perf_counter()
    parts = chosen.folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    fetch(chosen.folder / "text")
    texts = {package: of_source(chosen.folder / "text", package) for package in SOURCES}
    every = [passage for passages in texts.values() for passage in passages]
    facts = [[package, source.what, source.licence, source.n_passages] for package, source in SOURCES.items()]
    record = {"sources": facts, "together": TOGETHER, "n_characters": sum(map(len, every))}
    record["networks"] = {name: of_network(name, every, parts) for name in READERS}
    text = json.dumps(record, separators=(",", ":")).replace("},{", "},\n{")
    chosen.page.write_text(text + "\n", encoding="utf-8")
    minutes = (time.perf_counter() - started) / 60
    print(f"{minutes:.1f} minutes of this call; {len(text) / 1e3:.0f} kB in {chosen.page}")


if __name__ == "__main__":
    main()
