"""The numbers that describe a decoder-only transformer, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from massact.errors import ArchitectureError

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
        When a number is not positive or the heads do not divide the width.

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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArchitectureError(f"{name} = {value!r} is not a positive whole number", f"give {name} >= 1")
        if self.d_model % self.n_heads:
            divisors = [h for h in range(1, self.d_model + 1) if self.d_model % h == 0]
            near = sorted(sorted(divisors, key=lambda h: abs(h - self.n_heads))[:3])
            raise ArchitectureError(
                f"n_heads = {self.n_heads} does not divide d_model = {self.d_model}",
                f"nearest head counts that do: {', '.join(map(str, near))}",
            )
        if not 0 <= self.rotary_fraction <= 1:
            raise ArchitectureError(f"rotary_fraction = {self.rotary_fraction} is not a share", "give 0 to 1")
        if self.rotary_base <= 0:
            raise ArchitectureError(f"rotary_base = {self.rotary_base} is not positive", "Pythia uses 10000")

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
