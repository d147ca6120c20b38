"""Measure how lexical the neurons of language models are, and write the record: `make language`.

    python tests/language.py [--folder _build/language] [--page book/data/language.json] [--readers Gemma]

The passages are fetched by apt. Without `--readers` those of the book's claims are measured (READERS); an
opt-in one (OPT_IN) is measured when it is named, and stands apart in the record. What the record has of other
networks stays as it is. Every layer's numbers are stored in the folder as they come: after an
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

from toylib.networks.answers import told_apart
from toylib.networks.gemma import Gemma
from toylib.networks.lexical import by_word_and_meaning, lexical, missed_by_table
from toylib.networks.reader import Reader
from toylib.networks.readers import OPT_IN, READERS, load_reader

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "book" / "data" / "ambiguous_words.json"
DIE = ROOT / "book" / "data" / "die_sentences.json"
LAYERS = {  # of the others all
    "SmolLM2": [0, 1, 2, 3, 4, 6, 8, 11, 14, 17, 20, 23, 26, 29],
    "Gemma": [0, 1, 2, 3, 5, 7, 9, 11, 14, 17],
}
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


def of_die(reader: Gemma, layers: list[int]) -> dict:
    """Which openings that end in *die* are told apart by language, by what is read at it and by layer."""
    sentences = json.loads(DIE.read_text(encoding="utf-8"))["sentences"]
    language = np.repeat(np.arange(len(sentences)), [len(some) for some in sentences.values()])
    vectors = []
    for text in (text for some in sentences.values() for text in some):
        x, own = reader.begin(torch.tensor([[*reader.start, *reader.encode(text)]])), []
        for layer in range(max(layers) + 1):
            x, mlp = reader.halves(layer, x)
            own += [{name: part[0, -1].numpy() for name, part in mlp.items()}] if layer in layers else []
        vectors.append(own)

    def right(name: str, k: int) -> str:
        activity = np.stack([own[k][name] for own in vectors])
        return "".join(map(str, told_apart(activity, language).astype(int)))

    parts = ("inputs", "neurons", "outputs")
    return {name: [right(name, k) for k in range(len(layers))] for name in parts}


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
    if isinstance(base, Gemma):
        result["die"] = stored(folder / f"{name}-die.json", lambda: of_die(base, layers))
    facts = {"layers": layers, "n_layers": base.n_layers, "d_mlp": base.d_mlp, "n_tokens": len(text.token)}
    return facts | {"n_different": len(np.unique(text.token)), "single": words["single"]} | result


def others(page: Path, readers: list[str], facts: dict) -> dict[str, dict]:
    """What the page has of networks that are not measured now.

    Raises: ValueError if they are not those of the claims, or read another text.
    """
    kept = json.loads(page.read_text(encoding="utf-8")) if page.is_file() else {}
    every = kept.get("networks", {}) | kept.get("opt_in", {})
    there = {name: one for name, one in every.items() if name not in readers}
    if lacking := [name for name in READERS if name not in readers and name not in there]:
        raise ValueError(f"{page} must hold {', '.join(lacking)}; measure them with make language first")
    odd = [fact for fact, value in facts.items() if kept.get(fact) != json.loads(json.dumps(value))]
    if there and odd:
        raise ValueError(f"{page} must be of the same text; got another {odd[0]}: measure all networks anew")
    return there


def record_of(networks: dict[str, dict], facts: dict) -> dict:
    """The record: facts, the networks of the claims, and apart from them those that are opt-in."""
    opt_in = {name: networks[name] for name in OPT_IN if name in networks}
    return (
        facts
        | {"networks": {name: networks[name] for name in READERS}}
        | ({"opt_in": opt_in} if opt_in else {})
    )


def write(record: dict, page: Path) -> None:
    text = json.dumps(record, separators=(",", ":")).replace("},{", "},\n{")
    page.write_text(text + "\n", encoding="utf-8")
    print(f"{len(text) / 1e3:.0f} kB in {page}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "_build" / "language", help="of finished layers"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "language.json")
    parser.add_argument("--readers", nargs="+", choices=(*READERS, *OPT_IN), default=list(READERS))
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
    sources = [
        [package, source.what, source.licence, source.n_passages] for package, source in SOURCES.items()
    ]
    facts = {"sources": sources, "together": TOGETHER, "n_characters": sum(map(len, every))}
    try:
        kept = others(chosen.page, chosen.readers, facts)
    except ValueError as error:
        parser.error(str(error))
    made = {name: of_network(name, every, parts) for name in chosen.readers}
    write(record_of(kept | made, facts), chosen.page)
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes of this call")


if __name__ == "__main__":
    main()
