"""What Gemma's GGUF file must hold, and its weights if all of that is there, is known and fits.

What is not known is named: a tensor or a setting that is passed over gives wrong numbers in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .gguf_file import Stored, read_gguf
from .llama_file import KINDS
from .loading import MOST_NAMED, stop_at

LAYER = {  # every tensor of a layer, and its shape; matrices as (rows, columns), x @ W.T
    "attn_norm": ("d_model",),
    "attn_q": ("d_queries", "d_model"),
    "attn_k": ("d_keys", "d_model"),
    "attn_v": ("d_keys", "d_model"),
    "attn_q_norm": ("d_head",),
    "attn_k_norm": ("d_head",),
    "attn_output": ("d_model", "d_queries"),
    "post_attention_norm": ("d_model",),
    "ffn_norm": ("d_model",),
    "ffn_gate": ("d_mlp", "d_model"),
    "ffn_up": ("d_mlp", "d_model"),
    "ffn_down": ("d_model", "d_mlp"),
    "post_ffw_norm": ("d_model",),
}

# Fields that must be there: those that are read, by their type, and the others by the one value for which it
# is done as here
FIELDS: dict[str, Any] = {
    "general.architecture": "gemma3",
    "general.type": "model",  # not an adapter, which another file completes
    "general.quantization_version": 2,
    "gemma3.block_count": int,
    "gemma3.embedding_length": int,
    "gemma3.feed_forward_length": int,
    "gemma3.attention.head_count": int,
    "gemma3.attention.head_count_kv": int,
    "gemma3.attention.key_length": int,
    "gemma3.attention.value_length": int,
    "gemma3.attention.layer_norm_rms_epsilon": float,
    "gemma3.attention.sliding_window": int,
    "gemma3.rope.freq_base": float,
    "tokenizer.ggml.model": "llama",  # SentencePiece's BPE
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": list,
    "tokenizer.ggml.scores": list,
    "tokenizer.ggml.token_type": list,
    "tokenizer.ggml.bos_token_id": int,
    "tokenizer.ggml.unknown_token_id": int,
    "tokenizer.ggml.add_bos_token": True,  # a pass begins with it
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.add_sep_token": False,
    "tokenizer.ggml.add_space_prefix": False,
}

IGNORED = {  # fields that change no number, by a pattern, and why not
    r"general\.(name|basename|size_label|license|tags)": "who made it, from what, under which licence",
    r"general\.(file_type|alignment)": "how its bytes are laid out",
    r"gemma3\.context_length": "how long the texts of training were",
    r"tokenizer\.ggml\.(eos|padding)_token_id": "names for special tokens; a pass has none of them",
}

NORMAL, CONTROL, WHOLE, BYTE = 1, 3, 4, 6  # kinds of piece; whole ones are found before any are joined
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def read_gemma(content: bytes, *, file: str) -> tuple[dict[str, Any], dict[str, int], dict[str, Tensor]]:
    """The fields, sizes and weights, in float32, of a Gemma 3 of which all is known, there, and fits.

    Raises: ValueError that names what is not.
    """
    fields, tensors = read_gguf(content, file=file)
    _check_fields(file, fields)
    sizes = _sizes(file, fields)
    _check_tensors(file, tensors, sizes)
    return fields, sizes, _weights(file, tensors)


def _understand(file: str, odd: Sequence[str]) -> None:
    stop_at(odd, "file must be a Gemma 3 that this loader understands whole", f"{file!r}, where ")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _check_fields(file: str, fields: dict[str, Any]) -> None:
    """Stop unless all fields are known, and those that must be there are, and are what they must be."""
    architecture = fields.get("general.architecture", "gemma3")
    if architecture != "gemma3":  # the rest is its own
        _understand(file, [f"general.architecture is {_shown(architecture)}, not 'gemma3'"])
    _understand(file, [f"{name} is missing" for name in FIELDS if name not in fields])
    known = re.compile("|".join(IGNORED))
    unknown = [name for name in fields if name not in FIELDS and not known.fullmatch(name)]
    _understand(file, [f"{name} is {_shown(fields[name])}, and not known here" for name in unknown])
    odd = []
    for name, must in FIELDS.items():
        value = fields[name]
        words, fits = KINDS[must] if isinstance(must, type) else (repr(must), must.__eq__)
        if fits(value) is not True:
            odd.append(f"{name} is {_shown(value)}, not {words}")
    _understand(file, odd)


def _sizes(file: str, fields: dict[str, Any]) -> dict[str, int]:
    """The model's sizes; stop where they do not fit each other, or a list the vocabulary."""
    number = {name.removeprefix("gemma3."): value for name, value in fields.items()}
    heads, key_heads = number["attention.head_count"], number["attention.head_count_kv"]
    d_head, d_value = number["attention.key_length"], number["attention.value_length"]
    odd = []
    if d_value != d_head or d_head % 2:  # RoPE turns pairs
        odd.append(f"keys and values are {d_head} and {d_value} wide, not of one even width")
    if heads % key_heads:
        odd.append(f"gemma3.attention.head_count_kv, {key_heads}, does not divide {heads} heads")
    _understand(file, odd + _problems_of_vocabulary(fields))
    return {
        "n_layers": number["block_count"],
        "n_tokens": len(fields["tokenizer.ggml.tokens"]),
        "d_model": number["embedding_length"],
        "d_mlp": number["feed_forward_length"],
        "d_head": d_head,
        "d_queries": heads * d_head,
        "d_keys": key_heads * d_head,
    }


def _problems_of_vocabulary(fields: dict[str, Any]) -> list[str]:
    """Why a tokenizer cannot be made of these lists, in words; empty if it can."""
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    problems = []
    there = set(tokens)
    if len(there) < len(tokens):
        problems.append("tokenizer.ggml.tokens has a token twice")
    if lacking := [byte for byte in BYTES if byte not in there]:
        problems.append(f"tokenizer.ggml.tokens has no {lacking[0]}, and some text could not be spelled")
    for name in ("scores", "token_type"):
        if (n := len(fields[f"tokenizer.ggml.{name}"])) != len(tokens):
            problems.append(f"tokenizer.ggml.{name} has {n} entries for {len(tokens)} tokens")
    if odd := set(kinds) - {NORMAL, CONTROL, WHOLE, BYTE}:
        problems.append(f"tokenizer.ggml.token_type is {min(odd)} in places, which is not known here")
    for name in ("bos", "unknown"):
        if (k := fields[f"tokenizer.ggml.{name}_token_id"]) >= len(tokens):
            problems.append(f"tokenizer.ggml.{name}_token_id, {k}, is not one of {len(tokens)} tokens")
    return problems


def _shapes(sizes: dict[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """All tensors that such a model has, with their shapes."""
    yield "token_embd.weight", (sizes["n_tokens"], sizes["d_model"])
    yield "output_norm.weight", (sizes["d_model"],)
    for k in range(sizes["n_layers"]):
        for name, shape in LAYER.items():
            yield f"blk.{k}.{name}.weight", tuple(sizes[size] for size in shape)


def _check_tensors(file: str, tensors: dict[str, Stored], sizes: dict[str, int]) -> None:
    """Stop unless all tensors are known, all there, and of the shape that they must have."""
    # a file may promise any number of layers: no more are looked for than are named
    lacking = islice((name for name, _ in _shapes(sizes) if name not in tensors), MOST_NAMED + 1)
    _understand(file, [f"{name} is missing" for name in lacking])
    shapes = dict(_shapes(sizes))
    _understand(file, [f"{name} is a tensor not known here" for name in tensors if name not in shapes])
    others = [name for name, shape in shapes.items() if tensors[name].shape != shape]
    _understand(file, [f"{name} is {tensors[name].shape}, not {shapes[name]}" for name in others])


def _weights(file: str, tensors: dict[str, Stored]) -> dict[str, Tensor]:
    """The tensors in float32; stop at types that cannot be read, and at what is not finite."""
    weights, unread = {}, []
    for name, stored in tensors.items():
        try:
            weights[name] = stored.read()
        except NotImplementedError:
            unread.append(f"{name} is stored as {stored.kind}, which is not known here")
    _understand(file, unread)
    ends = {name: torch.stack(w.aminmax()) for name, w in weights.items()}  # both are nan where one entry is
    _understand(file, [f"{name} is not finite" for name, both in ends.items() if not both.isfinite().all()])
    return weights
