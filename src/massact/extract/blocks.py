"""Where a model keeps its blocks."""

from __future__ import annotations

from typing import Any

from torch import nn

from massact.errors import MeasureError


def is_bridge(model: Any) -> bool:
    """Whether the model is a TransformerBridge, told without importing TransformerLens."""
    return hasattr(model, "original_model") and hasattr(model, "hooks")


def block_stack(model: Any) -> tuple[nn.Module, int, int]:
    """The decoder without its unembedding, how many blocks it has, and how many tokens it knows."""
    plain = model.original_model if is_bridge(model) else model
    decoder = getattr(plain, "base_model", plain)
    config: Any = getattr(plain, "config", None)
    if not hasattr(config, "num_hidden_layers"):
        raise MeasureError(
            f"{type(plain).__name__} has no configuration that says how many blocks it has",
            "pass a Hugging Face decoder-only model or a TransformerBridge",
        )
    return decoder, int(config.num_hidden_layers), int(config.vocab_size)


def blocks_of(decoder: nn.Module, n_layers: int) -> nn.ModuleList:
    """The decoder's list of blocks."""
    for module in decoder.children():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise MeasureError(
        f"no list of {n_layers} blocks was found in {type(decoder).__name__}",
        "pass a Hugging Face decoder-only model or a TransformerBridge",
    )
