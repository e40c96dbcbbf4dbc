"""The numbers that describe a decoder-only transformer, and what follows from them."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, cast

from massact.errors import ArchitectureError

# The largest sensible value of each number, orders of magnitude above any transformer so far. A larger number is a
# typing error, and the work for it would not end.
LARGEST = MappingProxyType(
    {
        "n_layers": 1_000,
        "d_model": 1_000_000,
        "n_heads": 1_000_000,
        "d_mlp": 100_000_000,
        "vocab_size": 100_000_000,
        "context": 1_000_000_000,
        "rotary_base": 1e12,
    }
)

# Our names of an architecture's numbers, and those that Hugging Face configurations have for them.
_NAMES_IN_CONFIGS = {
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "d_model": ("hidden_size", "n_embd", "d_model"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "d_mlp": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "vocab_size": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len"),
}
# Kinds of models (`model_type`) by their position encoding and by whether attention and MLP read the same input.
_NOT_ROTARY = frozenset(
    {"gpt2", "gpt_neo", "gpt_bigcode", "opt", "bloom", "mpt", "biogpt", "xglm", "ctrl", "openai-gpt", "xlnet"}
)
_PARALLEL = frozenset({"gptj", "codegen", "phi", "cohere", "cohere2"})
_SEQUENTIAL = _NOT_ROTARY | {
    "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "olmo", "olmo2", "olmo3", "olmoe",
    "gemma", "gemma2", "gemma3_text", "phi3", "starcoder2", "persimmon", "glm", "nemotron", "granite", "smollm3",
    "gpt_oss", "gpt_neox_japanese",
}  # fmt: skip
# Kinds whose MLP is four times as wide as the model; their configurations do not state it.
_FOURFOLD_MLP = frozenset({"bloom", "mpt"})
# Kinds whose blocks mix tokens by a recurrence and have no attention heads and no MLP.
_RECURRENT = frozenset({"mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"})
# Defaults of configurations that do not state these numbers: share of rotating dimensions, parallel attention and MLP.
_ROTARY_SHARES = {"gpt_neox": 0.25, "stablelm": 0.25, "phi": 0.5, "persimmon": 0.5, "glm": 0.5, "nemotron": 0.5}
_PARALLEL_UNLESS_SAID = {"gpt_neox": True, "falcon": True, "stablelm": False}
_USUAL_BASE = 10000.0


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A GPT-NeoX-type architecture: pre-LayerNorm blocks, rotary positions, an unembedding of its own.

    Parameters
    ----------
    n_layers, d_model, n_heads, d_mlp
        Blocks, width of the residual stream, attention heads, width of the MLP.
    vocab_size, context
        Rows of the embedding (as stored, i.e. padded) and the longest sequence in tokens.
    rotary_fraction, rotary_base
        Share of each head's dimensions that rotate, and the base of their wavelengths.
    parallel_residual
        Attention and MLP read the same input (GPT-NeoX) instead of one after the other.

    Raises
    ------
    ArchitectureError
        When a number is not positive, not finite or above `LARGEST`, or the heads do not divide the width.

    >>> Architecture(n_layers=6, d_model=512, n_heads=8, d_mlp=2048, vocab_size=50304, context=2048).n_parameters
    70426624
    """

    n_layers: int
    d_model: int
    n_heads: int
    d_mlp: int
    vocab_size: int = 50304
    context: int = 2048
    rotary_fraction: float = 0.25
    rotary_base: float = 10000.0
    parallel_residual: bool = True

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "n_heads", "d_mlp", "vocab_size", "context"):
            object.__setattr__(self, name, _count(name, getattr(self, name)))
        for name in ("rotary_fraction", "rotary_base"):
            object.__setattr__(self, name, _real(name, getattr(self, name)))
        object.__setattr__(self, "parallel_residual", _truth("parallel_residual", self.parallel_residual))
        if self.d_model % self.n_heads:
            divisors = [h for h in range(1, self.d_model + 1) if self.d_model % h == 0]
            near = sorted(sorted(divisors, key=lambda h: abs(h - self.n_heads))[:3])
            raise ArchitectureError(
                f"n_heads = {self.n_heads} does not divide d_model = {self.d_model}",
                f"nearest head counts that do: {', '.join(map(str, near))}",
            )
        if not 0 <= self.rotary_fraction <= 1:
            raise ArchitectureError(f"rotary_fraction = {self.rotary_fraction} is not between 0 and 1", "give 0 to 1")
        if not 0 < self.rotary_base <= LARGEST["rotary_base"]:
            raise ArchitectureError(
                f"rotary_base = {self.rotary_base} is not between 0 and {LARGEST['rotary_base']:g}", "Pythia uses 10000"
            )

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def n_parameters(self) -> int:
        """Scalars of the GPT-NeoX model of these numbers (embedding, blocks, final norm, unembedding)."""
        d, m = self.d_model, self.d_mlp
        attention = 4 * d * d + 4 * d
        mlp = 2 * d * m + d + m
        norms = 4 * d
        return self.n_layers * (attention + mlp + norms) + 2 * d + 2 * self.vocab_size * d

    def as_dict(self) -> dict[str, Any]:
        """The numbers under their own names."""
        return asdict(self)


def _count(name: str, value: Any) -> int:
    """A whole number from 1 to the largest that makes sense; numpy's count as well."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ArchitectureError(f"{name} = {_shown(value)} is not a positive whole number", f"give {name} >= 1")
    if number > LARGEST[name]:
        raise ArchitectureError(
            f"{name} = {_shown(value)} is larger than in any transformer", f"give at most {LARGEST[name]:,}"
        )
    return number


def _real(name: str, value: Any) -> float:
    try:
        finite = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        finite = False
    if not finite:
        raise ArchitectureError(f"{name} = {_shown(value)} is not a finite number", "Pythia's: 0.25 and 10000")
    return value if isinstance(value, int | float) else float(value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # numpy's, not imported here
        raise ArchitectureError(f"{name} = {_shown(value)} is neither true nor false", "give True or False")
    return bool(value)


def _shown(value: Any) -> str:
    """A value as a message shows it: in one line, and not at any length."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return " ".join((text if len(text) <= 40 else f"{text[:37]}...").split())


def numbers_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture's numbers that a Hugging Face configuration states, under our names.

    Parameters
    ----------
    config
        The content of a config.json, or `model.config.to_dict()`. A width of the MLP that GPT-2's kind leaves open is
        four times the model's. Rotary share (0 for models without rotary positions), rotary base and residual layout
        are those that the model's kind (`model_type`) gives them where the configuration does not say them; of kinds
        not known here, and whatever else is not said, is left out. So are the heads and the MLP of kinds that have
        none, such as Mamba.

    >>> numbers_in({"n_layer": 12, "n_embd": 768, "n_head": 12, "n_inner": None, "n_positions": 1024})
    {'n_layers': 12, 'd_model': 768, 'n_heads': 12, 'd_mlp': 3072, 'context': 1024}
    >>> numbers_in({"model_type": "llama", "vocab_size": 1000, "rope_theta": 5e5})
    {'vocab_size': 1000, 'rotary_fraction': 1.0, 'rotary_base': 500000.0, 'parallel_residual': False}
    """
    inner = config.get("text_config")
    if isinstance(inner, Mapping):  # a model of text and more
        config = {**config, **inner}
    numbers: dict[str, Any] = {}
    for name, others in _NAMES_IN_CONFIGS.items():
        value = next((config[other] for other in others if config.get(other) is not None), None)
        if name in ("n_heads", "d_mlp") and _kind(config) in _RECURRENT:
            continue
        open_width = name == "d_mlp" and (
            _kind(config) in _FOURFOLD_MLP or any(other in config for other in ("n_embd", *others))
        )
        if value is None and open_width and "d_model" in numbers:
            value = 4 * numbers["d_model"]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
            numbers[name] = value
    return {**numbers, **_rotary(config, numbers), **_layout(config)}


def differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Numbers that both state and that are not the same: name -> (actual, expected).

    >>> differences({"n_layers": 4, "d_mlp": 99}, {"n_layers": 6, "d_model": 64})
    {'n_layers': (4, 6)}
    """
    both = [name for name in actual if expected.get(name) is not None and actual[name] is not None]
    return {n: (actual[n], expected[n]) for n in both if not math.isclose(actual[n], expected[n], rel_tol=1e-6)}


def _rotary(config: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, float]:
    """Share of rotating dimensions and base of their wavelengths."""
    kind = _kind(config)
    if kind in _NOT_ROTARY or config.get("alibi"):
        return {"rotary_fraction": 0.0}
    scaling: Any = config.get("rope_parameters") or config.get("rope_scaling")
    settings: dict[str, Any] = {**config, **_mapping(scaling)}
    share = _first(settings, "partial_rotary_factor", "rotary_pct")
    base = _first(settings, "rope_theta", "rotary_emb_base")
    dimensions = _first(settings, "rotary_dim")
    if share is None and dimensions is not None and {"d_model", "n_heads"} <= set(numbers):
        width = numbers["d_model"]
        share = dimensions * numbers["n_heads"] / width if width else None
    known = kind in _ROTARY_SHARES or kind in _SEQUENTIAL or kind in _PARALLEL or kind == "falcon"
    if share is None and (known or base is not None):
        share = _ROTARY_SHARES.get(kind, 1.0)
    # Some models have one base for near and one for far attention.
    nested = any(isinstance(value, Mapping) for value in _mapping(config.get("rope_parameters")).values())
    if base is None and known and not nested:
        base = _USUAL_BASE
    pairs = (("rotary_fraction", share), ("rotary_base", base))
    return {name: float(value) for name, value in pairs if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _kind(config: Mapping[str, Any]) -> str:
    """The model's kind; empty if the configuration states none, or not a string."""
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else ""


def _layout(config: Mapping[str, Any]) -> dict[str, bool]:
    """Whether attention and MLP read the same input."""
    kind = _kind(config)
    parallel = next((config[n] for n in ("use_parallel_residual", "parallel_attn") if n in config), None)
    if not isinstance(parallel, bool):
        parallel = _PARALLEL_UNLESS_SAID.get(kind)
    if parallel is None and (kind in _PARALLEL or kind in _SEQUENTIAL):
        parallel = kind in _PARALLEL
    return {} if parallel is None else {"parallel_residual": parallel}


def _first(stated: Mapping[str, Any], *names: str) -> float | None:
    """The first of these that is a number, and one that a float can hold."""
    values = (stated.get(name) for name in names)
    numbers = (v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    return next((v for v in numbers if isinstance(v, float) or abs(v) <= sys.float_info.max), None)
