"""The numbers that describe a decoder-only transformer, and what follows from them."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

from massact.errors import ArchitectureError

# The largest of each number that still makes sense. They lie orders of magnitude beyond any transformer so far:
# beyond them a number is a slip of the keyboard, and the work it asks for does not end.
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
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "d_model": ("hidden_size", "n_embd"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads"),
    "d_mlp": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "vocab_size": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions"),
}


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
            raise ArchitectureError(f"rotary_fraction = {self.rotary_fraction} is not a share", "give 0 to 1")
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
            f"{name} = {_shown(value)} is beyond any transformer", f"give at most {LARGEST[name]:,}"
        )
    return number


def _real(name: str, value: Any) -> float:
    try:
        finite = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
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


def numbers_in(config: Mapping[str, Any]) -> dict[str, int]:
    """The architecture's numbers that a Hugging Face configuration states, under our names.

    Parameters
    ----------
    config
        The content of a config.json, or `model.config.to_dict()`. A width of the MLP that GPT-2's kind leaves open is
        four times the model's; what a configuration does not say is left out.

    >>> numbers_in({"n_layer": 12, "n_embd": 768, "n_head": 12, "n_inner": None, "n_positions": 1024})
    {'n_layers': 12, 'd_model': 768, 'n_heads': 12, 'd_mlp': 3072, 'context': 1024}
    """
    numbers: dict[str, int] = {}
    for name, others in _NAMES_IN_CONFIGS.items():
        found = next((config[other] for other in others if config.get(other) is not None), None)
        open_width = name == "d_mlp" and any(other in config for other in ("n_embd", *others))
        if found is None and open_width and "d_model" in numbers:
            found = 4 * numbers["d_model"]
        if isinstance(found, int):
            numbers[name] = found
    return numbers
