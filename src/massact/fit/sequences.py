"""The series of each input sequence behind an aggregated trajectory, for resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from massact.errors import FitError

AXES = ["family", "recipe", "model", "seed", "layer"]


def sequence_series(records: pd.DataFrame, aggregation: str) -> pd.DataFrame:
    """What each sequence says of every quantity: columns of a series, `step`, `sequence`, `value`.

    Over sequences their mean is the aggregate. Of a ratio of means a sequence has no value of its own; it gets the
    ratio plus its influence on it, r + (top1 - r median) / mean(median), which is right to first order in the spread
    over sequences, as the trajectory's standard error is.

    Parameters
    ----------
    records
        Schema RECORDS.
    aggregation
        `ratio_of_means` or `mean_of_ratios`.

    Raises
    ------
    FitError
        Steps that were measured on different sequences.
    """
    ordered = records.sort_values([*AXES, "step", "sequence"], kind="stable")
    groups = ordered.groupby([*AXES, "step"], sort=False)
    counts = set(groups.size().tolist())
    if len(counts) > 1:
        raise FitError("records hold different numbers of sequences", "extract the model again")
    top, median = (ordered[name].astype(float) for name in ("top1", "median"))
    if aggregation == "ratio_of_means":
        keys = [ordered[name] for name in [*AXES, "step"]]
        mean: Any = median.groupby(keys).transform("mean")
        centre: Any = top.groupby(keys).transform("mean") / mean
        ratio = centre + (top - centre * median) / mean
    else:
        ratio = top / median
    index = ordered[[*AXES, "step", "sequence"]]
    values = {"ratio": ratio, "top1": top, "median": median}
    return pd.concat([index.assign(quantity=name, value=value) for name, value in values.items()], ignore_index=True)


def sequence_array(series: pd.DataFrame, keys: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """Values (sequence, curve, step) of the curves in `keys`, from what `sequence_series` returned."""
    names = [*AXES, "quantity"]
    wide = series.pivot_table(index=names, columns=["sequence", "step"], values="value")
    wide = wide.loc[pd.MultiIndex.from_frame(keys.loc[:, names])]
    sequences = sorted(set(series["sequence"]))
    columns = pd.MultiIndex.from_product([sequences, steps.astype(int)])
    return wide.reindex(columns=columns).to_numpy().reshape(len(keys), len(sequences), steps.size).swapaxes(0, 1)
