"""The numbers of an architecture that a forecast uses, as coordinates of the Gaussian processes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from massact.architecture import Architecture

FACTORS = ("log2 d", "log2 L", "log2 d_mlp/d", "log2 d/H", "rotary fraction", "parallel residual")
SIZES = ("n_layers", "d_model", "n_heads", "d_mlp")  # required numbers
USED = (*SIZES, "rotary_fraction", "parallel_residual")
UNUSED = tuple(field.name for field in fields(Architecture) if field.name not in USED)


def factors(architecture: Architecture) -> Float[ndarray, " factor"]:
    """The coordinates of an architecture, in the order of `FACTORS`."""
    a = architecture
    return np.array(
        [
            np.log2(a.d_model),
            np.log2(a.n_layers),
            np.log2(a.d_mlp / a.d_model),
            np.log2(a.d_model / a.n_heads),
            a.rotary_fraction,
            float(a.parallel_residual),
        ]
    )


def relative_depth(layers: Int[ndarray, " layer"], n_layers: int) -> Float[ndarray, "layer 1"]:
    """(layer + 1) / n_layers of 0-based layers: the coordinate of a layer."""
    return ((layers + 1) / n_layers)[:, None]
