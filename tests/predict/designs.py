"""Curves of a designed set of trainings whose law is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from massact.architecture import Architecture

STEPS = np.unique(np.round(np.expm1(np.linspace(0, np.log1p(2048), 24)))).astype(int)


def architectures(count: int, seed: int = 0) -> dict[str, Architecture]:
    generator = np.random.default_rng(seed)
    found = {}
    for number in range(count):
        heads, head_width = int(generator.integers(1, 5)), int(generator.choice([8, 16]))
        width = heads * head_width
        found[f"m{number}"] = Architecture(
            n_layers=int(generator.integers(2, 6)), d_model=width, n_heads=heads, d_mlp=4 * width,
            parallel_residual=bool(number % 2),
        )  # fmt: skip
    return found


def trajectories(
    known: dict[str, Architecture], *, seeds: int = 1, noise: float = 0.05, seed: int = 0, recipe: str = "grid"
) -> pd.DataFrame:
    """Log ratios rise with log step: higher for wide models, at later layers, and by an effect of each training."""
    generator = np.random.default_rng(seed)
    rise = np.log1p(STEPS) / np.log1p(STEPS[-1])
    rows = []
    for model, a in known.items():
        for run in range(seeds):
            own = noise * generator.normal()
            for layer in range(a.n_layers):
                depth = (layer + 1) / a.n_layers
                height = 1 + 0.4 * np.log2(a.d_model / 32) + depth + (0.3 if a.parallel_residual else 0.0) + own
                curve = 1 + height * rise**2 + noise * 0.3 * generator.normal(size=len(STEPS))
                rows += [
                    {
                        "family": "f", "recipe": recipe, "model": model, "seed": run, "step": int(step),
                        "tokens": int(step) * 512, "layer": layer, "quantity": "ratio",
                        "value": float(np.exp(value)), "se": 0.01, "n_sequences": 10,
                    }
                    for step, value in zip(STEPS, curve, strict=True)
                ]  # fmt: skip
    return pd.DataFrame(rows)
