"""Aggregate records over sequences: one value and one standard error per (step, layer, quantity)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from massact.errors import ConfigError
from massact.trajectories.table import AGGREGATIONS, AXES, QUANTITIES, TRAJECTORIES


def aggregate(records: pd.DataFrame, aggregation: str = "ratio_of_means") -> pd.DataFrame:
    """Trajectories of top-1, median and their ratio.

    Parameters
    ----------
    records
        Schema RECORDS; every (step, layer) has the same sequences.
    aggregation
        `ratio_of_means`: mean over sequences of top-1 divided by mean of the median (paper Eq. 8);
        `mean_of_ratios`: mean of each sequence's ratio (Eq. 6).

    Returns
    -------
    DataFrame of schema TRAJECTORIES. Standard errors are over sequences; that of a ratio of means is by the delta
    method (first order, with the covariance of numerator and denominator).
    """
    if aggregation not in AGGREGATIONS:
        raise ConfigError(f"aggregation = {aggregation}", f"choose {' or '.join(AGGREGATIONS)}")
    axes = list(AXES)
    ordered = records.sort_values([*axes, "sequence"], kind="stable")
    groups = ordered.groupby(axes, sort=True, dropna=False)  # tokens may be null
    sizes: Any = groups.size()
    index = sizes.reset_index(name="n_sequences")
    counts = index["n_sequences"].to_numpy()
    if len(set(counts)) != 1:
        raise ConfigError("records hold different numbers of sequences", "extract the model again")
    top1 = ordered["top1"].to_numpy(dtype=np.float64).reshape(len(index), -1)
    median = ordered["median"].to_numpy(dtype=np.float64).reshape(len(index), -1)
    values = {
        "ratio": _ratio_of_means(top1, median) if aggregation == "ratio_of_means" else _mean(top1 / median),
        "top1": _mean(top1),
        "median": _mean(median),
    }
    frames = [index.assign(quantity=name, value=values[name][0], se=values[name][1]) for name in QUANTITIES]
    return TRAJECTORIES.validate(pd.concat(frames, ignore_index=True), "aggregated")


def _mean(x: Float[ndarray, "row sequence"]) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    n = x.shape[1]
    se = x.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(x), np.nan)
    return x.mean(axis=1), se


def _ratio_of_means(
    top1: Float[ndarray, "row sequence"], median: Float[ndarray, "row sequence"]
) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    ratio = top1.mean(axis=1) / median.mean(axis=1)
    residual = (top1 - ratio[:, None] * median) / median.mean(axis=1, keepdims=True)
    return ratio, _mean(residual)[1]
