"""The features of a forecast. They are few, because there are few architectures."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from massact.architecture import Architecture

FEATURES = ("log d", "log L", "log d/H", "log d_mlp/d", "l/L", "(l/L)^2")
SIZES = ("n_layers", "d_model", "n_heads", "d_mlp")  # the architecture's numbers that the features use
UNUSED = tuple(field.name for field in fields(Architecture) if field.name not in SIZES)


def basis(architecture: Architecture, layers: Int[ndarray, " layer"]) -> Float[ndarray, "layer feature"]:
    """The features of each layer (0-based). In their names, l = layer + 1."""
    a = architecture
    depth = (layers + 1) / a.n_layers
    one = np.ones_like(depth)
    columns = [
        one * np.log(a.d_model),
        one * np.log(a.n_layers),
        one * np.log(a.d_model / a.n_heads),
        one * np.log(a.d_mlp / a.d_model),
        depth,
        depth**2,
    ]
    return np.column_stack(columns)
