"""Typed access to rows and columns of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Rows in which the columns have these values.

    >>> where(pd.DataFrame({"layer": [0, 1], "r2": [0.5, 0.9]}), layer=1)["r2"].tolist()
    [0.9]
    """
    keep = np.ones(len(frame), dtype=bool)
    for column, value in values.items():
        keep &= (frame[column] == value).to_numpy(dtype=bool)
    return select(frame, keep)


def select(frame: pd.DataFrame, keep: Bool[ndarray, " row"]) -> pd.DataFrame:
    """Rows where `keep` is true."""
    return pd.DataFrame(frame.loc[keep])


def numbers(frame: pd.DataFrame, column: str) -> Float[ndarray, " row"]:
    """A column as floats."""
    return np.asarray(frame[column], dtype=float)


def words(frame: pd.DataFrame, column: str) -> list[str]:
    """A column as strings."""
    return [str(value) for value in frame[column]]


def distinct(frame: pd.DataFrame, column: str) -> list[str]:
    """The distinct strings of a column, in order of appearance."""
    return list(dict.fromkeys(words(frame, column)))


def layers_of(frame: pd.DataFrame) -> list[int]:
    """The distinct layers, ascending."""
    return sorted({int(layer) for layer in frame["layer"]})


def places_of(frame: pd.DataFrame) -> list[tuple[int, ...]]:
    """The distinct layers of a table, or the pairs of layer and head if it has heads, ascending.

    >>> places_of(pd.DataFrame({"layer": [1, 0, 1], "head": [2, 0, 2]}))
    [(0, 0), (1, 2)]
    """
    return sorted({tuple(map(int, place)) for place in zip(*(frame[axis] for axis in _axes(frame)), strict=True)})


def at_place(frame: pd.DataFrame, place: Sequence[int]) -> pd.DataFrame:
    """Rows of one layer, or of one layer and head."""
    return where(frame, **dict(zip(_axes(frame), place, strict=True)))


def _axes(frame: pd.DataFrame) -> list[str]:
    return ["layer", "head"] if "head" in frame.columns else ["layer"]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dicts."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def median(values: Float[ndarray, " value"]) -> float:
    """Median of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
