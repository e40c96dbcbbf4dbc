"""The series of each input sequence behind an aggregated trajectory, to be resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.extract.magnitudes import DEFAULT
from massact.extract.quantity import SequenceColumns
from massact.extract.statistic import Statistic

AXES = ["family", "recipe", "model", "seed", "layer"]


def axes_in(table: pd.DataFrame) -> list[str]:
    """The columns that identify a series of a table together with its quantity; includes the head if there is one."""
    return [*AXES, *(["head"] if "head" in table.columns else [])]


def sequence_series(records: pd.DataFrame, aggregation: str, statistic: Statistic = DEFAULT) -> pd.DataFrame:
    """The value of every quantity for each sequence: the columns of a series, `step`, `sequence` and `value`.

    The mean of the values over sequences is the aggregate. A single sequence has no ratio of means; its value is the
    ratio plus the influence of the sequence on it, r + (top1 - r median) / mean(median). Like the trajectory's standard
    error, this is exact to first order in the spread over sequences.

    Parameters
    ----------
    records
        Schema `records_schema(statistic)`.
    aggregation
        `ratio_of_means` or `mean_of_ratios`.

    Raises
    ------
    FitError
        Steps that were measured on different numbers of sequences.
    """
    axes = axes_in(records)
    ordered = records.sort_values([*axes, "step", "sequence"], kind="stable")
    sizes: Any = ordered.groupby([*axes, "step"], sort=False).size()
    if len(set(sizes)) > 1:
        raise FitError("records hold different numbers of sequences", "extract the model again")
    columns = SequenceColumns(ordered, len(sizes))
    index = ordered[[*axes, "step", "sequence"]]
    values = {name: q.over_sequences(columns, aggregation).each.ravel() for name, q in statistic.quantities.items()}
    return pd.concat([index.assign(quantity=name, value=value) for name, value in values.items()], ignore_index=True)


def sequence_array(series: pd.DataFrame, keys: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """Values (sequence, curve, step) of the curves in `keys`, from a table of `sequence_series`."""
    names = [*axes_in(keys), "quantity"]
    wide = series.pivot_table(index=names, columns=["sequence", "step"], values="value")
    wide = wide.loc[pd.MultiIndex.from_frame(keys.loc[:, names])]
    sequences = sorted(set(series["sequence"]))
    columns = pd.MultiIndex.from_product([sequences, steps.astype(int)])
    return wide.reindex(columns=columns).to_numpy().reshape(len(keys), len(sequences), steps.size).swapaxes(0, 1)
