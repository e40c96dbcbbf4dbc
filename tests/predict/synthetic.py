"""Fits tables with a known dependence on the architecture."""

from __future__ import annotations

import numpy as np
import pandas as pd

from massact.fit.forms import FORMS
from massact.fit.schemas import fits_schema

SHAPES = [(2, 64, 2), (3, 96, 4), (4, 128, 2), (6, 64, 4), (8, 48, 3), (5, 160, 8), (3, 192, 6), (7, 80, 5)]


def fits(shapes=SHAPES, quantities=("ratio",), noise: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """K follows log d and depth; gamma is pure noise; f_end follows K."""
    generator = np.random.default_rng(seed)
    schema = fits_schema("eq9")
    rows = []
    for number, (n_layers, d_model, n_heads) in enumerate(shapes):
        for layer in range(n_layers):
            for quantity in quantities:
                depth = (layer + 1) / n_layers
                k = 5 * np.log(d_model) + 4 * depth + noise * generator.normal()
                row = dict.fromkeys(schema.columns, 1.0)
                row |= {
                    "family": "f", "recipe": "nano", "model": f"m{number}", "seed": 0, "n_layers": n_layers,
                    "d_model": d_model, "n_heads": n_heads, "d_mlp": 4 * d_model, "context": 32,
                    "rotary_fraction": 0.25, "rotary_base": 1e4, "parallel_residual": True, "layer": layer,
                    "quantity": quantity, "form": "eq9", "n_points": 24, "K": k, "f_end": 2 * k,
                    "gamma": generator.lognormal(), "regime": "plateau_seen", "status": "ok", "sloppiest": "",
                    "peak_determined": True, "doubts": "",
                }  # fmt: skip
                row |= {f"{p}_determined": True for p in FORMS["eq9"].parameters}
                rows.append(row)
    return schema.validate(pd.DataFrame(rows))
