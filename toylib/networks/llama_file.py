"""What a GGUF file of a small Llama may hold, and whether all of it is known and fits.

What is not known is named: a tensor or a setting that is passed over gives wrong numbers in silence.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .loading import MOST_NAMED, stop_at

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


def understand(file: Path, odd: Sequence[str]) -> None:
    """Raise the ValueError of a file that is not understood whole, if anything in it is odd."""
    stop_at(odd, "path must be a Llama that this loader understands whole", f"{str(file)!r}, where ")


def sizes_of(file: Path, fields: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of a model whose fields and tensors are all known, all there, and fit each other.

    Raises: ValueError that names those that are not.
    """
    _check_fields(file, fields)
    sizes = _sizes(file, fields)
    problems = []
    for name, allowed in ONLY.items():
        values = [sizes.get(value, value) for value in allowed]
        if name in fields and fields[name] not in values:
            problems.append(f"{name} is {_shown(fields[name])}, not {' or '.join(map(repr, values))}")
    understand(file, problems + _problems_of_vocabulary(fields))
    _check_tensors(file, shapes, sizes)
    return sizes


def _check_fields(file: Path, fields: dict[str, Any]) -> None:
    """Stop unless all fields are known, and those that are read are there and of their kind."""
    architecture = fields.get("general.architecture")
    if architecture is not None and architecture not in ONLY["general.architecture"]:  # the rest is its own
        understand(file, [f"general.architecture is {architecture!r}, not 'llama'"])
    if "llama.attention.head_count" in fields:
        fields.setdefault("llama.attention.head_count_kv", fields["llama.attention.head_count"])
    understand(file, [f"{name} is missing" for name in READ if name not in fields])
    known = re.compile("|".join(IGNORED))
    unknown = [name for name in fields if not (name in READ or name in ONLY or known.fullmatch(name))]
    understand(file, [f"{name} is {_shown(fields[name])}, and not known here" for name in unknown])
    of_another_kind = [name for name, kind in READ.items() if not KINDS[kind][1](fields[name])]
    understand(file, [f"{n} is {_shown(fields[n])}, not {KINDS[READ[n]][0]}" for n in of_another_kind])


def _sizes(file: Path, fields: dict[str, Any]) -> dict[str, int]:
    """What the fields say of the model's sizes; stop where heads do not fit them."""
    sizes = {
        "n_layers": fields["llama.block_count"],
        "n_heads": fields["llama.attention.head_count"],
        "n_key_heads": fields["llama.attention.head_count_kv"],
        "d_model": fields["llama.embedding_length"],
        "d_mlp": fields["llama.feed_forward_length"],
        "n_tokens": len(fields["tokenizer.ggml.tokens"]),
    }
    d_model, n_heads, n_key_heads = sizes["d_model"], sizes["n_heads"], sizes["n_key_heads"]
    if d_model % n_heads or d_model // n_heads % 2:  # RoPE turns pairs
        understand(file, [f"llama.embedding_length, {d_model}, is not {n_heads} heads of an even width"])
    if n_heads % n_key_heads:
        understand(file, [f"llama.attention.head_count_kv, {n_key_heads}, does not divide {n_heads} heads"])
    d_head = d_model // n_heads
    return {**sizes, "d_head": d_head, "d_key": n_key_heads * d_head}


def _check_tensors(file: Path, shapes: dict[str, tuple[int, ...]], sizes: dict[str, int]) -> None:
    """Stop unless all tensors are known, those that are read are there, and their shapes fit the sizes."""
    expected = {name: _shape(name, sizes) for name in shapes}
    understand(
        file, [f"{name} is a tensor not known here" for name, shape in expected.items() if shape is None]
    )
    layers = (f"blk.{k}.{name}.weight" for k in range(sizes["n_layers"]) for name in LAYER)
    required = chain(["token_embd.weight", "output_norm.weight"], layers)
    # a file may promise any number of layers: no more are looked for than are named
    missing = list(islice((name for name in required if name not in shapes), MOST_NAMED + 1))
    understand(file, [f"{name} is missing" for name in missing])
    others = {name: shape for name, shape in expected.items() if shapes[name] != shape}
    understand(file, [f"{name} is {shapes[name]}, not {shape}" for name, shape in others.items()])


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
