"""How lexical a neuron is: planted neurons whose shares are known, the words of the factorial, its record."""

import json
import re
from pathlib import Path

import language as script
import numpy as np
import passages
import pytest
import torch
from bad_input import refused

from toylib.networks.lexical import by_word_and_meaning, lexical, missed_by_table
from toylib.networks.reader import Reader
from toylib.networks.readers import OPT_IN, READERS

ROOT = Path(__file__).resolve().parent.parent
N_TOKENS, N_DOCUMENTS, LENGTH = 600, 40, 200


def text(seed, n_tokens=N_TOKENS, n_before=3):
    """Tokens in documents: token, the one before, document."""
    rng = np.random.default_rng(seed)
    n = N_DOCUMENTS * LENGTH
    document = np.repeat(np.arange(N_DOCUMENTS), LENGTH)
    return rng.integers(0, n_tokens, n), rng.integers(0, n_before, n), document


def shares(neuron, token, before, document):
    """The token's share, then where pairs are known the token's and the pair's."""
    found = lexical(neuron[:, None], token, before, document)
    variance, of_token, paired, token_there, pair = found.by_document.sum(1)
    return of_token / variance, token_there / paired, pair / paired


def test_a_table_of_tokens_is_explained_by_the_token_whole():
    token, before, document = text(0)
    neuron = np.random.default_rng(1).normal(size=N_TOKENS)[token]
    assert shares(neuron, token, before, document) == pytest.approx((1, 1, 1))


def test_a_table_of_pairs_is_explained_by_the_pair_whole_and_by_the_token_as_far_as_it_goes():
    token, before, document = text(0)
    pairs = np.random.default_rng(1).normal(size=(N_TOKENS, 3))
    of_token, there, pair = shares(pairs[token, before], token, before, document)
    assert pair == pytest.approx(1)
    # the mean of three independent numbers has a third of their variance; 600 tokens: error sqrt(2/600)/3
    assert of_token == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / N_TOKENS) / 3)
    assert there == pytest.approx(of_token, abs=0.05)


@pytest.mark.parametrize("n_tokens", [20, 600, 4000])
def test_noise_is_not_explained_however_often_a_token_is_shown(n_tokens):
    """4,000 tokens: two showings each, of which a fitted mean would explain half."""
    found = []
    for seed in range(20):
        token, before, document = text(seed, n_tokens)
        found.append(
            shares(np.random.default_rng(99 - seed).normal(size=len(token)), token, before, document)
        )
    error = np.std(found, axis=0) / np.sqrt(20)
    assert (np.abs(np.mean(found, axis=0)) < 5 * error).all()
    assert (error < 0.03).all()


def test_half_table_half_noise_is_explained_by_half_at_two_showings_of_a_token():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        token, before, document = text(seed, 4000, n_before=1)
        neuron = rng.normal(size=4000)[token] + rng.normal(size=len(token))
        found.append(shares(neuron, token, before, document)[0])
    assert np.mean(found) == pytest.approx(0.5, abs=5 * np.std(found) / np.sqrt(20))
    assert np.std(found) < 0.05


def test_what_only_its_own_document_repeats_is_not_explained():
    token, before, document = text(0)
    own = token + N_TOKENS * document  # every document has its own words
    found = lexical(np.random.default_rng(0).normal(size=(len(token), 2)), own, before, document)
    assert (found.by_document == 0).all()
    assert found.known.tolist() == [0, 0]
    assert found.variance.sum() > 0


def test_a_token_shown_twice_in_one_document_explains_nothing_there_and_once_in_two_what_they_share():
    token, document = np.array([7, 7, 8, 8]), np.array([0, 0, 0, 1])
    x = np.array([[3.0], [3.0], [-1.0], [-5.0]])  # mean 0
    found = lexical(x, token, np.zeros(4, int), document)
    assert found.by_document[0].tolist() == [1, 25]  # token 8 alone is known
    assert found.by_document[1].tolist() == [5, 5]  # -1 times -5, in both
    assert found.by_neuron[1].tolist() == [10]
    assert found.variance.tolist() == [19, 25]


def test_the_sums_over_documents_and_over_neurons_are_the_same():
    token, before, document = text(3)
    found = lexical(np.random.default_rng(0).normal(size=(len(token), 5)), token, before, document)
    np.testing.assert_allclose(found.by_document.sum(1), found.by_neuron.sum(1))


def test_a_table_that_is_right_misses_nothing_and_one_that_is_off_by_two_misses_four_a_neuron():
    activity = np.arange(6.0).reshape(3, 2)
    assert missed_by_table(activity, activity).tolist() == [0, 0, 0]
    assert missed_by_table(activity, activity + 2).tolist() == [8, 8, 8]


# --- words and meanings ---


def planted(of_word, of_meaning, noise=0.1, n_words=30, n_neurons=400):
    """Activities made of a vector for each word (or substitute) and one for each meaning."""
    rng = np.random.default_rng(0)
    words = rng.normal(size=(n_words, 3, n_neurons))  # the word, its two substitutes
    meanings = rng.normal(size=(n_words, 2, n_neurons))
    a = noise * rng.normal(size=(n_words, 2, 2, 2, n_neurons))
    a += of_meaning * meanings[:, :, None, None]
    a[:, :, :, 0] += of_word * words[:, None, None, 0]
    a[:, :, :, 1] += of_word * words[:, 1:, None]
    return a


def test_activities_that_only_the_word_decides_are_alike_where_it_is_the_same():
    alike = by_word_and_meaning(planted(1, 0)).mean(0)
    np.testing.assert_allclose(alike, [[0.99, 0.99], [0, 0]], atol=0.05)


def test_activities_that_only_the_meaning_decides_are_alike_where_it_is_the_same():
    alike = by_word_and_meaning(planted(0, 1)).mean(0)
    np.testing.assert_allclose(alike, [[0.99, 0], [0.99, 0]], atol=0.05)


def test_word_and_meaning_add_up():
    alike = by_word_and_meaning(planted(1, 1)).mean(0)
    np.testing.assert_allclose(alike, [[1, 0.5], [0.5, 0]], atol=0.06)


def test_the_words_are_as_their_note_says():
    stored = json.loads((ROOT / "book" / "data" / "ambiguous_words.json").read_text(encoding="utf-8"))
    words = stored["words"]
    assert len({entry["word"] for entry in words}) == len(words) >= 60
    contexts = [c for entry in words for meaning in entry["meanings"] for c in meaning["contexts"]]
    assert len(set(contexts)) == len(contexts) == 4 * len(words)
    for entry in words:
        a, b = entry["meanings"]
        endings = {entry["word"], a["substitute"], b["substitute"]}
        assert len(endings) == 3, entry
        for context in (*a["contexts"], *b["contexts"]):
            assert not endings & set(re.findall(r"[a-z]+", context.lower())), context
            assert context == context.strip()


# --- the record ---


class Small(Reader):
    """Two layers: one is a table of tokens, the other noise that hangs on the position."""

    name, n_layers, d_mlp, most, start, end = "Small", 2, 8, 400, [0], []

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.weights = {"table": torch.randn(300, 8, generator=generator)}
        self.steps = []  # one list for all that are redrawn from it

    def encode(self, text, *, cut=False):
        return [1 + sum(map(ord, word)) % 299 for word in text.split()]

    def begin(self, tokens):
        return self.weights["table"][tokens]

    def step(self, layer, x):
        self.steps.append(layer)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(len(self.steps)))
        return x, x if layer == 0 else noise


def passages_of_words(n):
    rng = np.random.default_rng(0)
    return [" ".join("ab" * k + "c" for k in rng.integers(1, 40, 150)) for _ in range(n)]


def test_an_interrupted_record_goes_on_where_it_stopped_and_is_the_same(tmp_path, monkeypatch):
    reader = Small()
    monkeypatch.setattr(script, "load_reader", lambda name: reader)
    texts = passages_of_words(16)
    whole = script.of_network("Small", texts, tmp_path)
    first = whole["trained"]["layers"][0]
    variance, of_token = np.sum(first["sums"][:2], axis=1)
    assert of_token / variance == pytest.approx(1, abs=1e-4)
    assert np.sum(first["missed"]) == 0  # it is the table that the vocabulary alone shows
    variance, of_token = np.sum(whole["trained"]["layers"][1]["sums"][:2], axis=1)
    assert abs(of_token / variance) < 0.05
    (tmp_path / "Small-redrawn-1.json").unlink()
    reader.steps.clear()
    assert script.of_network("Small", texts, tmp_path).keys() == whole.keys()
    assert len(reader.steps) == 2 * len(texts)  # both layers' steps for the one that was missing, words kept
    reader.steps.clear()
    again = script.of_network("Small", texts, tmp_path)
    assert not reader.steps
    assert again["trained"] == whole["trained"]


FACTS = {"together": 4, "n_characters": 1000, "sources": [("a", 1)]}
CLAIMED = {name: {"layers": [k], "share": 0.1 + k / 3} for k, name in enumerate(READERS)}


def test_an_opt_in_network_stands_apart_and_the_others_stay_as_they_are(tmp_path):
    page = tmp_path / "language.json"
    script.write(script.record_of(CLAIMED, FACTS), page)
    before = page.read_text()
    assert "opt_in" not in before
    kept = script.others(page, ["Gemma"], FACTS)
    script.write(script.record_of(kept | {"Gemma": {"layers": [0]}}, FACTS), page)
    after = page.read_text()
    assert after.startswith(before.removesuffix("}\n"))
    assert json.loads(after)["opt_in"] == {"Gemma": {"layers": [0]}}
    # and it stays when the others are measured again
    kept = script.others(page, list(READERS), FACTS)
    script.write(script.record_of(kept | CLAIMED, FACTS), page)
    assert page.read_text() == after


@pytest.mark.bad_input
def test_a_record_of_another_text_is_not_added_to(tmp_path):
    page = tmp_path / "language.json"
    refused(
        lambda: script.others(page, ["Gemma"], FACTS),
        f"{page} must hold SmolLM2, MiniLM, Whisper; measure them with make language first",
    )
    script.write(script.record_of(CLAIMED, FACTS), page)
    for fact, value in {"n_characters": 999, "sources": [("a", 2)]}.items():
        refused(
            lambda changed={fact: value}: script.others(page, ["Gemma"], FACTS | changed),
            f"{page} must be of the same text; got another {fact}",
        )
    assert script.others(page, list(READERS), FACTS | {"n_characters": 999}) == {}


@pytest.mark.slow
def test_the_stored_record_gives_itself_when_it_is_written_again(tmp_path):
    for name, facts in {"language": ("sources", "together", "n_characters"), "one_neuron_words": ()}.items():
        path, copy = ROOT / "book" / "data" / f"{name}.json", tmp_path / f"{name}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        every = record["networks"] | record.get("opt_in", {})
        again = script.record_of(every, {fact: record[fact] for fact in facts})
        script.write(again | {key: record[key] for key in record if key not in again}, copy)
        assert copy.read_bytes() == path.read_bytes()


class Halved(Small):
    """What stands before *die* says which language it is; neurons know it in the last layer alone."""

    sentences = json.loads(script.DIE.read_text(encoding="utf-8"))["sentences"]

    def encode(self, text, *, cut=False):
        return [1 + next(k for k, some in enumerate(self.sentences.values()) if text in some), 0]

    def halves(self, layer, x):
        same, before = torch.ones_like(x), x.roll(1, 1)
        return x, {"inputs": same, "neurons": before if layer == 2 else same, "outputs": before}


def test_who_is_told_apart_is_stored_by_what_is_read_and_layer():
    found = script.of_die(Halved(), [0, 2])
    n_right = {name: [right.count("1") for right in layers] for name, layers in found.items()}
    # where all are alike, the first language is as near as any
    assert n_right == {"inputs": [16, 16], "neurons": [16, 64], "outputs": [64, 64]}
    assert found["inputs"][0] == "1" * 16 + "0" * 48


def test_pages_and_pieces_are_cut_as_passages_want_them():
    page = "<p>short</p><pre>code " + "x " * 90 + "</pre><p>one &amp; " + "two " * 40 + "</p>"
    assert passages._paragraphs(page) == "one & " + " ".join(["two"] * 40)
    pieces = passages._pieces("word " * 1000)
    assert {len(piece.split()) for piece in pieces} == {240}  # 1,200 characters, blanks counted
    assert len(pieces) == 4


def test_packages_that_cannot_be_had_are_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match="need Debian's package anarchism: run apt-get download anarchism in"
    ):
        passages.fetch(tmp_path / "text")


def test_the_record_is_whole_and_small():
    path = ROOT / "book" / "data" / "language.json"
    assert path.stat().st_size < 200_000
    record = json.loads(path.read_text(encoding="utf-8"))
    n_words = len(json.loads(script.WORDS.read_text(encoding="utf-8"))["words"])
    n_groups = -(-sum(source.n_passages for source in passages.SOURCES.values()) // record["together"])
    assert tuple(record["networks"]) == READERS
    opt_in = record.get("opt_in", {})
    assert opt_in.keys() <= OPT_IN.keys()
    for name, one in opt_in.items():
        assert one["layers"] == script.LAYERS[name]
        assert {len(right) for read in one["die"].values() for right in read} == {64}
    for one in (record["networks"] | opt_in).values():
        for weights in script.WEIGHTS:
            layers = one[weights]["layers"]
            assert {np.shape(layer["sums"]) for layer in layers} == {(5, n_groups)}
            assert np.shape(one[weights]["words"]) == (len(one["layers"]), n_words, 2, 2)
            for layer in layers:
                variance, of_token, paired, token_there, of_pair = np.sum(layer["sums"], axis=1)
                assert 0 < of_token < variance < 1_000_001
                assert 0 < token_there
                assert 0 < of_pair < paired < variance


# --- bad input ---


@pytest.mark.bad_input
def test_what_does_not_fit_is_named():
    x, index = np.zeros((4, 2)), np.zeros(4, int)
    refused(
        lambda: lexical(x, index, index[:3], index),
        "activity must be (n_positions, n_neurons), token, before and document as long, not empty; got "
        "(4, 2), 4, 3 and 4",
    )
    refused(lambda: lexical(x[:0], index[:0], index[:0], index[:0]), "activity must be (n_positions, n_neu")
    refused(
        lambda: missed_by_table(x, x[:3]),
        "activity and table must be (n_positions, n_neurons) both; got (4, 2) and (3, 2)",
    )
    refused(
        lambda: by_word_and_meaning(np.zeros((5, 2, 2, 3))),
        "activity must be (n_words, 2, 2, 2, n_neurons) of two words or more; got (5, 2, 2, 3)",
    )
