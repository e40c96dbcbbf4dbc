"""The series of each input sequence behind an aggregated trajectory, for resampling."""

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
    """What tells the series of a table apart beside their quantity: also the head where there is one a head."""
    return [*AXES, *(["head"] if "head" in table.columns else [])]


def sequence_series(records: pd.DataFrame, aggregation: str, statistic: Statistic = DEFAULT) -> pd.DataFrame:
    """What each sequence says of every quantity: columns of a series, `step`, `sequence`, `value`.

    Over sequences their mean is the aggregate. Of a ratio of means a sequence has no value of its own; it gets the
    ratio plus its influence on it, r + (top1 - r median) / mean(median), which is right to first order in the spread
    over sequences, as the trajectory's standard error is.

    Parameters
    ----------
    records
        Schema `records_schema(statistic)`.
    aggregation
        `ratio_of_means` or `mean_of_ratios`.

    Raises
    ------
    FitError
        Steps that were measured on different sequences.
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
    """Values (sequence, curve, step) of the curves in `keys`, from what `sequence_series` returned."""
    names = [*axes_in(keys), "quantity"]
    wide = series.pivot_table(index=names, columns=["sequence", "step"], values="value")
    wide = wide.loc[pd.MultiIndex.from_frame(keys.loc[:, names])]
    sequences = sorted(set(series["sequence"]))
    columns = pd.MultiIndex.from_product([sequences, steps.astype(int)])
    return wide.reindex(columns=columns).to_numpy().reshape(len(keys), len(sequences), steps.size).swapaxes(0, 1)
