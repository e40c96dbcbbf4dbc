"""The features of a layer for a regressor: the architecture's numbers and the depth of the layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

FeatureColumn = Callable[[Any], Any]

# l is the paper's 1-based layer; arXiv 2508.03616, section on predicting the parameters.
PAPER: dict[str, FeatureColumn] = {
    "l/L": lambda f: (f["layer"] + 1) / f["n_layers"],
    "(l/L)^2": lambda f: ((f["layer"] + 1) / f["n_layers"]) ** 2,
    "(l/L)^3": lambda f: ((f["layer"] + 1) / f["n_layers"]) ** 3,
    "sqrt(l/L)": lambda f: ((f["layer"] + 1) / f["n_layers"]) ** 0.5,
    "H/d": lambda f: f["n_heads"] / f["d_model"],
    "d_mlp/d": lambda f: f["d_mlp"] / f["d_model"],
    "d/L": lambda f: f["d_model"] / f["n_layers"],
    "H/L": lambda f: f["n_heads"] / f["n_layers"],
    "log d": lambda f: np.log(f["d_model"]),
    "l*L": lambda f: (f["layer"] + 1) * f["n_layers"],
}
RAW: dict[str, FeatureColumn] = {
    "L": lambda f: f["n_layers"],
    "d": lambda f: f["d_model"],
    "H": lambda f: f["n_heads"],
    "d_mlp": lambda f: f["d_mlp"],
    "rotary base": lambda f: f["rotary_base"],
    "rotary fraction": lambda f: f["rotary_fraction"],
    "parallel residual": lambda f: f["parallel_residual"],
}
# The factors of a designed suite, each once and on its own scale, and the depth of the layer.
DESIGN: dict[str, FeatureColumn] = {
    "log2 d": lambda f: np.log2(f["d_model"]),
    "log2 L": lambda f: np.log2(f["n_layers"]),
    "log2 d_mlp/d": lambda f: np.log2(f["d_mlp"] / f["d_model"]),
    "log2 d/H": lambda f: np.log2(f["d_model"] / f["n_heads"]),
    "rotary fraction": RAW["rotary fraction"],
    "parallel residual": RAW["parallel residual"],
    "l/L": PAPER["l/L"],
}
FEATURE_SETS: dict[str, dict[str, FeatureColumn]] = {
    "paper": PAPER,
    "raw": RAW,
    "both": {**PAPER, **RAW},
    "design": DESIGN,
}
# Features that differ between the layers of one architecture. All others belong to the architecture.
OF_LAYER = frozenset({"l/L", "(l/L)^2", "(l/L)^3", "sqrt(l/L)", "l*L"})


def feature_matrix(fits: pd.DataFrame, feature_set: str = "both") -> tuple[Float[ndarray, "row feature"], list[str]]:
    """Features of each row of a table of fits, and their names. It needs `layer` and the architecture's columns.

    Raises
    ------
    ConfigError
        An unknown feature set.
    """
    if feature_set not in FEATURE_SETS:
        raise ConfigError(f"there is no feature set {feature_set}", f"choose one of {', '.join(FEATURE_SETS)}")
    columns = FEATURE_SETS[feature_set]
    return np.column_stack([np.asarray(make(fits), dtype=np.float64) for make in columns.values()]), list(columns)


def layer_columns(names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the columns that differ between the layers of one architecture."""
    return tuple(at for at, name in enumerate(names) if name in OF_LAYER)


def architecture_groups(fits: pd.DataFrame) -> ndarray:
    """The number of each row's architecture. Seeds of one architecture share it."""
    from massact.fit.schemas import ARCHITECTURE

    return fits.groupby(list(ARCHITECTURE), sort=True).ngroup().to_numpy()
