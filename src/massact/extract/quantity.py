"""Quantities: what is aggregated over the sequences of a statistic's records, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

if TYPE_CHECKING:
    import pandas as pd

RATIO_OF_MEANS, MEAN_OF_RATIOS = AGGREGATIONS = ("ratio_of_means", "mean_of_ratios")


@dataclass(frozen=True)
class Aggregate:
    """A quantity aggregated over the sequences of each row.

    Attributes
    ----------
    value : (row,)
    se : (row,)
        Standard error over sequences, NaN for one sequence.
    each : (row, sequence)
        The contribution of each sequence. Their mean is the value, to first order.
    """

    value: Float[ndarray, " row"]
    se: Float[ndarray, " row"]
    each: Float[ndarray, "row sequence"]


# (columns of records by name, each (row, sequence); the aggregation of ratios) -> the quantity.
OverSequences = Callable[[Mapping[str, ndarray], str], Aggregate]


class SequenceColumns(dict[str, ndarray]):
    """Columns of records as float64 (row, sequence), each converted at its first use.

    Parameters
    ----------
    records
        Sorted so that the sequences of a row are adjacent.
    rows
        Number of rows.
    """

    def __init__(self, records: pd.DataFrame, rows: int) -> None:
        super().__init__()
        self._records, self._rows = records, rows

    def __missing__(self, name: str) -> ndarray:
        self[name] = self._records[name].to_numpy(dtype=np.float64).reshape(self._rows, -1)
        return self[name]


@dataclass(frozen=True)
class Quantity:
    """A quantity computed from a statistic's columns over sequences. It has one value per step and row.

    Attributes
    ----------
    label
        The label of the axis in a figure.
    meaning
        Its description in a table.
    over_sequences
        The aggregation. `mean_of` and `ratio_of` return the usual ones.
    fitted
        Whether a growth curve may be fitted to it.
    """

    label: str
    meaning: str
    over_sequences: OverSequences
    unit: str = "unitless"
    fitted: bool = True


def mean_of(column: str) -> OverSequences:
    """The mean of a column over sequences."""

    def over_sequences(columns: Mapping[str, ndarray], aggregation: str) -> Aggregate:
        x = columns[column]
        return Aggregate(*_mean(x), x)

    return over_sequences


def ratio_of(numerator: str, denominator: str) -> OverSequences:
    """The ratio of two columns, by the chosen aggregation.

    `ratio_of_means` is the mean of the numerator over sequences divided by the mean of the denominator (paper Eq. 8).
    Its standard error is by the delta method. A single sequence has no value there: `each` is the ratio plus the
    sequence's influence on it. `mean_of_ratios` is the mean of the sequences' ratios (Eq. 6).
    """

    def over_sequences(columns: Mapping[str, ndarray], aggregation: str) -> Aggregate:
        top, bottom = columns[numerator], columns[denominator]
        if aggregation == MEAN_OF_RATIOS:
            return Aggregate(*_mean(top / bottom), top / bottom)
        mean = bottom.mean(axis=1, keepdims=True)
        ratio = top.mean(axis=1, keepdims=True) / mean
        influence = (top - ratio * bottom) / mean
        return Aggregate(ratio[:, 0], _mean(influence)[1], ratio + influence)

    return over_sequences


def _mean(x: Float[ndarray, "row sequence"]) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    """Mean over sequences and its standard error."""
    n = x.shape[1]
    se = x.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(x), np.nan)
    return x.mean(axis=1), se
