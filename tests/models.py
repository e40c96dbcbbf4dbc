"""Small real models for the tests."""

from __future__ import annotations

from massact import Architecture
from massact.train import build_model


def tiny(
    n_layers: int = 2, d_model: int = 16, n_heads: int = 2, vocab_size: int = 300, context: int = 32
) -> Architecture:
    return Architecture(
        n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_mlp=4 * d_model, vocab_size=vocab_size, context=context
    )


def tiny_model(seed: int = 0, **numbers: int):
    return build_model(tiny(**numbers), seed).eval()
